//! Contract 7: Condition.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use ringio::{CancelledError, Condition, Lock, Task, create_task};

use super::{Trace, on_ring, panic_text, turns};

/// Waits once; says how, and whether it had the lock then.
fn waiter(condition: &Condition, trace: &Trace, name: &'static str) -> Task<(), CancelledError> {
    let (condition, trace) = (condition.clone(), trace.clone());
    create_task(async move {
        let mut guard = condition.acquire().await?;
        let waited = guard.wait().await;
        assert!(condition.locked(), "CO4");
        trace.add(format!("{name}{}", if waited.is_ok() { "" } else { "!" }));
        waited
    })
}

#[test]
fn notify_wakes_the_oldest_in_order() {
    // CO3
    on_ring(async || {
        let (condition, trace) = (Condition::new(), Trace::default());
        let _tasks = ["a", "b", "c", "d"].map(|name| waiter(&condition, &trace, name));
        turns(2).await;
        let guard = condition.acquire().await.unwrap();
        guard.notify(2);
        turns(3).await;
        assert_eq!(trace.take(), "", "woken ones return only with the lock");
        drop(guard);
        turns(3).await;
        assert_eq!(trace.take(), "a b");
        condition.acquire().await.unwrap().notify(100);
        turns(3).await;
        assert_eq!(trace.take(), "c d");
        condition.acquire().await.unwrap().notify_all();
    });
}

#[test]
fn several_conditions_share_a_lock() {
    // CO1
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let (one, two) = (Condition::with_lock(lock.clone()), Condition::with_lock(lock.clone()));
        let tasks = [waiter(&one, &trace, "one"), waiter(&two, &trace, "two")];
        turns(2).await;
        let guard = one.acquire().await.unwrap();
        assert!(lock.locked() && two.locked());
        two.notify_all().unwrap();
        drop(guard);
        turns(3).await;
        assert_eq!(trace.take(), "two");
        one.acquire().await.unwrap().notify(1);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn notify_without_the_lock_is_an_error() {
    // CO2: a guard proves it, and where there is none, the lock is looked at.
    on_ring(async || {
        let condition = Condition::new();
        assert!(condition.notify(1).is_err() && condition.notify_all().is_err());
        let guard = condition.acquire().await.unwrap();
        assert!(condition.notify(1).is_ok());
        drop(guard);
    });
}

#[test]
fn cancelled_wait_has_the_lock_again() {
    // CO4: also while somebody else has it, and however often it is cancelled meanwhile.
    on_ring(async || {
        let (condition, trace) = (Condition::new(), Trace::default());
        let task = waiter(&condition, &trace, "a");
        turns(2).await;
        let guard = condition.acquire().await.unwrap();
        for _ in 0..3 {
            task.cancel();
            turns(2).await;
            assert!(!task.done());
        }
        drop(guard);
        assert_eq!(task.await, Err(CancelledError));
        assert_eq!(trace.take(), "a!");
        assert!(!condition.locked());
    });
}

#[test]
fn notification_of_a_cancelled_waiter_goes_to_another() {
    // CO5, flaw 9 (gh-112202): cancelled before the notification, between it and the lock, and with the lock on its way.
    on_ring(async || {
        for moment in 0..3 {
            let (condition, trace) = (Condition::new(), Trace::default());
            let tasks = ["a", "b"].map(|name| waiter(&condition, &trace, name));
            turns(2).await;
            let guard = condition.acquire().await.unwrap();
            if moment == 0 {
                tasks[0].cancel();
            }
            guard.notify(1);
            if moment == 1 {
                tasks[0].cancel();
                turns(2).await;
            }
            drop(guard);
            if moment == 2 {
                tasks[0].cancel();
            }
            let [a, b] = tasks;
            assert_eq!(a.await, Err(CancelledError));
            assert_eq!(b.await, Ok(()), "moment {moment}");
            assert!(["a! b", "b a!"].contains(&trace.take().as_str()));
            assert_eq!(condition.statistics().waiting, 0);
        }
    });
}

#[test]
fn wait_for_returns_what_its_predicate_finds() {
    // CO6
    on_ring(async || {
        let (condition, value) = (Condition::new(), Rc::new(Cell::new(0)));
        let (inner, seen) = (condition.clone(), value.clone());
        let task = create_task(async move {
            let mut guard = inner.acquire().await?;
            guard.wait_for(|| (seen.get() >= 2).then(|| seen.get() * 10)).await
        });
        for number in 1..=2 {
            turns(2).await;
            assert!(!task.done());
            let guard = condition.acquire().await.unwrap();
            value.set(number);
            guard.notify_all();
        }
        assert_eq!(task.await, Ok(20));
        let mut guard = condition.acquire().await.unwrap();
        assert_eq!(guard.wait_for(|| Some(7)).await, Ok(7), "true at once");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let wait = guard.wait_for(|| -> Option<()> { std::panic::panic_any("predicate") });
            futures::executor::block_on(wait).unwrap();
        }));
        assert!(panicked.is_err() && condition.locked(), "the caller's guard has the lock still");
        drop(guard);
        assert!(!condition.locked());
    });
}

#[test]
fn dropped_wait_leaves_the_guard_without_the_lock() {
    // C15, CO2
    on_ring(async || {
        let condition = Condition::new();
        let mut guard = condition.acquire().await.unwrap();
        {
            let mut wait = Box::pin(guard.wait());
            assert!(futures::poll!(&mut wait).is_pending());
        }
        assert!(!condition.locked());
        assert_eq!(condition.statistics().waiting, 0);
        assert!(panic_text(|| guard.notify(1)).contains("wait() again takes it back"));
        guard.wait().await.unwrap();
        assert!(condition.locked());
        guard.notify(1);
        drop(guard);
        assert!(!condition.locked());
    });
}

#[test]
fn notified_and_dropped_wait_passes_its_notification_on() {
    // CO5, C15
    on_ring(async || {
        let (condition, trace) = (Condition::new(), Trace::default());
        let other = condition.clone();
        let mut guard = other.acquire().await.unwrap();
        let mut wait = Box::pin(guard.wait());
        assert!(futures::poll!(&mut wait).is_pending());
        let task = waiter(&condition, &trace, "b");
        turns(2).await;
        condition.acquire().await.unwrap().notify(1);
        drop(wait);
        task.await.unwrap();
        assert_eq!(trace.take(), "b");
        drop(guard);
        assert!(!condition.locked());
    });
}

#[test]
fn condition_shows_its_state() {
    on_ring(async || {
        let condition = Condition::new();
        assert_eq!(format!("{condition:?}"), "<Condition [unlocked]>");
        let task = waiter(&condition, &Trace::default(), "");
        turns(1).await;
        assert_eq!(format!("{condition:?}"), "<Condition [unlocked, waiters:1]>");
        condition.acquire().await.unwrap().notify(1);
        task.await.unwrap();
    });
}
