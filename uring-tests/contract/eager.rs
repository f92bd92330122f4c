//! Contract 3: eager tasks.

use std::{io, panic::AssertUnwindSafe};

use futures::FutureExt;
use ringio::{CancelledError, Task, all_tasks, create_task, yield_now};

use super::{Trace, cancel::me, forever, on_ring, text_of, turns, until};

#[test]
fn body_runs_at_once_until_it_waits() {
    // EG1
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = Task::builder().eager(true).spawn(async move {
            log.add("first");
            yield_now().await?;
            log.add("second");
            Ok::<_, CancelledError>(1)
        });
        assert_eq!((trace.take().as_str(), task.done()), ("first", false));
        assert_eq!(task.await, Ok(1));
        assert_eq!(trace.take(), "second");
    });
}

#[test]
fn body_that_does_not_wait_never_gets_into_the_run_queue() {
    // EG1, CT2: it is done before create_task returns.
    on_ring(async || {
        let task = Task::builder().eager(true).spawn(async {
            assert!(all_tasks().contains(&me()));
            Ok::<_, CancelledError>(2)
        });
        assert!(task.done());
        assert_eq!(all_tasks().len(), 1);
        assert_eq!(task.now_or_never(), Some(Ok(2)));
    });
}

#[test]
fn current_task_is_right_in_nested_eager_steps() {
    // CT1, EG1
    on_ring(async || {
        let main = me();
        let outer = Task::builder().eager(true).spawn(async move {
            let outer = me();
            assert_ne!(outer, main);
            let inner = Task::builder().eager(true).spawn(async move {
                let inner = me();
                yield_now().await?;
                assert_eq!(me(), inner);
                Ok::<_, CancelledError>(inner)
            });
            assert_eq!(me(), outer);
            let id = inner.id();
            assert_eq!(inner.await?.id(), id);
            assert_eq!(me(), outer);
            Ok::<_, CancelledError>(outer)
        });
        let known = outer.to_any();
        assert_eq!(me().id(), all_tasks()[0].id());
        assert_eq!(outer.await, Ok(known));
    });
}

#[test]
fn cancel_after_an_eager_end_changes_nothing() {
    // EG2
    on_ring(async || {
        let task = Task::builder().eager(true).spawn(async { Ok::<_, CancelledError>(3) });
        assert!(!task.cancel() && !task.cancelled());
        assert_eq!(task.await, Ok(3));
        let waiting = Task::builder().eager(true).spawn(forever());
        assert!(waiting.cancel_with("why"));
        let any = waiting.to_any();
        assert_eq!(waiting.await, Err(CancelledError));
        assert_eq!(any.cancel_message().as_deref(), Some("why"));
    });
}

#[test]
fn errors_of_an_eager_body_stay_in_its_task() {
    // EG3: also a panic.
    on_ring(async || {
        let task = Task::builder().eager(true).spawn(async { Err::<(), _>(io::Error::other("mine")) });
        assert!(task.done());
        assert_eq!(task.await.unwrap_err().to_string(), "mine");
        let task = Task::builder().eager(true).spawn(super::panics("eager"));
        assert!(task.done());
        assert_eq!(text_of(&*AssertUnwindSafe(task).catch_unwind().await.unwrap_err()), "eager");
        assert_eq!(me().id(), all_tasks()[0].id(), "the current task came back");
    });
}

#[test]
fn scope_of_the_creator_does_not_reach_the_eager_step() {
    // EG1: a timeout around the creator is none around its task.
    on_ring(async || {
        let mut kept = None;
        let limited = ringio::timeout(std::time::Duration::ZERO, async |limit| {
            let _ = yield_now().await;
            assert!(limit.expired());
            let task = Task::builder().eager(true).spawn(forever());
            turns(2).await;
            assert!(!task.done());
            kept = Some(task);
            io::Result::Ok(())
        });
        limited.await.unwrap();
        let task = kept.unwrap();
        turns(2).await;
        assert!(!task.done());
        task.cancel();
        until(|| task.done()).await;
    });
}

#[test]
fn eager_task_wakes_who_waits_for_it() {
    on_ring(async || {
        let (send, receive) = futures::channel::oneshot::channel();
        let waiting = create_task(async move { receive.await.map_err(|_| CancelledError) });
        turns(1).await;
        let task = Task::builder().eager(true).spawn(async move {
            let _ = send.send(4);
        });
        assert!(task.done());
        assert_eq!(waiting.await, Ok(4));
    });
}
