//! Contract 7: Lock, and Mutex.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use ringio::{CancelledError, Lock, Mutex, create_task, timeout};

use super::{Trace, forever, on_ring, turns};

/// Takes the lock, says so, and keeps it until it is told to go on by a turn.
fn taker(lock: &Lock, trace: &Trace, name: &'static str) -> ringio::Task<(), CancelledError> {
    let (lock, trace) = (lock.clone(), trace.clone());
    create_task(async move {
        let _guard = lock.acquire().await?;
        trace.add(name);
        Ok(())
    })
}

#[test]
fn lock_is_handed_over_in_the_order_of_asking() {
    // LK1, LK2
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let guard = lock.acquire().await.unwrap();
        let tasks = ["a", "b", "c"].map(|name| taker(&lock, &trace, name));
        turns(1).await;
        drop(guard);
        assert!(lock.locked(), "it belongs to the first in line already");
        assert!(lock.try_acquire().is_none(), "nobody gets in between");
        let again = taker(&lock, &trace, "releaser");
        for task in tasks.into_iter().chain([again]) {
            task.await.unwrap();
        }
        assert_eq!(trace.take(), "a b c releaser");
    });
}

#[test]
fn free_lock_is_taken_without_a_switch() {
    // S3, C4: and without a cancel.
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let other = trace.clone();
        create_task(async move { other.add("other") });
        super::cancel::me().cancel();
        for _ in 0..100 {
            drop(lock.acquire().await.unwrap());
        }
        assert_eq!(trace.take(), "");
        assert_eq!(ringio::yield_now().await, Err(CancelledError));
    });
}

#[test]
fn loop_over_a_free_lock_lets_others_run() {
    // S4
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let other = trace.clone();
        create_task(async move { other.add("other") });
        for _ in 0..200 {
            drop(lock.acquire().await.unwrap());
        }
        assert_eq!(trace.take(), "other");
    });
}

#[test]
fn lock_of_a_cancelled_waiter_goes_to_the_next() {
    // LK2: cancelled before it is chosen, and after; flaw 8 (anyio#1145, bpo-27585, bpo-32734)
    on_ring(async || {
        for cancel_first in [true, false] {
            let (lock, trace) = (Lock::new(), Trace::default());
            let guard = lock.acquire().await.unwrap();
            let (one, two) = (taker(&lock, &trace, "one"), taker(&lock, &trace, "two"));
            turns(1).await;
            if cancel_first {
                one.cancel();
                drop(guard);
            } else {
                drop(guard);
                one.cancel();
            }
            assert_eq!(one.await, Err(CancelledError));
            two.await.unwrap();
            assert_eq!(trace.take(), "two");
            assert!(!lock.locked());
        }
    });
}

#[test]
fn cancelled_waiters_that_did_not_run_yet_strand_nobody() {
    // LK3, flaw 8
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let guard = lock.acquire().await.unwrap();
        let tasks = ["a", "b"].map(|name| taker(&lock, &trace, name));
        turns(1).await;
        tasks.iter().for_each(|task| assert!(task.cancel()));
        drop(guard);
        assert!(!lock.locked(), "nobody is in line any more");
        let newcomer = lock.try_acquire().expect("it is free");
        turns(2).await;
        assert_eq!(lock.statistics().waiting, 0);
        drop(newcomer);
        drop(lock.acquire().await.unwrap());
    });
}

#[test]
fn withdrawn_cancel_keeps_the_place_in_line() {
    // C7, LK3
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let guard = lock.acquire().await.unwrap();
        let tasks = ["a", "b", "c"].map(|name| taker(&lock, &trace, name));
        turns(1).await;
        tasks[0].cancel();
        tasks[1].cancel();
        assert!(lock.try_acquire().is_none());
        tasks[0].uncancel();
        tasks[1].uncancel();
        drop(guard);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(trace.take(), "a b c");
    });
}

#[test]
fn dropped_and_timed_out_waits_leave_no_trace() {
    // C15, LK2
    on_ring(async || {
        let lock = Lock::new();
        let guard = lock.acquire().await.unwrap();
        let limited = timeout(Duration::from_millis(1), async |_| std::io::Result::Ok(lock.acquire().await?)).await;
        assert_eq!(limited.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        let mut wait = Box::pin(lock.acquire());
        assert!(futures::poll!(&mut wait).is_pending());
        assert_eq!(lock.statistics().waiting, 1);
        drop(guard);
        drop(wait);
        assert!(!lock.locked(), "granted, and dropped");
    });
}

#[test]
fn forgotten_wait_is_sound() {
    // C15: its memory stays, so that the line may refer to it; whoever stands behind it is none the worse before.
    on_ring(async || {
        let lock = Lock::new();
        let guard = lock.clone();
        let guard = guard.acquire().await.unwrap();
        let forgotten = lock.clone();
        let mut wait = Box::pin(async move { drop(forgotten.acquire().await) });
        assert!(futures::poll!(&mut wait).is_pending());
        std::mem::forget(wait);
        drop(guard);
        assert!(lock.locked(), "granted to what nobody will poll");
        lock.release().unwrap();
        drop(lock.acquire().await.unwrap());
    });
}

#[test]
fn release_of_a_free_lock_is_an_error() {
    // LK1
    on_ring(async || {
        let lock = Lock::new();
        let error = lock.release().unwrap_err();
        assert!(error.to_string().contains("acquire it first"), "{error}");
        lock.acquire().await.unwrap().forget();
        lock.release().unwrap();
        assert!(!lock.locked() && lock.release().is_err());
    });
}

#[test]
fn release_by_hand_under_a_guard_adds_no_second_holder() {
    // LK1: not owned. The guard's own release finds the lock free, or takes it from whoever has it; it never makes two.
    on_ring(async || {
        let lock = Lock::new();
        let guard = lock.acquire().await.unwrap();
        lock.release().unwrap();
        drop(guard);
        let one = lock.try_acquire().unwrap();
        assert!(lock.try_acquire().is_none());
        drop(one);
    });
}

#[test]
fn guard_releases_on_every_way_out() {
    // LK4
    on_ring(async || {
        let lock = Lock::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.try_acquire().unwrap();
            std::panic::panic_any("inside");
        }));
        assert!(panicked.is_err() && !lock.locked());
        let held = lock.clone();
        let task = create_task(async move {
            let _guard = held.acquire().await?;
            forever().await
        });
        turns(1).await;
        assert!(lock.locked());
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        assert!(!lock.locked());
    });
}

#[test]
fn lock_shows_its_state() {
    // Q11's like: as asyncio's repr.
    on_ring(async || {
        let lock = Lock::new();
        assert_eq!(format!("{lock:?}"), "<Lock [unlocked]>");
        let guard = lock.acquire().await.unwrap();
        let other = taker(&lock, &Trace::default(), "other");
        turns(1).await;
        assert_eq!(format!("{lock:?}"), "<Lock [locked, waiters:1]>");
        drop(guard);
        other.await.unwrap();
    });
}

#[test]
fn mutex_guards_its_value_across_waits() {
    on_ring(async || {
        let mut total = Rc::new(Mutex::new(0u32));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let total = total.clone();
                create_task(async move {
                    let mut total = total.acquire().await?;
                    let before = *total;
                    ringio::yield_now().await?;
                    *total = before + 1;
                    Ok::<_, CancelledError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(format!("{total:?}"), "<Mutex [unlocked]>");
        assert_eq!(total.try_acquire().map(|total| *total), Some(10));
        assert_eq!(*Rc::get_mut(&mut total).unwrap().get_mut(), 10);
        assert_eq!(Rc::into_inner(total).unwrap().into_inner(), 10);
    });
}

#[test]
fn lock_is_handed_over_between_runtimes_and_foreign_wakers() {
    // S6, C13: join_all polls its parts with wakers of its own; a cancel of the task reaches them all.
    on_ring(async || {
        let (lock, trace) = (Lock::new(), Trace::default());
        let guard = lock.acquire().await.unwrap();
        let (inner, log) = (lock.clone(), trace.clone());
        let task = create_task(async move {
            let waits = futures::future::join_all((0..40).map(|_| inner.acquire()));
            let ended = waits.await;
            log.add(ended.iter().filter(|ended| ended.is_err()).count());
            Ok::<_, CancelledError>(())
        });
        turns(1).await;
        assert_eq!(lock.statistics().waiting, 40);
        task.cancel();
        assert_eq!(lock.statistics().waiting, 0, "a cancel counts from when it is asked for");
        task.await.unwrap();
        assert_eq!(trace.take(), "40");
        drop(guard);
        assert!(!lock.locked());
    });
}
