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

#[test]
fn callbacks_run_on_a_later_turn_in_their_order() {
    // T6: with the task; twice if added twice; also when the task is done already.
    on_ring(async || {
        let trace = Trace::default();
        let task = create_task(async {});
        let known = task.to_any();
        let add = |name: &'static str| {
            let (log, known) = (trace.clone(), known.clone());
            task.add_done_callback(move |done| {
                assert!(*done == known && done.done());
                log.add(name);
            })
        };
        let (_, two, _) = (add("one"), add("two"), add("one"));
        assert!(task.remove_done_callback(two) && !task.remove_done_callback(two));
        until(|| task.done()).await;
        assert_eq!(trace.take(), "", "not in the step of its end");
        turns(1).await;
        assert_eq!(trace.take(), "one one");
        let late = add("late");
        assert_eq!(trace.take(), "");
        assert!(!task.remove_done_callback(late), "it is on its way");
        turns(1).await;
        assert_eq!(trace.take(), "late");
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn callback_that_panics_is_reported_and_the_others_run() {
    // T7
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.runner();
        runner.run(async {
            let task = Task::builder().name("subject").spawn(async {});
            task.add_done_callback(|_| std::panic::panic_any("callback"));
            let log = trace.clone();
            task.add_done_callback(move |_| log.add("ran"));
            task.await.unwrap();
            turns(2).await;
        });
        runner.close();
        assert_eq!(trace.take(), "ran");
        assert_eq!(reports.kinds(), [ReportKind::PanicInCallback]);
        assert!(reports.texts()[0].contains("subject"), "{:?}", reports.texts());
    });
}

#[test]
fn callbacks_of_tasks_that_end_with_the_runtime_run() {
    // T6, RUN7
    in_time(|| {
        let trace = Trace::default();
        let log = trace.clone();
        ringio::run(async {
            create_task(forever()).add_done_callback(move |task| log.add(task.cancelled()));
            turns(1).await;
        });
        assert_eq!(trace.take(), "true");
    });
}

#[test]
fn callback_that_never_runs_is_dropped() {
    // Its captures may refer to the task itself: no cycle keeps the two alive.
    on_ring(async || {
        let held = Rc::new(());
        let task = create_task(forever());
        let (own, kept) = (task.to_any(), held.clone());
        let id = task.add_done_callback(move |_| drop((own, kept)));
        assert!(task.remove_done_callback(id));
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn error_is_there_to_be_looked_at() {
    // T4: None, the error, or why there is neither; a cancel is an error like others.
    on_ring(async || {
        let good = create_task(async { io::Result::Ok(1) });
        let bad = create_task(async { Err::<(), _>(io::Error::other("mine")) });
        let panicked = create_task(panics("a panic"));
        let cancelled = create_task(forever());
        assert_eq!(good.exception().err(), Some(InvalidStateError::NotDone));
        turns(1).await;
        cancelled.cancel();
        until(|| cancelled.done()).await;
        assert!(good.exception().unwrap().is_none());
        assert_eq!(bad.exception().unwrap().unwrap().to_string(), "mine");
        assert_eq!(cancelled.exception(), Ok(Some(&CancelledError)));
        assert_eq!(panicked.result(), Err(InvalidStateError::Panicked));
        let (one, two) = (good.result().unwrap(), good.result().unwrap());
        assert_eq!((one.as_ref().ok(), two.as_ref().ok()), (Some(&1), Some(&1)), "many may look at once");
        let payload = AssertUnwindSafe(panicked).catch_unwind().await.unwrap_err();
        assert_eq!(text_of(&*payload), "a panic");
    });
}

#[test]
fn result_of_itself_is_not_there_yet() {
    // T4: asked for by the task's own body.
    on_ring(async || {
        let place: Rc<RefCell<Option<Task<u8, CancelledError>>>> = Rc::default();
        let own = place.clone();
        let task = create_task(async move {
            let own = own.take().unwrap();
            assert_eq!(own.result(), Err(InvalidStateError::NotDone));
            Ok(1)
        });
        let any = task.to_any();
        place.replace(Some(task));
        until(|| any.done()).await;
    });
}

#[test]
fn body_has_a_name_and_a_place() {
    // T12, T13
    on_ring(async || {
        async fn named() -> Result<(), CancelledError> {
            forever().await
        }
        let task = Task::builder().name("seen").spawn(named());
        turns(1).await;
        assert!(task.body_type_name().contains("named"), "{}", task.body_type_name());
        let stack = task.stack(None);
        assert!(stack[0].what.contains("named") && stack[0].location.unwrap().file().ends_with("task.rs"));
        assert!(task.stack(0).is_empty());
        let mut out = Vec::new();
        task.print_stack(None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("Stack for seen (most recent call last):\n") && text.contains("named"), "{text}");
        task.cancel();
        until(|| task.done()).await;
        let mut out = Vec::new();
        task.print_stack(None, &mut out).unwrap();
        assert_eq!((String::from_utf8(out).unwrap().as_str(), task.stack(None).len()), ("No stack for seen\n", 0));
    });
}

#[test]
fn cancel_message_goes_down_with_the_cancel() {
    // T5, C12
    on_ring(async || {
        let inner = create_task(forever());
        let seen = inner.to_any();
        let outer = create_task(inner);
        turns(2).await;
        outer.cancel_with("because");
        assert_eq!(outer.await, Err(CancelledError));
        assert_eq!(seen.cancel_message().as_deref(), Some("because"));
    });
}
