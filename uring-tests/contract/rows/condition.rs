//! Condition.wait and wait_for, cancelled in the condition's line and in the lock's.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use ringio::{CancelledError, Condition, ConditionGuard, Task, create_task, yield_now};

use super::{super::turns, Subject, look};

/// Tokens that are put down and taken under a lock.
#[derive(Clone, Default)]
struct Tokens {
    condition: Condition,
    left: Rc<Cell<u32>>,
}

impl Tokens {
    /// Takes one; two ways to write the same.
    async fn take(&self, by_predicate: bool) -> Result<(), CancelledError> {
        let mut guard = self.condition.acquire().await?;
        let took = self.take_under(&mut guard, by_predicate).await;
        // CO4: the lock is held, whatever came; without it this panics.
        guard.notify(0);
        assert!(self.condition.locked());
        took
    }

    async fn take_under(&self, guard: &mut ConditionGuard<'_>, by_predicate: bool) -> Result<(), CancelledError> {
        if by_predicate {
            return guard.wait_for(|| self.left.get().checked_sub(1).map(|rest| self.left.set(rest))).await;
        }
        while self.left.get() == 0 {
            guard.wait().await?;
        }
        self.left.set(self.left.get() - 1);
        Ok(())
    }

    /// Puts one down, tells one of those who wait, and keeps the lock for some turns: so they have to wait for that too.
    async fn put(self) -> Result<(), CancelledError> {
        let guard = self.condition.acquire().await?;
        self.left.set(self.left.get() + 1);
        guard.notify(1);
        yield_now().await?;
        yield_now().await
    }
}

/// The unit is a token. Somebody else stands behind: when the first one does not take it, who was told of it must be he.
pub(super) fn tokens(by_predicate: bool) -> Subject {
    let tokens = Tokens::default();
    let other: Rc<RefCell<Option<Task<(), CancelledError>>>> = Rc::default();
    let (put, place, settled) = (tokens.clone(), other.clone(), tokens.clone());
    Subject {
        wait: Box::new(move || {
            let (tokens, place) = (tokens.clone(), place.clone());
            Box::pin(async move {
                // It takes its first step in the next turn, so it is behind this one.
                let behind = tokens.clone();
                place.replace(Some(create_task(async move { behind.take(by_predicate).await })));
                tokens.take(by_predicate).await.map(|()| 1).map_err(io::Error::from)
            })
        }),
        give: Rc::new(move || drop(create_task(put.clone().put()))),
        left: look(move |end| {
            let (tokens, other) = (settled.clone(), other.clone());
            async move {
                let other = other.take().expect("it was begun");
                if end.given && end.got == 0 {
                    // CO5: nothing but the notification tells it.
                    other.await.expect("nobody cancels it");
                } else {
                    turns(8).await;
                    assert!(!other.done(), "{}: it took what was not there", end.case);
                    other.cancel();
                    assert_eq!(other.await, Err(CancelledError), "{}", end.case);
                }
                assert_eq!(tokens.left.get(), 0, "{}", end.case);
                turns(3).await;
                let statistics = tokens.condition.statistics();
                assert!(!statistics.locked, "{}: the lock was not given back", end.case);
                assert_eq!((statistics.waiting, statistics.waiting_for_lock), (0, 0), "{}", end.case);
            }
        }),
    }
}
