//! Contract 4: task groups.

use std::{cell::RefCell, io, panic::AssertUnwindSafe, rc::Rc, time::Duration};

use futures::{FutureExt, channel::oneshot};
use ringio::{
    CancelledError, ExceptionGroup, GroupClosedError, GroupError, ReportKind, Task, TaskGroup, all_tasks, create_task,
    timeout, wait_for, yield_now,
};

use super::{Reports, Trace, cancel::me, forever, in_time, is_cancel, on_ring, text_of, turns, until};

const LONG: Duration = Duration::from_secs(3600);

/// A child that waits for a cancel, takes `clean_up` turns over it, and hands it on.
async fn child(trace: Trace, name: &'static str, clean_up: usize) -> io::Result<()> {
    let ended = forever().await;
    turns(clean_up).await;
    trace.add(name);
    Ok(ended?)
}

async fn fails(after: usize, text: &'static str) -> io::Result<()> {
    turns(after).await;
    Err(io::Error::other(text))
}

fn group_of<R>(ended: Result<R, GroupError<io::Error>>) -> ExceptionGroup<io::Error> {
    match ended {
        Err(GroupError::Group(group)) => group,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no error"),
    }
}

fn texts<R>(ended: Result<R, GroupError<io::Error>>) -> Vec<String> {
    group_of(ended).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn scope_waits_for_every_child() {
    // TG1: also for those made by children, while the body is over already.
    on_ring(async || {
        let trace = Trace::default();
        let tasks: Rc<RefCell<Vec<Task<u32, io::Error>>>> = Rc::default();
        let value = TaskGroup::scope(async |group| {
            let (inner, log, place) = (group.clone(), trace.clone(), tasks.clone());
            let first = group.create_task(async move {
                turns(3).await;
                let log = log.clone();
                let second = inner.create_task(async move {
                    turns(3).await;
                    log.add("second");
                    Ok(2)
                });
                place.borrow_mut().push(second);
                Ok(1)
            });
            tasks.borrow_mut().push(first);
            io::Result::Ok("value")
        });
        assert_eq!(value.await.unwrap(), "value");
        assert_eq!(trace.take(), "second");
        let results: Vec<u32> = tasks.take().iter().map(|task| *task.result().unwrap().as_ref().unwrap()).collect();
        assert_eq!(results, [1, 2]);
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn finished_children_leave_at_once() {
    // TG2, TG16: the group lists its children.
    on_ring(async || {
        TaskGroup::scope(async |group| {
            for round in 0..50 {
                let child = group.create_task(async { io::Result::Ok(()) });
                assert_eq!(group.tasks(), [child.to_any()], "round {round}");
                child.await?;
                assert!(group.is_empty());
            }
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_cancel_in_the_turn_of_the_last_childs_end_is_handed_on() {
    // C1, C10: the group's wait is ended by it although no child is left.
    on_ring(async || {
        let (go, wait) = oneshot::channel::<()>();
        let group = create_task(async {
            let ended = TaskGroup::scope(async |group| {
                group.create_task(async move {
                    wait.await.unwrap();
                    io::Result::Ok(())
                });
                Ok(())
            });
            io::Result::Ok(ended.await?)
        });
        turns(3).await;
        go.send(()).unwrap();
        // The child runs before this task does, and its group after it.
        yield_now().await.unwrap();
        assert!(!group.done() && group.cancel());
        assert!(is_cancel(&group.await.unwrap_err()));
    });
}

#[test]
fn a_child_that_is_cancelled_disturbs_nobody() {
    // TG3: cancelled by somebody, or by itself.
    on_ring(async || {
        let value = TaskGroup::scope(async |group| {
            let one = group.create_task(child(Trace::default(), "one", 0));
            let two = group.create_task(async { Err::<(), _>(io::Error::from(CancelledError)) });
            let three = group.create_task(async {
                turns(4).await;
                Ok(3)
            });
            turns(1).await;
            one.cancel();
            let three = three.await?;
            assert!(one.cancelled() && two.cancelled());
            Ok(three)
        });
        assert_eq!(value.await.unwrap(), 3);
    });
}

#[test]
fn first_error_cancels_siblings_and_body_and_stops_at_the_edge() {
    // TG4, TG5, TG10: the count is as before.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let ended = TaskGroup::scope(async |group| {
            group.create_task(child(log.clone(), "sibling", 2));
            group.create_task(fails(1, "mine"));
            let waited = forever().await;
            log.add("body");
            Ok(waited?)
        });
        let group = group_of(ended.await);
        assert_eq!(group.to_string(), "unhandled errors in a TaskGroup (1): mine");
        assert_eq!(group.origins.len(), 1);
        assert_eq!(trace.take(), "body sibling");
        assert_eq!(me().cancelling(), 0);
        yield_now().await.expect("the cancel stopped at the edge");
    });
}

#[test]
fn siblings_are_cancelled_once() {
    // TG4: the second error comes while the sibling cleans up.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let ended = TaskGroup::scope(async |group| {
            group.create_task(async move {
                let ended = forever().await;
                turns(8).await; // a second cancel would hit here
                log.add(me().cancelling());
                Ok(ended?)
            });
            group.create_task(fails(1, "one"));
            group.create_task(async {
                let _ = forever().await;
                Err::<(), _>(io::Error::other("two"))
            });
            io::Result::Ok(())
        });
        assert_eq!(texts(ended.await), ["one", "two"]);
        assert_eq!(trace.take(), "1");
    });
}

#[test]
fn errors_come_in_completion_order_and_the_bodys_last() {
    // TG5, TG7: a body that makes an error of its cancel adds that.
    on_ring(async || {
        let ids: Rc<RefCell<Vec<u64>>> = Rc::default();
        let ended = TaskGroup::scope(async |group| {
            let slow = group.create_task(async {
                let _ = forever().await;
                turns(2).await;
                Err::<(), _>(io::Error::other("slow"))
            });
            let quick = group.create_task(fails(1, "quick"));
            ids.borrow_mut().extend([quick.id(), slow.id()]);
            let _ = forever().await;
            Err::<(), _>(io::Error::other("body"))
        });
        let group = group_of(ended.await);
        let order: Vec<String> = group.errors.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["quick", "slow", "body"]);
        let ids: Vec<Option<u64>> = ids.take().into_iter().map(Some).chain([None]).collect();
        assert_eq!(group.origins, ids);
        let (quick, rest) = group.split(|error| error.to_string() == "quick");
        assert_eq!((quick.unwrap().errors.len(), rest.unwrap().origins.len()), (1, 2));
    });
}

#[test]
fn errors_of_the_body_alone_are_wrapped_too() {
    // TG5: and the children are cancelled and waited for.
    on_ring(async || {
        let trace = Trace::default();
        let ended = TaskGroup::scope(async |group| {
            group.create_task(child(trace.clone(), "child", 2));
            turns(1).await;
            Err::<(), _>(io::Error::other("body"))
        });
        assert_eq!(texts(ended.await), ["body"]);
        assert_eq!(trace.take(), "child");
    });
}

#[test]
fn cancel_from_outside_goes_down_and_comes_out() {
    // TG6: while the body runs, and while only children are waited for.
    for body_waits in [true, false] {
        on_ring(async move || {
            let trace = Trace::default();
            let log = trace.clone();
            let task = create_task(async move {
                let ended = TaskGroup::scope(async |group| {
                    group.create_task(child(log.clone(), "child", 3));
                    if body_waits {
                        forever().await?;
                    }
                    io::Result::Ok(())
                });
                let Err(GroupError::Cancelled(cancelled)) = ended.await else { panic!("no cancel came out") };
                log.add("cancelled");
                Err::<(), _>(cancelled)
            });
            turns(3).await;
            task.cancel();
            until(|| task.done()).await;
            assert_eq!(trace.take(), "child cancelled");
            assert!(task.cancelled());
            assert_eq!(task.cancelling(), 1);
        });
    }
}

#[test]
fn errors_win_over_a_cancel_which_is_then_delivered_again() {
    // TG6: the next wait is hit, the count unchanged.
    for body_waits in [true, false] {
        on_ring(async move || {
            let task = create_task(async move {
                let ended = TaskGroup::scope(async |group| {
                    group.create_task(async {
                        let _ = forever().await;
                        Err::<(), _>(io::Error::other("in the clean-up"))
                    });
                    if body_waits {
                        forever().await?;
                    }
                    io::Result::Ok(())
                });
                let errors = texts(ended.await);
                let next = yield_now().await;
                let after = yield_now().await;
                io::Result::Ok((errors, next, after, me().cancelling()))
            });
            turns(3).await;
            task.cancel();
            let (errors, next, after, count) = task.await.unwrap();
            assert_eq!(errors, ["in the clean-up"]);
            assert_eq!((next, after, count), (Err(CancelledError), Ok(()), 1), "body waits: {body_waits}");
        });
    }
}

#[test]
fn more_cancels_do_not_abandon_slow_children() {
    // TG8
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            TaskGroup::scope(async |group| {
                group.create_task(child(log.clone(), "slow", 10));
                io::Result::Ok(())
            })
            .await
        });
        turns(3).await;
        for _ in 0..4 {
            task.cancel();
            turns(2).await;
            assert!(!task.done());
        }
        assert!(matches!(task.await, Err(GroupError::Cancelled(_))));
        assert_eq!(trace.take(), "slow");
    });
}

#[test]
fn panic_of_a_child_goes_on_in_the_parent_when_all_have_ended() {
    // TG9: other errors go to the handler.
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.runner();
        let log = trace.clone();
        runner.run(async {
            let ended = AssertUnwindSafe(TaskGroup::scope(async |group| {
                group.create_task(child(log.clone(), "sibling", 2));
                group.create_task(async {
                    let _ = forever().await;
                    Err::<(), _>(io::Error::other("lost"))
                });
                group.create_task(async {
                    turns(1).await;
                    if me().id() > 0 {
                        std::panic::panic_any("child");
                    }
                    io::Result::Ok(())
                });
                forever().await?;
                io::Result::Ok(())
            }));
            let payload = ended.catch_unwind().await.unwrap_err();
            assert_eq!(text_of(&*payload), "child");
            yield_now().await.unwrap();
        });
        runner.close();
        assert_eq!(trace.take(), "sibling");
        assert_eq!(reports.kinds(), [ReportKind::ErrorNeverRetrieved]);
    });
}

#[test]
fn panic_of_the_body_cancels_the_children() {
    // TG9: a panic goes on at once; the children end by themselves.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let ended = AssertUnwindSafe(TaskGroup::<io::Error>::scope(async |group| {
            group.create_task(child(log.clone(), "child", 0));
            turns(1).await;
            std::panic::panic_any("body");
        }));
        let ended = ended.catch_unwind().await.map(|ended: Result<(), _>| ended.is_ok());
        assert_eq!(text_of(&*ended.unwrap_err()), "body");
        turns(3).await;
        assert_eq!(trace.take(), "child");
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn destructor_of_a_child_that_panics_is_a_panic_of_the_child() {
    // TG9
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::panic_any("bomb");
            }
        }
    }
    on_ring(async || {
        let ended = AssertUnwindSafe(TaskGroup::scope(async |group| {
            let bomb = Bomb;
            let future = yield_now();
            // Goes with the body's captures, after its end.
            group.create_task(Bombed { future, _bomb: bomb });
            forever().await?;
            io::Result::Ok(())
        }));
        assert_eq!(text_of(&*ended.catch_unwind().await.unwrap_err()), "bomb");
        assert_eq!(all_tasks().len(), 1);
    });
    struct Bombed {
        future: ringio::YieldNow,
        _bomb: Bomb,
    }
    impl Future for Bombed {
        type Output = io::Result<()>;
        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.future).poll(cx).map_err(io::Error::from)
        }
    }
}

#[test]
fn inner_group_ends_before_the_outer_one_sees_its_cancel() {
    // TG10: groups of groups keep their shape; flaw 4 (gh-116720)
    on_ring(async || {
        let ended = TaskGroup::scope(async |outer| {
            outer.create_task(fails(2, "outer"));
            let inner = TaskGroup::scope(async |inner| {
                inner.create_task(async {
                    let _ = forever().await;
                    Err::<(), _>(io::Error::other("inner"))
                });
                forever().await?;
                io::Result::Ok(())
            });
            let inner = inner.await.unwrap_err();
            assert_eq!(inner.to_string(), "unhandled errors in a TaskGroup (1): inner");
            // The outer group's cancel was delivered inside; it comes again.
            yield_now().await.expect_err("delivered again");
            Err::<(), _>(inner.into())
        });
        let texts = texts(ended.await);
        assert_eq!(texts, ["outer", "unhandled errors in a TaskGroup (1): inner"]);
        assert_eq!(me().cancelling(), 0);
        yield_now().await.unwrap();
    });
}

#[test]
fn group_that_is_over_or_aborting_takes_no_more() {
    // TG11: and what it was given is dropped without a step.
    on_ring(async || {
        let trace = Trace::default();
        let place: RefCell<Option<TaskGroup<io::Error>>> = RefCell::default();
        let ended = TaskGroup::scope(async |group| {
            place.replace(Some(group.clone()));
            group.create_task(fails(0, "first"));
            let _ = forever().await;
            let log = trace.clone();
            let late = group.create_task(async move {
                log.add("ran");
                Ok(())
            });
            assert!(group.is_closed());
            assert_eq!(group.try_create_task(async { Ok(1) }).unwrap_err(), GroupClosedError);
            assert!(is_cancel(&late.await.unwrap_err()));
            Ok(())
        });
        assert_eq!(texts(ended.await), ["first"]);
        let group = place.take().unwrap();
        assert_eq!(group.try_create_task(async { Ok(1) }).unwrap_err(), GroupClosedError);
        let late = group.create_task(forever().map(|_| Ok(())));
        assert!(is_cancel(&late.await.unwrap_err()));
        group.cancel();
        assert_eq!((trace.take().as_str(), group.len()), ("", 0));
    });
}

#[test]
fn eager_child_that_fails_cancels_nobody_in_the_same_step() {
    // TG13, EG3: the creator goes on to its next wait.
    for eager in [false, true] {
        on_ring(async move || {
            let trace = Trace::default();
            let log = trace.clone();
            let ended = TaskGroup::scope(async |group| {
                let inner = group.clone();
                group.create_task(async move {
                    let third = Task::builder()
                        .eager(eager)
                        .spawn_in(&inner, async { Err::<(), _>(io::Error::other("third")) });
                    assert_eq!((third.done(), me().cancelling()), (eager, 0));
                    let ended = forever().await;
                    log.add("cancelled");
                    Ok(ended?)
                });
                io::Result::Ok(())
            });
            assert_eq!(texts(ended.await), ["third"]);
            assert_eq!(trace.take(), "cancelled");
        });
    }
}

#[test]
fn eager_child_may_cancel_its_own_group() {
    // EG4, flaw 5 (gh-155418): it is in the group before its first step.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let ended = TaskGroup::scope(async |group| {
            let inner = group.clone();
            Task::builder().eager(true).spawn_in(group, async move {
                inner.cancel();
                let ended = forever().await;
                log.add("cancelled");
                Ok(ended?)
            });
            forever().await?;
            io::Result::Ok(())
        });
        assert!(matches!(ended.await, Err(GroupError::Stopped)));
        assert_eq!(trace.take(), "cancelled");
    });
}

#[test]
fn settings_are_passed_on() {
    // TG14
    static COLOUR: ringio::ContextVar<u8> = ringio::ContextVar::new("colour");
    on_ring(async || {
        let context = ringio::Context::new();
        TaskGroup::scope(async |group| {
            let named = Task::builder().name("named").context(context.clone()).spawn_in(group, async {
                COLOUR.set(5);
                io::Result::Ok(me().name())
            });
            assert_eq!(&*named.await?, "named");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((context.get(&COLOUR), COLOUR.get()), (Some(5), None));
    });
}

#[test]
fn cancelled_group_ends_without_an_error() {
    // TG15: children and body are cancelled; again and after the end it does nothing.
    on_ring(async || {
        let trace = Trace::default();
        let ended = TaskGroup::scope(async |group| {
            group.create_task(child(trace.clone(), "child", 2));
            turns(1).await;
            group.cancel();
            group.cancel();
            let ended = forever().await;
            trace.add("body");
            io::Result::Ok(ended?)
        });
        ended.await.or_else(GroupError::allow_stop).unwrap();
        assert_eq!(trace.take(), "body child");
        assert_eq!(me().cancelling(), 0);
        yield_now().await.unwrap();
        // A body that has its value keeps it.
        let value = TaskGroup::scope(async |group| {
            group.create_task(forever().map(|ended| ended.map_err(io::Error::from)));
            group.cancel();
            io::Result::Ok(4)
        });
        assert_eq!(value.await.unwrap(), 4);
        // Errors are errors all the same.
        let ended = TaskGroup::scope(async |group| {
            group.create_task(async {
                let _ = forever().await;
                Err::<(), _>(io::Error::other("late"))
            });
            turns(1).await;
            group.cancel();
            io::Result::Ok(())
        });
        assert_eq!(texts(ended.await), ["late"]);
    });
}

#[test]
fn cancel_from_outside_beats_that_of_the_group() {
    // TG15, flaw 4 (gh-155433): in both orders, in one turn and while the children are waited for.
    for (outside_first, gap) in [(true, 0), (false, 0), (true, 1), (false, 1), (false, 4)] {
        on_ring(async move || {
            let place: Rc<RefCell<Option<TaskGroup<io::Error>>>> = Rc::default();
            let own = place.clone();
            let task = create_task(async move {
                let ended = TaskGroup::scope(async |group| {
                    own.replace(Some(group.clone()));
                    group.create_task(child(Trace::default(), "child", 8));
                    forever().await?;
                    io::Result::Ok(())
                });
                ended.await
            });
            turns(2).await;
            let group = place.take().unwrap();
            if outside_first {
                task.cancel();
                turns(gap).await;
                group.cancel();
            } else {
                group.cancel();
                turns(gap).await;
                task.cancel();
            }
            let ended = task.await;
            assert!(matches!(ended, Err(GroupError::Cancelled(_))), "{outside_first} {gap}: {ended:?}");
        });
    }
}

#[test]
fn timeout_around_a_group_is_not_eaten() {
    // TG15, TO9, flaw 4 (gh-155433)
    on_ring(async || {
        for group_too in [false, true] {
            let ended = timeout(Duration::from_millis(2), async |limit| {
                TaskGroup::scope(async |group| {
                    group.create_task(child(Trace::default(), "child", 1));
                    let ended = forever().await;
                    assert!(limit.expired());
                    if group_too {
                        group.cancel();
                    }
                    io::Result::Ok(ended?)
                })
                .await
                .map_err(io::Error::from)
            });
            assert_eq!(ended.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(me().cancelling(), 0);
            yield_now().await.unwrap();
        }
    });
}

#[test]
fn timeout_inside_a_group_is_its_own() {
    // TO9, C17
    on_ring(async || {
        let value = TaskGroup::scope(async |group| {
            group.create_task(child(Trace::default(), "child", 0));
            let ended = wait_for(forever().map(|ended| ended.map_err(io::Error::from)), Duration::from_millis(1)).await;
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
            group.cancel();
            io::Result::Ok(1)
        });
        assert_eq!(value.await.unwrap(), 1);
    });
}

#[test]
fn empty_group_does_not_suspend() {
    // TG17
    on_ring(async || {
        let value = TaskGroup::<io::Error>::scope(async |_| Ok(9)).now_or_never();
        assert_eq!(value.unwrap().unwrap(), 9);
        me().cancel();
        let value = TaskGroup::<io::Error>::scope(async |_| Ok(9)).await;
        assert_eq!(value.unwrap(), 9, "no wait, no cancel");
        assert_eq!(yield_now().await, Err(CancelledError));
    });
}

#[test]
fn dropped_scope_cancels_its_children() {
    // C15: they end by themselves.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let scope = TaskGroup::scope(async move |group| {
            group.create_task(child(log.clone(), "child", 1));
            forever().await?;
            io::Result::Ok(())
        });
        let mut scope = Box::pin(scope);
        assert!((&mut scope).now_or_never().is_none());
        turns(1).await;
        drop(scope);
        turns(4).await;
        assert_eq!(trace.take(), "child");
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn somebody_elses_future_in_the_body_is_dropped() {
    // C14: nothing of ours waits in the body.
    on_ring(async || {
        let (_sender, receiver) = oneshot::channel::<()>();
        let ended = TaskGroup::scope(async |group| {
            group.create_task(fails(1, "child"));
            receiver.await.map_err(io::Error::other)
        });
        assert_eq!(texts(ended.await), ["child"]);
    });
}

#[test]
fn group_polled_by_another_executor_hears_of_its_children() {
    // C13: a foreign waker between the task and the group.
    on_ring(async || {
        use futures::{StreamExt, stream::FuturesUnordered};
        let mut groups = FuturesUnordered::new();
        for index in 0..3 {
            groups.push(TaskGroup::scope(async move |group| {
                group.create_task(
                    async move { if index == 1 { fails(3, "one").await } else { turns(2).map(Ok).await } },
                );
                io::Result::Ok(())
            }));
        }
        let mut failed = 0;
        while let Some(ended) = wait_for(groups.next().map(io::Result::Ok), LONG).await.unwrap() {
            failed += usize::from(ended.is_err());
        }
        assert_eq!(failed, 1);
    });
}
