//! Contract 5: timeout and timeout_at.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::{channel::oneshot, future::join};
use ringio::{
    CancelledError, InvalidStateError, TimeoutError, create_task, sleep, timeout, timeout_at, wait_for, yield_now,
};

use super::{busy_until, cancel::me, forever, is_cancel, on_ring, turns, until};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);

fn is_timeout<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Waits until the timeout is over, inside of it, without being disturbed.
async fn expire(limit: &ringio::Timeout) {
    busy_until(limit.when().unwrap());
    assert_eq!(yield_now().await, Err(CancelledError));
    assert!(limit.expired());
}

#[test]
fn clock_starts_with_the_call_not_with_the_await() {
    // TO1
    on_ring(async || {
        let started = std::cell::Cell::new(None);
        let limited = timeout(SHORT, async |limit| {
            started.set(limit.when());
            io::Result::Ok(yield_now().await?)
        });
        let called = Instant::now();
        busy_until(called + 3 * SHORT);
        assert!(is_timeout(&limited.await));
        assert!(started.get().unwrap() <= called + SHORT, "the clock started late");
    });
}

#[test]
fn no_delay_is_no_limit() {
    // TO1
    on_ring(async || {
        for at in [false, true] {
            let body = async |limit: &ringio::Timeout| {
                assert_eq!(limit.when(), None);
                turns(2).await;
                io::Result::Ok(limit.expired())
            };
            let result = if at { timeout_at(None, body).await } else { timeout(None, body).await };
            assert!(!result.unwrap());
        }
    });
}

#[test]
fn timeout_at_takes_the_instant() {
    // TO1
    on_ring(async || {
        let when = Instant::now() + LONG;
        let seen = timeout_at(when, async |limit| io::Result::Ok(limit.when().unwrap())).await.unwrap();
        let difference = if seen > when { seen - when } else { when - seen };
        assert!(difference < Duration::from_millis(1), "{difference:?}");
    });
}

#[test]
fn cancel_of_the_expiry_becomes_a_timeout_error_outside_only() {
    // TO2
    on_ring(async || {
        let mut inside = None;
        let result = timeout(SHORT, async |_| {
            inside = Some(forever().await);
            turns(2).await; // clean-up
            io::Result::Ok(inside.unwrap()?)
        })
        .await;
        assert!(is_timeout(&result));
        assert_eq!(inside, Some(Err(CancelledError)));
        assert_eq!(me().cancelling(), 0);
        turns(2).await;
    });
}

#[test]
fn zero_and_the_past_fire_in_the_next_turn() {
    // TO3
    on_ring(async || {
        let past = Instant::now();
        for at in [false, true] {
            let body = async |_: &ringio::Timeout| io::Result::Ok(sleep(Duration::ZERO).await?);
            let result = if at { timeout_at(past, body).await } else { timeout(Duration::ZERO, body).await };
            assert!(is_timeout(&result));
        }
        let unhit = timeout(Duration::ZERO, async |limit| io::Result::Ok(limit.expired())).await;
        assert!(!unhit.unwrap(), "a body that never waits is not hit");
        turns(2).await;
    });
}

#[test]
fn what_the_body_returns_after_the_expiry_is_kept() {
    // TO4: a value, and another error.
    on_ring(async || {
        let value = timeout(SHORT, async |limit| {
            expire(limit).await;
            io::Result::Ok(limit.expired())
        })
        .await;
        assert!(value.unwrap());
        let late = timeout(SHORT, async |limit| {
            expire(limit).await;
            Err::<(), _>(io::Error::other("mine"))
        })
        .await;
        assert_eq!(late.unwrap_err().to_string(), "mine");
        let mut handle = None;
        let early = timeout(LONG, async |limit| {
            handle = Some(limit.clone());
            Err::<(), _>(io::Error::other("mine"))
        })
        .await;
        assert_eq!(early.unwrap_err().to_string(), "mine");
        assert!(!handle.unwrap().expired());
        assert_eq!(me().cancelling(), 0);
        turns(2).await;
    });
}

#[test]
fn expiry_that_nobody_saw_leaves_with_its_scope() {
    // TO4: the body never waits again after it.
    on_ring(async || {
        let (send, receive) = oneshot::channel();
        let result = timeout(SHORT, async move |limit| {
            // Woken in the turn that fires the timer; a foreign wait does not see the cancel.
            busy_until(limit.when().unwrap());
            send.send(()).unwrap();
            receive.await.unwrap();
            io::Result::Ok(3)
        })
        .await;
        assert_eq!(result.unwrap(), 3);
        turns(2).await;
    });
}

#[test]
fn limit_may_be_moved_and_lifted_while_it_is_active() {
    // TO5
    on_ring(async || {
        let mut handle = None;
        let result = timeout(LONG, async |limit| {
            handle = Some(limit.clone());
            limit.reschedule(None).unwrap();
            assert_eq!(limit.when(), None);
            limit.reschedule(Instant::now() + LONG).unwrap();
            assert!(limit.when().is_some());
            limit.reschedule(Instant::now()).unwrap();
            let ended = forever().await;
            assert_eq!(limit.reschedule(None), Err(InvalidStateError::Over));
            io::Result::Ok(ended?)
        })
        .await;
        assert!(is_timeout(&result));
        assert_eq!(handle.unwrap().reschedule(Instant::now() + LONG), Err(InvalidStateError::Over));
        let mut finished = None;
        timeout(LONG, async |limit| {
            finished = Some(limit.clone());
            io::Result::Ok(())
        })
        .await
        .unwrap();
        let finished = finished.unwrap();
        assert_eq!(finished.reschedule(Instant::now()), Err(InvalidStateError::Over));
        turns(2).await;
        assert!(!finished.expired());
    });
}

#[test]
fn limit_that_was_lifted_does_not_fire() {
    // TO5: the old timer is gone.
    on_ring(async || {
        let result = timeout(SHORT, async |limit| {
            let old = limit.when().unwrap();
            limit.reschedule(None).unwrap();
            busy_until(old);
            turns(2).await;
            io::Result::Ok(limit.expired())
        })
        .await;
        assert!(!result.unwrap());
    });
}

#[test]
fn another_task_may_move_the_limit() {
    // TO5
    on_ring(async || {
        let place: Rc<RefCell<Option<ringio::Timeout>>> = Rc::default();
        let shared = place.clone();
        let task = create_task(timeout(None, async move |limit| {
            shared.replace(Some(limit.clone()));
            io::Result::Ok(forever().await?)
        }));
        until(|| place.borrow().is_some()).await;
        place.take().unwrap().reschedule(Instant::now()).unwrap();
        assert!(is_timeout(&task.await));
    });
}

#[test]
fn of_two_expired_only_the_outer_one_becomes_a_timeout_error() {
    // TO7
    on_ring(async || {
        let mut inner_result = None;
        let mut inner_limit = None;
        let outer = timeout(SHORT, async |outer| {
            let inner = timeout(SHORT, async |inner| {
                inner_limit = Some(inner.clone());
                busy_until(outer.when().unwrap().max(inner.when().unwrap()));
                io::Result::Ok(forever().await?)
            })
            .await;
            inner_result = Some(is_cancel(inner.as_ref().unwrap_err()));
            inner
        })
        .await;
        assert!(is_timeout(&outer));
        assert_eq!((inner_result, inner_limit.unwrap().expired()), (Some(true), true));
        turns(2).await;
    });
}

#[test]
fn inner_expired_and_handled_leaves_the_outer_working() {
    // TO7: also after a busy loop.
    on_ring(async || {
        let outer = timeout(LONG, async |outer| {
            let inner = timeout(SHORT, async |_| io::Result::Ok(forever().await?)).await;
            assert!(is_timeout(&inner) && !outer.expired());
            let due = Instant::now() + SHORT;
            outer.reschedule(due).unwrap();
            busy_until(due);
            io::Result::Ok(forever().await?)
        })
        .await;
        assert!(is_timeout(&outer));
        assert_eq!(me().cancelling(), 0);
        turns(2).await;
    });
}

#[test]
fn outer_expires_alone_and_the_inner_is_not_expired() {
    // TO7
    on_ring(async || {
        let mut seen = None;
        let outer = timeout(SHORT, async |_| {
            timeout(LONG, async |inner| {
                let ended = forever().await;
                seen = Some(inner.expired());
                io::Result::Ok(ended?)
            })
            .await
        })
        .await;
        assert!(is_timeout(&outer));
        assert_eq!(seen, Some(false));
    });
}

#[test]
fn two_timeouts_side_by_side_do_not_disturb_each_other() {
    // TO7, C17: whose cancel it is follows from where the wait stands.
    on_ring(async || {
        let one = timeout(SHORT, async |_| io::Result::Ok(forever().await?));
        let other = timeout(LONG, async |_| io::Result::Ok(sleep(3 * SHORT).await?));
        let (one, other) = join(one, other).await;
        assert!(is_timeout(&one));
        other.unwrap();
    });
}

#[test]
fn cancel_from_outside_stays_a_cancel() {
    // TO8: the limit is alive and not expired.
    on_ring(async || {
        let task = create_task(timeout(LONG, async |limit| {
            let ended = forever().await;
            assert!(!limit.expired());
            io::Result::Ok(ended?)
        }));
        turns(2).await;
        task.cancel();
        let any = task.to_any();
        assert!(is_cancel(&task.await.unwrap_err()));
        assert!(any.cancelled() && any.cancelling() == 1);
    });
}

#[test]
fn cancel_from_outside_and_expiry_together_are_a_cancel() {
    // TO8: in either order, in one turn or in two.
    on_ring(async || {
        for together in [true, false] {
            let task = create_task(timeout(SHORT, async move |limit| {
                busy_until(limit.when().unwrap());
                me().cancel();
                if together {
                    io::Result::Ok(forever().await?)
                } else {
                    assert_eq!(yield_now().await, Err(CancelledError));
                    assert_eq!(yield_now().await, Err(CancelledError));
                    Err(CancelledError.into())
                }
            }));
            let result = task.await;
            assert!(is_cancel(&result.unwrap_err()), "together: {together}");
        }
    });
}

#[test]
fn timeout_works_inside_the_handling_of_a_cancel() {
    // TO8 (to::test_timeout_after_cancellation)
    on_ring(async || {
        let task = create_task(async {
            let ended = forever().await;
            let clean_up = timeout(SHORT, async |_| io::Result::Ok(forever().await?)).await;
            assert!(is_timeout(&clean_up));
            ended
        });
        turns(1).await;
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
    });
}

#[test]
fn cancel_that_was_taken_back_inside_leaves_the_expiry_its_own() {
    // C17, TO8: delivered, claimed with uncancel(), and then the time is up.
    on_ring(async || {
        let task = create_task(timeout(SHORT, async |_| {
            me().cancel();
            assert_eq!(yield_now().await, Err(CancelledError));
            assert_eq!(me().uncancel(), 0);
            io::Result::Ok(forever().await?)
        }));
        let any = task.to_any();
        let result = task.await;
        assert!(is_timeout(&result), "{result:?}");
        assert!(!any.cancelled());
    });
}

#[test]
fn a_timeout_error_has_the_cancel_as_its_source() {
    // TO9, E4
    on_ring(async || {
        let result = timeout(SHORT, async |_| io::Result::Ok(forever().await?)).await;
        let error = result.unwrap_err();
        let timed_out = error.get_ref().unwrap();
        assert!(timed_out.is::<TimeoutError>());
        assert!(timed_out.source().unwrap().is::<CancelledError>());
        assert!(matches!(ringio::Error::from(error), ringio::Error::Timeout(TimeoutError)));
    });
}

#[test]
fn earlier_cancel_is_not_eaten_by_a_timeout_of_zero() {
    // TO10 (gh-134471)
    on_ring(async || {
        let task = create_task(async {
            me().cancel();
            let result = timeout(Duration::ZERO, async |_| io::Result::Ok(forever().await?)).await;
            let next = yield_now().await;
            assert_eq!(next, Ok(()), "it was delivered inside");
            result
        });
        assert!(is_cancel(&task.await.unwrap_err()));
        let task = create_task(async {
            me().cancel();
            let result = wait_for(async { io::Result::Ok(forever().await?) }, Duration::ZERO).await;
            (result, yield_now().await).0
        });
        let result = task.await;
        assert!(result.is_err());
    });
}

#[test]
fn body_that_waits_for_nothing_of_ours_ends_too() {
    // C14: a foreign future in the scope is dropped when nothing in there can see the cancel.
    on_ring(async || {
        let (send, receive) = oneshot::channel::<()>();
        let result = timeout(SHORT, async move |_| {
            let _ = receive.await;
            io::Result::Ok(())
        })
        .await;
        assert!(is_timeout(&result));
        assert!(send.is_canceled());
        turns(2).await;
    });
}
