//! Contract 7: Semaphore and BoundedSemaphore.

use ringio::{BoundedSemaphore, CancelledError, Permit, Semaphore, Task, create_task};

use super::{Trace, on_ring, turns};

/// Takes a permit for good.
fn taker(semaphore: &Semaphore, trace: &Trace, name: &'static str) -> Task<(), CancelledError> {
    let (semaphore, trace) = (semaphore.clone(), trace.clone());
    create_task(async move {
        semaphore.acquire().await.map(Permit::forget)?;
        trace.add(name);
        Ok(())
    })
}

#[test]
fn locked_means_that_it_cannot_be_taken_at_once() {
    // SE1
    on_ring(async || {
        assert!(Semaphore::new(0).locked());
        let semaphore = Semaphore::default();
        assert!(!semaphore.locked() && semaphore.statistics().value == 1);
        let permit = semaphore.acquire().await.unwrap();
        assert!(semaphore.locked() && semaphore.try_acquire().is_none());
        drop(permit);
        assert!(!semaphore.locked());
    });
}

#[test]
fn permits_go_out_in_order_and_newcomers_stand_behind() {
    // SE2
    on_ring(async || {
        let (semaphore, trace) = (Semaphore::new(0), Trace::default());
        let tasks = ["a", "b"].map(|name| taker(&semaphore, &trace, name));
        turns(1).await;
        semaphore.release();
        assert!(semaphore.locked() && semaphore.try_acquire().is_none(), "it is on its way to the first in line");
        let newcomer = taker(&semaphore, &trace, "newcomer");
        turns(1).await;
        semaphore.release();
        semaphore.release();
        for task in tasks.into_iter().chain([newcomer]) {
            task.await.unwrap();
        }
        assert_eq!(trace.take(), "a b newcomer");
    });
}

#[test]
fn releases_of_one_turn_wake_as_many() {
    // SE3
    on_ring(async || {
        let (semaphore, trace) = (Semaphore::new(0), Trace::default());
        let tasks = ["a", "b", "c"].map(|name| taker(&semaphore, &trace, name));
        turns(1).await;
        semaphore.release();
        semaphore.release();
        turns(1).await;
        assert_eq!(trace.take(), "a b");
        semaphore.release();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn cancelled_waiter_passes_its_permit_on() {
    // SE4: before and after the grant; gh-90155, bpo-45997, gh-111693, asyncio#270
    on_ring(async || {
        for cancel_first in [true, false] {
            let (semaphore, trace) = (Semaphore::new(0), Trace::default());
            let tasks = ["a", "b", "c"].map(|name| taker(&semaphore, &trace, name));
            turns(1).await;
            if cancel_first {
                tasks[0].cancel();
                semaphore.release();
            } else {
                semaphore.release();
                tasks[0].cancel();
            }
            turns(3).await;
            assert_eq!(trace.take(), "b");
            semaphore.release();
            turns(1).await;
            assert_eq!(trace.take(), "c");
            assert_eq!(semaphore.statistics().to_string(), "locked");
        }
    });
}

#[test]
fn granted_and_cancelled_acquire_runs_nothing_behind_it() {
    // SE4: lk::test_acquire_no_hang
    on_ring(async || {
        let (semaphore, trace) = (Semaphore::new(1), Trace::default());
        let permit = semaphore.acquire().await.unwrap();
        let (one, two) = (taker(&semaphore, &trace, "one"), taker(&semaphore, &trace, "two"));
        turns(1).await;
        one.cancel();
        drop(permit);
        one.cancel();
        two.await.unwrap();
        assert_eq!(one.await, Err(CancelledError));
        assert_eq!(trace.take(), "two");
    });
}

#[test]
fn release_above_the_start_is_fine_unless_bounded() {
    // SE5
    on_ring(async || {
        let semaphore = Semaphore::new(1);
        semaphore.release();
        assert_eq!(semaphore.statistics().value, 2);
        let bounded = BoundedSemaphore::new(1);
        assert!(bounded.release().unwrap_err().to_string().contains("too many times"));
        assert_eq!(bounded.statistics().value, 1);
        let permit = bounded.acquire().await.unwrap();
        bounded.release().unwrap();
        drop(permit);
        assert_eq!(bounded.statistics().value, 1, "given back by hand: the permit's own end adds none");
        let endless = Semaphore::new(usize::MAX);
        endless.release();
        assert_eq!(endless.statistics().value, usize::MAX);
        assert!(BoundedSemaphore::new(0).release().is_err());
    });
}

#[test]
fn semaphore_shows_its_state() {
    on_ring(async || {
        let semaphore = Semaphore::new(3);
        assert_eq!(format!("{semaphore:?}"), "<Semaphore [unlocked, value:3]>");
        assert_eq!(format!("{:?}", BoundedSemaphore::new(0)), "<BoundedSemaphore [locked]>");
        let empty = Semaphore::new(0);
        let task = taker(&empty, &Trace::default(), "");
        turns(1).await;
        assert_eq!(format!("{empty:?}"), "<Semaphore [locked, waiters:1]>");
        empty.release();
        task.await.unwrap();
    });
}
