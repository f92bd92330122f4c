//! Who waits for something that has an owner: all are woken, and look for themselves.

use std::{cell::Cell, task::Waker};

use super::rare::Rare;

#[derive(Default)]
pub(crate) struct Waiters {
    /// Mostly there is but one.
    first: Cell<Option<Waker>>,
    others: Rare<Vec<Waker>>,
}

impl Waiters {
    /// Whoever `waker` stands for is woken with the next [`Waiters::wake_all`].
    pub(crate) fn add(&self, waker: &Waker) {
        let mut known = false;
        self.each(|one| known |= one.will_wake(waker));
        if known {
            return;
        }
        let waker = waker.clone();
        match self.first.take() {
            None => self.first.set(Some(waker)),
            first => {
                self.first.set(first);
                self.others.with(Box::default, |others| others.push(waker));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let first = self.first.take();
        let empty = first.is_none();
        self.first.set(first);
        empty
    }

    /// Calls `look` with everybody who waits.
    pub(super) fn each(&self, mut look: impl FnMut(&Waker)) {
        let first = self.first.take();
        first.iter().for_each(&mut look);
        self.first.set(first);
        self.others.if_held(|others| others.iter().for_each(look));
    }

    #[inline]
    pub(crate) fn wake_all(&self) {
        // Both taken out first: whatever a waker does, it does not find the list in use.
        if let Some(first) = self.first.take() {
            let others = self.others.take();
            first.wake();
            for waker in others.into_iter().flat_map(|others| *others) {
                waker.wake();
            }
        }
    }
}
