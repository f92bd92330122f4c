//! Contract 7: Barrier.

use std::{cell::RefCell, rc::Rc};

use ringio::{Barrier, BarrierError, BrokenBarrierError, CancelledError, Task, create_task};

use super::{on_ring, turns};

fn party(barrier: &Barrier) -> Task<usize, BarrierError> {
    let barrier = barrier.clone();
    create_task(async move { barrier.wait().await })
}

const BROKEN: Result<usize, BarrierError> = Err(BarrierError::Broken(BrokenBarrierError));

#[test]
fn barrier_for_nobody_is_an_error() {
    // BA1
    assert!(Barrier::new(0).unwrap_err().to_string().contains("1 or more"));
}

#[test]
fn the_last_party_lets_all_through_with_indices_of_their_own() {
    // BA1: and again, and again.
    on_ring(async || {
        let barrier = Barrier::new(3).unwrap();
        for _ in 0..3 {
            let tasks = [party(&barrier), party(&barrier)];
            turns(1).await;
            assert_eq!((barrier.n_waiting(), barrier.parties()), (2, 3));
            assert_eq!(barrier.wait().await, Ok(2));
            for (index, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await, Ok(index));
            }
        }
        assert_eq!(Barrier::new(1).unwrap().wait().await, Ok(0));
    });
}

#[test]
fn newcomers_wait_while_others_leave() {
    // BA2
    on_ring(async || {
        let barrier = Barrier::new(2).unwrap();
        let one = party(&barrier);
        turns(1).await;
        assert_eq!(barrier.wait().await, Ok(1));
        assert_eq!(format!("{barrier:?}"), "<Barrier [draining, waiters:0/2]>");
        let order = Rc::new(RefCell::new(Vec::new()));
        let (log, inner) = (order.clone(), barrier.clone());
        let newcomer = create_task(async move {
            let index = inner.wait().await;
            log.borrow_mut().push("newcomer");
            index
        });
        assert_eq!(one.await, Ok(0));
        turns(2).await;
        assert_eq!(barrier.n_waiting(), 1);
        assert!(order.borrow().is_empty());
        assert_eq!(barrier.wait().await, Ok(1));
        assert_eq!(newcomer.await, Ok(0));
    });
}

#[test]
fn cancelled_party_leaves_and_the_barrier_stays_whole() {
    // BA3; BA6: flaw 6 (gh-155233), no index twice.
    on_ring(async || {
        let barrier = Barrier::new(3).unwrap();
        let tasks = [party(&barrier), party(&barrier)];
        turns(1).await;
        tasks[0].cancel();
        assert_eq!(barrier.n_waiting(), 1);
        let third = party(&barrier);
        turns(1).await;
        assert!(!barrier.broken());
        assert_eq!(barrier.wait().await, Ok(2));
        let [first, second] = tasks;
        assert_eq!(first.await, Err(BarrierError::Cancelled(CancelledError)));
        assert_eq!((second.await, third.await), (Ok(0), Ok(1)));
    });
}

#[test]
fn reset_sends_those_inside_away() {
    // BA4
    on_ring(async || {
        let barrier = Barrier::new(3).unwrap();
        barrier.reset();
        let tasks = [party(&barrier), party(&barrier)];
        turns(1).await;
        barrier.reset();
        let newcomers = [party(&barrier), party(&barrier)];
        for task in tasks {
            assert_eq!(task.await, BROKEN);
        }
        turns(2).await;
        assert_eq!(barrier.n_waiting(), 2);
        assert_eq!(barrier.wait().await, Ok(2));
        for task in newcomers {
            assert!(task.await.is_ok());
        }
    });
}

#[test]
fn place_outside_is_that_of_coming_also_for_one_that_was_inside() {
    // BA2, BA4: passed over by the reset for a cancel that is then withdrawn, it is before those who came after it.
    on_ring(async || {
        let barrier = Barrier::new(3).unwrap();
        let inside = [party(&barrier), party(&barrier)];
        turns(1).await;
        let newcomer = party(&barrier);
        inside[1].cancel();
        barrier.reset();
        inside[1].uncancel();
        turns(2).await;
        assert_eq!(barrier.n_waiting(), 2);
        assert_eq!(barrier.wait().await, Ok(2));
        let [sent_away, first] = inside;
        assert_eq!((sent_away.await, first.await, newcomer.await), (BROKEN, Ok(0), Ok(1)));
    });
}

#[test]
fn reset_while_draining_breaks_only_those_still_inside() {
    // BA4
    on_ring(async || {
        let barrier = Barrier::new(2).unwrap();
        let one = party(&barrier);
        turns(1).await;
        assert_eq!(barrier.wait().await, Ok(1), "out already");
        barrier.reset();
        assert_eq!(one.await, BROKEN);
        let tasks = [party(&barrier), party(&barrier)];
        for task in tasks {
            assert!(task.await.is_ok());
        }
    });
}

#[test]
fn abort_fails_all_until_reset() {
    // BA5: those inside, those blocked, those to come.
    on_ring(async || {
        let barrier = Barrier::new(2).unwrap();
        let leaving = party(&barrier);
        turns(1).await;
        barrier.wait().await.unwrap();
        let mut blocked = Box::pin(barrier.wait());
        assert!(futures::poll!(&mut blocked).is_pending());
        assert_eq!(barrier.statistics().blocked, 1);
        barrier.abort();
        assert!(barrier.broken());
        assert_eq!(format!("{barrier:?}"), "<Barrier [broken]>");
        assert_eq!(blocked.await, BROKEN);
        assert_eq!(leaving.await, BROKEN);
        assert_eq!(barrier.wait().await, BROKEN);
        barrier.reset();
        assert!(!barrier.broken());
        let one = party(&barrier);
        turns(1).await;
        assert_eq!(barrier.wait().await, Ok(1));
        assert_eq!(one.await, Ok(0));
    });
}

#[test]
fn timeout_around_a_barrier_says_so() {
    on_ring(async || {
        let barrier = Barrier::new(2).unwrap();
        let limited = ringio::wait_for(barrier.wait(), std::time::Duration::from_millis(1)).await;
        assert!(matches!(limited, Err(BarrierError::Timeout(_))));
        assert_eq!(barrier.n_waiting(), 0);
    });
}
