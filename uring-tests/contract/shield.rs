//! Contract 5: shield, shielded, cancellable.

use std::{cell::Cell, future::pending, io, panic::AssertUnwindSafe, rc::Rc, time::Duration};

use futures::{FutureExt, channel::oneshot};
use ringio::{
    CancelledError, ReportKind, all_tasks, cancellable, create_task, shield, shielded, sleep, timeout, wait_for,
    yield_now,
};

use super::{Reports, Trace, cancel::me, forever, in_time, is_cancel, on_ring, panics, text_of, turns, until};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn outcome_of_the_inner_task_passes_through() {
    // SH1
    on_ring(async || {
        assert_eq!(shield(async { io::Result::Ok(1) }).await.unwrap(), 1);
        let error = shield(async { Err::<(), _>(io::Error::other("mine")) }).await;
        assert_eq!(error.unwrap_err().to_string(), "mine");
        let inner = create_task(forever());
        let any = inner.to_any();
        let shielded = create_task(shield(inner));
        turns(2).await;
        any.cancel();
        assert_eq!(shielded.await, Err(CancelledError));
        assert_eq!(me().cancelling(), 0);
        let payload = AssertUnwindSafe(shield(panics("inner"))).catch_unwind().await.unwrap_err();
        assert_eq!(text_of(&*payload), "inner");
    });
}

#[test]
fn task_that_is_done_is_taken_at_once() {
    // SH1
    on_ring(async || {
        let inner = create_task(async { Ok::<_, CancelledError>(3) });
        until(|| inner.done()).await;
        assert_eq!(shield(inner).now_or_never(), Some(Ok(3)));
    });
}

#[test]
fn cancel_ends_the_wait_and_not_the_task() {
    // SH2, flaw 11: the task is held by the runtime, and runs to its end.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let inner = create_task(async move {
            turns(6).await;
            log.add("inner");
            Ok::<_, CancelledError>(())
        });
        let seen = inner.to_any();
        let outer = create_task(shield(inner));
        turns(2).await;
        outer.cancel();
        assert_eq!(outer.await, Err(CancelledError));
        assert_eq!((trace.take().as_str(), seen.cancelling()), ("", 0));
        until(|| seen.done()).await;
        assert_eq!(trace.take(), "inner");
    });
}

#[test]
fn later_error_of_the_inner_task_is_reported_once() {
    // SH2: a later success is silent.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            for good in [false, true] {
                let inner = create_task(async move {
                    turns(4).await;
                    if good { io::Result::Ok(()) } else { Err(io::Error::other("late")) }
                });
                let outer = create_task(shield(shield(inner)));
                turns(2).await;
                outer.cancel();
                assert!(is_cancel(&outer.await.unwrap_err()));
                turns(8).await;
            }
        });
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::ErrorNeverRetrieved]);
    });
}

#[test]
fn links_to_cancelled_waits_go_at_once() {
    // SH4, flaw 11 (gh-155854): a hundred thousand cancelled waits for one task leave nothing behind: what they held is
    // dropped while the task still runs.
    on_ring(async || {
        let inner = create_task(forever());
        let held = Rc::new(());
        for _ in 0..1000 {
            let (any, held) = (inner.to_any(), held.clone());
            let outer = create_task(async move {
                let _held = held;
                any.wait_done().await
            });
            turns(1).await;
            outer.cancel();
            assert_eq!(outer.await, Err(CancelledError));
        }
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(!inner.done());
        assert_eq!(ringio::internals::joiners(&inner.to_any()), 0);
    });
}

#[test]
fn close_cancels_what_is_shielded() {
    // SH4: as CPython.
    in_time(|| {
        let seen = Rc::new(Cell::new(false));
        let place = seen.clone();
        ringio::run(async {
            let inner = create_task(async move {
                let ended = forever().await;
                place.set(ended.is_err());
                ended
            });
            let _ = timeout(Duration::from_millis(1), async |_| shield(inner).await.map_err(io::Error::from)).await;
            assert_eq!(all_tasks().len(), 2);
        });
        assert!(seen.get());
    });
}

#[test]
fn timeout_around_a_shield_ends_the_wait_alone() {
    // SH2: wf::test_shielded_timeout, _zero_timeout
    on_ring(async || {
        let inner = create_task(forever().map(|ended| ended.map_err(io::Error::from)));
        let any = inner.to_any();
        let ended = wait_for(shield(inner), Duration::from_millis(1)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(!any.done() && any.cancelling() == 0);
    });
}

#[test]
fn clean_up_in_a_shield_is_not_disturbed() {
    // C18: the cancel is kept for the next wait behind it, and is delivered once.
    on_ring(async || {
        let task = create_task(async {
            let first = forever().await;
            let inside = shielded(
                async {
                    turns(6).await;
                    Ok::<_, CancelledError>("saved")
                },
                LONG,
            );
            (first, inside.await, yield_now().await, yield_now().await).ok()
        });
        turns(1).await;
        task.cancel();
        turns(2).await;
        task.cancel();
        turns(2).await;
        task.cancel();
        let (first, inside, next, after) = task.await.unwrap();
        assert_eq!((first, inside, next, after), (Err(CancelledError), Ok("saved"), Err(CancelledError), Ok(())));
    });
}

trait Good: Sized {
    fn ok(self) -> Result<Self, CancelledError> {
        Ok(self)
    }
}

impl<A, B, C, D> Good for (A, B, C, D) {}

#[test]
fn shield_keeps_a_cancel_that_was_there_before() {
    // C18, C11: a cancel before the first step reaches the first wait behind the shield.
    on_ring(async || {
        let task = create_task(async {
            let inside = shielded(yield_now(), LONG).await;
            let next = yield_now().await;
            Ok::<_, CancelledError>((inside, next))
        });
        task.cancel();
        assert_eq!(task.await, Ok((Ok(()), Err(CancelledError))));
    });
}

#[test]
fn timeouts_inside_a_shield_work_and_hide_nothing() {
    // C18, C17: a timeout that expires inside has a later number than the cancel that waits outside.
    on_ring(async || {
        let task = create_task(async {
            let inside = shielded(
                async {
                    turns(3).await;
                    let limited = wait_for(forever().map(|end| end.map_err(io::Error::from)), Duration::from_millis(1));
                    let kind = limited.await.unwrap_err().kind();
                    yield_now().await?;
                    Ok::<_, CancelledError>(kind)
                },
                LONG,
            );
            let inside = inside.await;
            Ok::<_, CancelledError>((inside, yield_now().await))
        });
        turns(2).await;
        task.cancel();
        assert_eq!(task.await, Ok((Ok(io::ErrorKind::TimedOut), Err(CancelledError))));
    });
}

#[test]
fn when_the_grace_is_over_the_cancel_gets_in() {
    // C18: and is delivered once: what comes out is the cancel itself.
    on_ring(async || {
        let task = create_task(async {
            let inside = shielded(forever(), Duration::from_millis(3)).await;
            Ok::<_, CancelledError>((inside, yield_now().await))
        });
        turns(2).await;
        task.cancel();
        assert_eq!(task.await, Ok((Err(CancelledError), Ok(()))));
        // One that comes after the grace is not kept out.
        let task = create_task(shielded(forever(), Duration::from_millis(1)));
        sleep(Duration::from_millis(5)).await.unwrap();
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
    });
}

#[test]
fn cancel_reaches_somebody_elses_future() {
    // C14: which is dropped at once.
    on_ring(async || {
        let trace = Trace::default();
        let dropped = super::Dropped(trace.clone(), "dropped");
        let task = create_task(async move {
            let foreign = cancellable(async move {
                let _dropped = dropped;
                pending::<()>().await;
            });
            let ended = foreign.await;
            turns(2).await;
            ended
        });
        turns(2).await;
        task.cancel();
        turns(1).await;
        assert_eq!((trace.take().as_str(), task.done()), ("dropped", false));
        assert_eq!(task.await, Err(CancelledError));
    });
}

#[test]
fn value_of_somebody_elses_future_beats_a_cancel_of_the_same_turn() {
    // C10: it has no owner; the request is kept for the next wait.
    for cancel_first in [false, true] {
        on_ring(async move || {
            let (send, receive) = oneshot::channel();
            let task = create_task(async move {
                let value = cancellable(receive).await;
                Ok::<_, CancelledError>((value, yield_now().await))
            });
            turns(2).await;
            if cancel_first {
                task.cancel();
                send.send(5).unwrap();
            } else {
                send.send(5).unwrap();
                task.cancel();
            }
            assert_eq!(task.await, Ok((Ok(Ok(5)), Err(CancelledError))));
        });
    }
}

#[test]
fn cancel_that_waits_ends_a_foreign_wait_before_it_begins() {
    // L2, S3: what is ready is taken.
    on_ring(async || {
        me().cancel();
        assert_eq!(cancellable(std::future::ready(1)).await, Ok(1));
        assert_eq!(cancellable(pending::<()>()).await, Err(CancelledError));
        assert_eq!(cancellable(pending::<()>()).now_or_never(), None);
    });
}
