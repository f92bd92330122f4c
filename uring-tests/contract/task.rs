//! Contract 3: tasks.

use std::{
    cell::{Cell, RefCell},
    io,
    panic::AssertUnwindSafe,
    rc::Rc,
};

use futures::FutureExt;
use ringio::{
    AnyTask, CancelledError, InvalidStateError, ReportKind, Task, all_tasks, create_task, current_task, yield_now,
};

use super::{Reports, Trace, cancel::me, forever, in_time, on_ring, panics, text_of, turns, until};

#[test]
fn create_task_returns_at_once_and_the_body_runs_later() {
    // T1
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move { log.add("ran") });
        assert_eq!((trace.take().as_str(), task.done()), ("", false));
        assert_eq!(task.await, Ok(()));
        assert_eq!(trace.take(), "ran");
    });
}

#[test]
fn names_are_numbered_and_may_be_changed() {
    // T3
    on_ring(async || {
        let one = create_task(forever());
        let two = create_task(forever());
        for task in [&one, &two] {
            assert_eq!(*task.name(), *format!("Task-{}", task.id()));
        }
        assert!(one.id() < two.id());
        let named = Task::builder().name(42).spawn(async { Ok::<_, CancelledError>(me().name()) });
        assert_eq!(&*named.name(), "42");
        named.set_name("renamed");
        assert_eq!(&*named.to_any().name(), "renamed");
        assert_eq!(named.await.as_deref(), Ok("renamed"));
        let other = std::thread::spawn(|| ringio::run(async { me().id() })).join().unwrap();
        assert!(other != one.id() && other != two.id() && other != me().id(), "ids are the process's");
    });
}

#[test]
fn result_is_there_when_the_task_is_done() {
    // T4
    on_ring(async || {
        let value = create_task(async { Ok::<_, CancelledError>(1) });
        let error = create_task(async { Err::<(), _>(io::Error::other("mine")) });
        let cancelled = create_task(forever());
        assert_eq!(value.with_result(|_| ()), Err(InvalidStateError::NotDone));
        turns(1).await;
        cancelled.cancel();
        until(|| value.done() && error.done() && cancelled.done()).await;
        for _ in 0..2 {
            assert_eq!(value.with_result(|result| *result), Ok(Ok(1)));
        }
        assert_eq!(error.with_result(|result| result.as_ref().unwrap_err().to_string()).unwrap(), "mine");
        assert_eq!(cancelled.with_result(|result| *result), Ok(Err(CancelledError)));
        assert!(!value.cancelled() && !error.cancelled() && cancelled.cancelled());
        assert_eq!(value.await, Ok(1));
    });
}

#[test]
fn cancel_message_survives_to_the_end() {
    // T5: before the start, while waiting, and after the end.
    on_ring(async || {
        for started in [false, true] {
            let task = create_task(forever());
            turns(usize::from(started)).await;
            task.cancel_with(format!("started: {started}"));
            let any = task.to_any();
            assert_eq!(task.await, Err(CancelledError));
            assert_eq!(any.cancel_message().unwrap().to_string(), format!("started: {started}"));
        }
        let silent = create_task(forever());
        silent.cancel();
        assert_eq!(silent.to_any().cancel_message(), None);
    });
}

#[test]
fn task_that_awaits_itself_is_told_so() {
    // T9
    on_ring(async || {
        let trace = Trace::default();
        let place: Rc<RefCell<Option<Task<(), CancelledError>>>> = Rc::default();
        let (log, own) = (trace.clone(), place.clone());
        let task = create_task(async move {
            let own = own.take().unwrap();
            let payload = AssertUnwindSafe(own).catch_unwind().await.unwrap_err();
            log.add(text_of(&*payload));
            Ok(())
        });
        let any = task.to_any();
        place.replace(Some(task));
        until(|| any.done()).await;
        assert!(trace.take().contains("awaits itself"));
    });
}

#[test]
fn done_task_is_looked_at_often_and_taken_once() {
    // T10
    on_ring(async || {
        let mut task = create_task(async { Ok::<_, CancelledError>(String::from("once")) });
        assert_eq!((&mut task).await.unwrap(), "once");
        assert_eq!(task.with_result(|_| ()), Err(InvalidStateError::Taken));
        let again = AssertUnwindSafe(&mut task).catch_unwind().await;
        assert!(text_of(&*again.unwrap_err()).contains("already") || task.done());
    });
}

#[test]
fn dropped_handle_lets_the_task_run_on() {
    // T11, D4
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        drop(create_task(async move {
            turns(2).await;
            log.add("ran on");
        }));
        turns(4).await;
        assert_eq!(trace.take(), "ran on");
    });
}

#[test]
fn runtime_holds_tasks_that_nobody_else_knows() {
    // T11 (gh-91887): only its own timer and the runtime know of it.
    on_ring(async || {
        let (send, receive) = futures::channel::oneshot::channel();
        drop(create_task(async move {
            ringio::sleep(std::time::Duration::from_millis(2)).await?;
            let _ = send.send("alive");
            Ok::<_, CancelledError>(())
        }));
        assert_eq!(receive.await, Ok("alive"));
    });
}

#[test]
fn debug_shows_state_and_name() {
    // T15
    on_ring(async || {
        let task = Task::builder().name("shown").spawn(forever());
        assert!(format!("{task:?}").starts_with("<Task pending name='shown' spawned_at="), "{task:?}");
        turns(1).await;
        task.cancel();
        assert!(format!("{task:?}").contains("cancelling"), "{task:?}");
        until(|| task.done()).await;
        assert!(format!("{task:?}").contains("cancelled"), "{task:?}");
        let finished = create_task(async {});
        until(|| finished.done()).await;
        let text = format!("{:?}", finished.to_any());
        assert!(text.contains("finished") && text.contains("task.rs"), "{text}");
    });
}

#[test]
fn panic_goes_on_in_whoever_awaits() {
    // T16, E1: with its payload.
    on_ring(async || {
        let task = create_task(async {
            yield_now().await?;
            if me().cancelling() == 0 {
                std::panic::panic_any(0x51_u64);
            }
            Ok::<_, CancelledError>(())
        });
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert_eq!(payload.downcast_ref::<u64>(), Some(&0x51));
        turns(2).await;
    });
}

#[test]
fn task_that_panics_on_its_cancel_is_done_and_not_cancelled() {
    // T16
    on_ring(async || {
        let task = create_task(async {
            let ended = forever().await;
            assert!(ended.is_ok(), "panics on its cancel");
            ended
        });
        turns(1).await;
        task.cancel();
        until(|| task.done()).await;
        assert!(!task.cancelled() && !task.cancel());
        assert!(task.with_result(|_| ()).is_err());
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert!(text_of(&*payload).contains("panics on its cancel"));
    });
}

#[test]
fn panic_that_nobody_awaits_is_reported_once() {
    // T16, E2
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let kept = create_task(panics("one"));
            drop(create_task(panics("two")));
            turns(2).await;
            drop(kept);
            turns(2).await;
        });
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::PanicNeverRetrieved; 2]);
    });
}

#[test]
fn current_task_is_right_across_interleavings() {
    // CT1
    assert!(current_task().is_none());
    on_ring(async || {
        let main = me();
        let ids = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let ids = ids.clone();
                create_task(async move {
                    for _ in 0..3 {
                        ids.borrow_mut().push(me().id());
                        yield_now().await?;
                    }
                    Ok::<_, CancelledError>(me())
                })
            })
            .collect();
        let known: Vec<AnyTask> = tasks.iter().map(Task::to_any).collect();
        for (task, known) in tasks.into_iter().zip(&known) {
            assert!(task.await.unwrap() == *known);
            assert!(me() == main);
        }
        let expected: Vec<u64> = known.iter().map(AnyTask::id).cycle().take(9).collect();
        assert_eq!(ids.take(), expected);
        assert!(current_task().is_some());
    });
}

#[test]
fn all_tasks_are_the_unfinished_ones_in_creation_order() {
    // CT2: with main, with those that never started, without those that are done.
    assert!(all_tasks().is_empty());
    on_ring(async || {
        let done = create_task(async {});
        until(|| done.done()).await;
        let started = create_task(forever());
        turns(1).await;
        let fresh = create_task(forever());
        let seen: Vec<u64> = all_tasks().iter().map(AnyTask::id).collect();
        assert_eq!(seen, [me().id(), started.id(), fresh.id()]);
        let other = std::thread::spawn(|| ringio::run(async { all_tasks().len() })).join().unwrap();
        assert_eq!(other, 1, "of this runtime only");
        started.cancel();
        until(|| started.done()).await;
        assert_eq!(all_tasks().len(), 2);
    });
}

#[test]
fn a_task_ended_by_its_own_step_is_not_listed_in_that_step() {
    // CT2: a destructor that looks sees its own task, which has not ended yet.
    on_ring(async || {
        struct Looks(Rc<Cell<Option<bool>>>);
        impl Drop for Looks {
            fn drop(&mut self) {
                let own = current_task().is_some_and(|own| all_tasks().contains(&own) && !own.done());
                self.0.set(Some(own));
            }
        }
        let seen = Rc::new(Cell::new(None));
        let looks = Looks(seen.clone());
        create_task(async move { drop(looks) }).await.unwrap();
        assert_eq!(seen.get(), Some(true));
    });
}
