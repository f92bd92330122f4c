//! Contract 1.2: a cancel is a request, counted, delivered once to every wait that was pending.

use std::{cell::RefCell, future::poll_fn, io, rc::Rc, task::Poll};

use futures::{StreamExt, channel::oneshot, future::join, stream::FuturesUnordered};
use ringio::{AnyTask, CancelledError, Task, create_task, current_task, internals, yield_now};

use super::{Trace, forever, is_cancel, on_ring, pairs, turns, until};

pub(super) fn me() -> AnyTask {
    current_task().unwrap()
}

#[test]
fn cancel_counts_and_says_whether_the_task_was_running() {
    // C1, C2
    on_ring(async || {
        let task = create_task(forever());
        assert_eq!(task.cancelling(), 0);
        assert!(task.cancel() && task.cancel());
        assert_eq!(task.cancelling(), 2);
        assert!(!task.cancelled() && !task.done());
        until(|| task.done()).await;
        assert!(task.cancelled());
        assert!(!task.cancel());
        assert_eq!(task.cancelling(), 2);
        assert_eq!(task.await, Err(CancelledError));
        let value = create_task(async { Ok::<_, CancelledError>(1) });
        until(|| value.done()).await;
        assert!(!value.cancel() && !value.cancelled());
        assert_eq!((value.cancelling(), value.await), (0, Ok(1)));
    });
}

#[test]
fn cancel_is_delivered_in_the_next_turn_not_inside_the_call() {
    // C3
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            let ended = forever().await;
            log.add("delivered");
            ended
        });
        turns(1).await;
        task.cancel();
        trace.add("asked");
        turns(1).await;
        trace.add("next");
        assert_eq!(trace.take(), "asked delivered next");
    });
}

#[test]
fn running_task_gets_its_cancel_at_the_next_wait_that_suspends() {
    // C4: what is ready neither delivers nor uses up the request.
    on_ring(async || {
        let ((mut reader, writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"ab").unwrap();
        reader.readexactly(1).await.unwrap();
        let done = create_task(async { Ok::<_, CancelledError>(3) });
        until(|| done.done()).await;
        let task = create_task(async move {
            me().cancel();
            assert_eq!(done.await, Ok(3));
            assert_eq!(reader.read(1).await.unwrap(), "b");
            writer.drain().await.unwrap();
            assert_eq!(yield_now().await, Err(CancelledError));
            yield_now().await.unwrap();
            Ok::<_, CancelledError>(4)
        });
        assert_eq!(task.await, Ok(4));
    });
}

#[test]
fn scheduled_task_gets_its_cancel_at_the_next_wait() {
    // C4: it was woken by somebody else, and then cancelled before it ran.
    on_ring(async || {
        let (send, receive) = oneshot::channel();
        let task = create_task(async move {
            let got = receive.await.unwrap();
            let ended = yield_now().await;
            Ok::<_, CancelledError>((got, ended))
        });
        turns(1).await;
        send.send(5).unwrap();
        task.cancel();
        assert_eq!(task.await, Ok((5, Err(CancelledError))));
    });
}

#[test]
fn several_requests_are_delivered_once_and_the_first_message_is_kept() {
    // C5: for a task that waits, and for one that has not started.
    on_ring(async || {
        for started in [true, false] {
            let task = create_task(async {
                let first = forever().await;
                let message = me().cancel_message();
                let second = yield_now().await;
                Ok::<_, CancelledError>((first, message, second))
            });
            turns(usize::from(started)).await;
            assert!(task.cancel_with("one") && task.cancel_with("two"));
            assert_eq!(task.cancelling(), 2);
            let (first, message, second) = task.await.unwrap();
            assert_eq!((first, second), (Err(CancelledError), Ok(())));
            assert_eq!(message.as_deref(), Some("one"), "started: {started}");
        }
    });
}

#[test]
fn clean_up_may_wait_and_may_be_cancelled_again() {
    // C6
    on_ring(async || {
        let task = create_task(async {
            assert_eq!(forever().await, Err(CancelledError));
            turns(3).await;
            assert_eq!(forever().await, Err(CancelledError));
            turns(3).await;
            Ok::<_, CancelledError>("clean")
        });
        for _ in 0..2 {
            turns(8).await;
            assert!(!task.done());
            task.cancel();
        }
        assert_eq!(task.await, Ok("clean"));
    });
}

#[test]
fn uncancel_withdraws_a_request_that_was_not_delivered() {
    // C7
    on_ring(async || {
        let (send, receive) = oneshot::channel();
        let task = create_task(async move {
            let got = receive.await.unwrap();
            yield_now().await.unwrap();
            Ok::<_, CancelledError>(got)
        });
        turns(1).await;
        send.send(6).unwrap();
        task.cancel();
        task.cancel();
        assert_eq!((task.uncancel(), task.cancelling()), (1, 1));
        assert_eq!((task.uncancel(), task.uncancel(), task.cancelling()), (0, 0, 0));
        assert_eq!(task.await, Ok(6));
    });
}

#[test]
fn a_withdrawn_request_does_not_end_a_wait_that_was_pending() {
    // C7
    on_ring(async || {
        let task = create_task(async {
            let first = forever().await;
            Ok::<_, CancelledError>((first, me().cancel_message()))
        });
        turns(1).await;
        task.cancel_with("withdrawn");
        task.uncancel();
        turns(3).await;
        assert!(!task.done());
        task.cancel_with("meant");
        let (ended, message) = task.await.unwrap();
        assert_eq!((ended, message.as_deref()), (Err(CancelledError), Some("meant")));
    });
}

#[test]
fn what_the_body_returns_decides_whether_the_task_is_cancelled() {
    // C8
    on_ring(async || {
        let unasked = create_task(async { Err::<(), _>(CancelledError) });
        until(|| unasked.done()).await;
        assert!(unasked.cancelled() && unasked.cancelling() == 0);
        assert_eq!(unasked.await, Err(CancelledError));
        let wrapped = create_task(async { Err::<(), _>(io::Error::from(CancelledError)) });
        until(|| wrapped.done()).await;
        assert!(wrapped.cancelled());
        let caught = create_task(async {
            let _ = forever().await;
            Ok::<_, CancelledError>(1)
        });
        let other = create_task(async {
            let _ = forever().await;
            Err::<(), _>(io::Error::other("mine"))
        });
        turns(1).await;
        assert!(caught.cancel() && other.cancel());
        until(|| caught.done() && other.done()).await;
        assert!(!caught.cancelled() && !other.cancelled());
        assert_eq!((caught.cancelling(), caught.await.unwrap()), (1, 1));
        assert_eq!(other.await.unwrap_err().to_string(), "mine");
    });
}

#[test]
fn value_of_a_cancel_that_was_never_delivered_is_kept() {
    // C9, D1
    on_ring(async || {
        let task = create_task(async {
            me().cancel();
            Ok::<_, CancelledError>(9)
        });
        until(|| task.done()).await;
        assert!(!task.cancelled());
        assert_eq!((task.cancelling(), task.await), (1, Ok(9)));
    });
}

#[test]
fn result_of_an_operation_of_its_own_beats_a_cancel_of_the_same_turn() {
    // C10, L4: the value is delivered, the request is kept for the next wait.
    on_ring(async || {
        let task = create_task(async {
            let first = internals::nop().await;
            let second = yield_now().await;
            Ok::<_, CancelledError>((first.is_ok(), second))
        });
        // Its completion was collected at the end of this turn; we run before it in the next.
        turns(1).await;
        task.cancel();
        assert_eq!(task.await, Ok((true, Err(CancelledError))));
    });
}

#[test]
fn cancelled_read_leaves_the_bytes_with_the_stream() {
    // C10: cancel first, because the owner keeps what comes.
    on_ring(async || {
        let ((reader, _writer), (_far_reader, mut far)) = pairs::streams(64).await;
        let reader = Rc::new(RefCell::new(Some(reader)));
        let place = reader.clone();
        let task = create_task(async move {
            let mut reader = place.take().unwrap();
            let read = reader.read(64).await;
            place.replace(Some(reader));
            read
        });
        turns(1).await;
        far.write(b"kept").unwrap();
        far.drain().await.unwrap();
        task.cancel();
        let read = task.await;
        let mut reader = reader.take().unwrap();
        assert!(is_cancel(&read.unwrap_err()));
        assert_eq!(reader.readexactly(4).await.unwrap(), "kept");
    });
}

#[test]
fn neither_the_value_of_a_task_nor_the_cancel_of_its_awaiter_is_lost() {
    // C10, WF5: both in one turn.
    on_ring(async || {
        let (send, receive) = oneshot::channel();
        let inner = create_task(async move { Ok::<u8, CancelledError>(receive.await.unwrap()) });
        let outer = create_task(async move {
            let mut inner = inner;
            match (&mut inner).await {
                Ok(value) => (value, yield_now().await),
                Err(cancelled) => (inner.await.unwrap(), Err(cancelled)),
            }
            .wrapped()
        });
        turns(2).await;
        send.send(7).unwrap();
        turns(1).await; // inner has ended, outer is woken and runs after us
        outer.cancel();
        // The cancel comes first, the value stays with the task: `(value, next)` would be the other order.
        assert_eq!(outer.await, Ok((7, Err(CancelledError))));
    });
}

trait Wrapped: Sized {
    fn wrapped(self) -> Result<Self, CancelledError> {
        Ok(self)
    }
}

impl<A, B> Wrapped for (A, B) {}

#[test]
fn task_cancelled_before_its_first_step_is_started() {
    // C11, D3: its clean-up runs.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            log.add("started");
            let ended = forever().await;
            log.add("cleaned");
            ended
        });
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        assert_eq!(trace.take(), "started cleaned");
    });
}

#[test]
fn awaiting_passes_the_cancel_down_and_takes_the_real_outcome() {
    // C12: the inner task suppresses it and returns 7: so does the outer one, with a count of one.
    on_ring(async || {
        let inner_seen: Rc<RefCell<Option<AnyTask>>> = Rc::default();
        let place = inner_seen.clone();
        let outer = create_task(async move {
            let inner = create_task(async {
                assert_eq!(forever().await, Err(CancelledError));
                assert_eq!(me().cancelling(), 1);
                turns(3).await;
                Ok::<_, CancelledError>(7)
            });
            place.replace(Some(inner.to_any()));
            let value = inner.await?;
            yield_now().await.unwrap(); // the request went down: nothing of it is left here
            assert_eq!(me().cancelling(), 1);
            Ok::<_, CancelledError>(value)
        });
        turns(3).await;
        outer.cancel();
        assert!(!inner_seen.borrow().as_ref().unwrap().done());
        until(|| outer.done()).await;
        assert!(!outer.cancelled());
        assert!(!inner_seen.take().unwrap().cancelled());
        assert_eq!((outer.cancelling(), outer.await), (1, Ok(7)));
    });
}

#[test]
fn cancel_goes_down_a_chain_of_tasks_and_the_outcome_comes_up() {
    // C12
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let outer = create_task(async move {
            let names = log.clone();
            let middle = create_task(async move {
                let log = names.clone();
                let inner = create_task(async move {
                    let ended = forever().await;
                    turns(2).await;
                    names.add("inner");
                    ended
                });
                let ended = inner.await;
                log.add("middle");
                ended
            });
            let ended = middle.await;
            log.add("outer");
            ended
        });
        turns(4).await;
        outer.cancel();
        until(|| outer.done()).await;
        assert!(outer.cancelled());
        assert_eq!(trace.take(), "inner middle outer");
    });
}

#[test]
fn second_cancel_of_the_awaiter_goes_down_too() {
    // C12, C6
    on_ring(async || {
        let outer = create_task(async {
            let inner = create_task(async {
                assert_eq!(forever().await, Err(CancelledError));
                assert_eq!(forever().await, Err(CancelledError));
                Err::<(), _>(io::Error::other("real outcome"))
            });
            inner.await
        });
        for _ in 0..2 {
            turns(4).await;
            assert!(!outer.done());
            outer.cancel();
        }
        assert_eq!(outer.await.unwrap_err().to_string(), "real outcome");
    });
}

#[test]
fn cancel_before_the_await_goes_down_and_is_not_delivered_twice() {
    // C12: the request was pending when the wait for the task began.
    on_ring(async || {
        let inner = create_task(async {
            let ended = forever().await;
            Ok::<_, CancelledError>(ended)
        });
        let outer = create_task(async move {
            turns(1).await;
            me().cancel();
            let inner = inner.await?;
            Ok::<_, CancelledError>((inner, yield_now().await))
        });
        assert_eq!(outer.await, Ok((Err(CancelledError), Ok(()))));
    });
}

#[test]
fn one_cancel_ends_every_wait_that_was_pending_and_none_begun_later() {
    // C13
    on_ring(async || {
        let task = create_task(async {
            let both = join(forever(), async {
                let ended = forever().await;
                turns(2).await; // clean-up beside the other wait
                ended
            });
            let both = both.await;
            turns(1).await;
            Ok::<_, CancelledError>(both)
        });
        turns(1).await;
        task.cancel();
        assert_eq!(task.await, Ok((Err(CancelledError), Err(CancelledError))));
    });
}

#[test]
fn cancel_reaches_waits_that_are_polled_under_another_waker() {
    // C13: FuturesUnordered polls only what its own wakers announce.
    on_ring(async || {
        let task = create_task(async {
            let mut waits: FuturesUnordered<_> = (0..3).map(|_| forever()).collect();
            let mut ended = 0;
            while let Some(one) = waits.next().await {
                assert_eq!(one, Err(CancelledError));
                ended += 1;
            }
            turns(1).await;
            Ok::<_, CancelledError>(ended)
        });
        turns(1).await;
        task.cancel();
        assert_eq!(task.await, Ok(3));
    });
}

#[test]
fn dropped_wait_leaves_the_cancel_for_the_next() {
    // C15, C13: a wait that was given up before the cancel came takes nothing with it.
    on_ring(async || {
        let task = create_task(async {
            let mut given_up = forever();
            poll_fn(|cx| {
                assert!(Future::poll(std::pin::Pin::new(&mut given_up), cx).is_pending());
                Poll::Ready(())
            })
            .await;
            me().cancel();
            drop(given_up);
            let first = yield_now().await;
            Ok::<_, CancelledError>((first, yield_now().await))
        });
        assert_eq!(task.await, Ok((Err(CancelledError), Ok(()))));
    });
}

#[test]
fn cancel_as_an_io_error_is_not_retried_by_the_standard_library() {
    // C16
    let error = io::Error::from(CancelledError);
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert_eq!(ringio::cancelled(&error), Some(&CancelledError));
    assert_eq!(ringio::cancelled(&io::Error::other("no")), None);
    assert!(matches!(ringio::Error::from(error), ringio::Error::Cancelled(CancelledError)));
    fn is_task_error<E: ringio::TaskError>() {}
    is_task_error::<io::Error>();
    is_task_error::<ringio::Error>();
    is_task_error::<CancelledError>();
    is_task_error::<Box<dyn std::error::Error>>();
    is_task_error::<Box<dyn std::error::Error + Send + Sync>>();
}

#[test]
fn a_task_may_cancel_itself_and_go_on() {
    // C4, C7
    on_ring(async || {
        let task: Task<_, CancelledError> = create_task(async {
            me().cancel_with("stop");
            let ended = yield_now().await;
            assert_eq!(me().cancel_message().as_deref(), Some("stop"));
            assert_eq!(me().uncancel(), 0);
            turns(2).await;
            Ok(ended)
        });
        assert_eq!(task.await, Ok(Err(CancelledError)));
    });
}

#[test]
fn cancel_between_two_runs_is_delivered_in_the_next() {
    // C1, RUN5: no loop runs at the time of the call.
    super::in_time(|| {
        let mut runner = ringio::Runner::new().unwrap();
        let (task,) = runner.run(async {
            let task = create_task(forever());
            turns(1).await;
            (task,)
        });
        assert!(task.cancel());
        assert_eq!(task.cancelling(), 1);
        let ended = runner.run(async {
            turns(3).await;
            task.done()
        });
        assert!(ended, "the cancel was counted and never delivered");
        assert!(task.cancelled());
    });
}
