//! Contract 5: gather.

use std::{io, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use ringio::{CancelledError, ReportKind, Runner, all_tasks, create_task, gather, shield, sleep, timeout, yield_now};

use super::{Reports, Trace, cancel::me, forever, in_time, is_cancel, on_ring, panics, text_of, turns, until};

/// Ends after so many turns, with the number.
async fn after(count: usize) -> io::Result<usize> {
    turns(count).await;
    Ok(count)
}

async fn fails(count: usize) -> io::Result<usize> {
    turns(count).await;
    Err(io::Error::other(format!("after {count}")))
}

#[test]
fn values_come_in_the_order_of_the_arguments() {
    // GA1
    on_ring(async || {
        assert_eq!(gather([after(5), after(1), after(3)]).await.unwrap(), [5, 1, 3]);
        let (number, text) = gather!(after(2), async { io::Result::Ok("text") }).await.unwrap();
        assert_eq!((number, text), (2, "text"));
        let tasks = [create_task(after(3)), create_task(after(1))];
        let ids = tasks.each_ref().map(ringio::Task::id);
        let gathered = gather(tasks);
        assert_eq!(all_tasks().len(), 3, "tasks are not wrapped in tasks");
        assert_eq!(gathered.await.unwrap(), [3, 1]);
        assert!(ids[0] < ids[1]);
    });
}

#[test]
fn tasks_start_in_the_order_of_the_arguments() {
    // GA1, S1
    on_ring(async || {
        let trace = Trace::default();
        let logged = |name: &'static str| {
            let log = trace.clone();
            async move {
                log.add(name);
                io::Result::Ok(())
            }
        };
        gather([logged("a"), logged("b"), logged("c")]).await.unwrap();
        assert_eq!(trace.take(), "a b c");
    });
}

#[test]
fn gathering_nothing_gives_nothing_at_once() {
    // GA1
    on_ring(async || {
        let nothing: [std::future::Ready<io::Result<u8>>; 0] = [];
        assert_eq!(gather(nothing).now_or_never().unwrap().unwrap(), [0_u8; 0]);
    });
}

#[test]
fn first_error_comes_out_at_once_and_the_others_run_on() {
    // GA2: their errors count as retrieved.
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let log = trace.clone();
        let mut runner = reports.runner();
        runner.run(async {
            let slow = async move {
                turns(6).await;
                log.add("ran on");
                io::Result::Ok(0)
            };
            let error = gather!(slow, fails(3), fails(1)).await.unwrap_err();
            assert_eq!(error.to_string(), "after 1");
            assert_eq!(trace.take(), "");
            turns(8).await;
            assert_eq!(trace.take(), "ran on");
        });
        runner.close();
        assert_eq!(reports.kinds(), []);
    });
}

#[test]
fn a_child_that_is_cancelled_is_an_error_like_others() {
    // GA2: the gather itself is not cancelled.
    on_ring(async || {
        let task = create_task(forever().map(|ended| ended.map_err(io::Error::from).map(|()| 0)));
        let any = task.to_any();
        let other = create_task(after(9));
        let still = other.to_any();
        let gathered = gather([task, other]);
        turns(1).await;
        any.cancel();
        assert!(is_cancel(&gathered.await.unwrap_err()));
        assert!(!still.done());
        assert_eq!(me().cancelling(), 0);
        yield_now().await.unwrap();
    });
}

#[test]
fn errors_are_values_when_asked_for() {
    // GA3
    on_ring(async || {
        let cancelled = create_task(forever().map(|ended| ended.map_err(io::Error::from).map(|()| 0)));
        let any = cancelled.to_any();
        let gathered = gather([create_task(fails(2)), cancelled, create_task(after(4))]).return_exceptions();
        turns(1).await;
        any.cancel();
        let results = gathered.await.unwrap();
        assert_eq!(results[0].as_ref().unwrap_err().to_string(), "after 2");
        assert!(is_cancel(results[1].as_ref().unwrap_err()));
        assert_eq!(*results[2].as_ref().unwrap(), 4);
        let (one, two) = gather!(after(1), fails(1)).return_exceptions().await.unwrap();
        assert!(one.is_ok() && two.is_err());
    });
}

#[test]
fn cancel_is_handed_down_and_all_are_waited_for() {
    // GA4, D6, flaw 10: no orphan.
    for exceptions in [false, true] {
        on_ring(async move || {
            let trace = Trace::default();
            let log = trace.clone();
            let outer = create_task(async move {
                let slow = |name: &'static str, count: usize| {
                    let log = log.clone();
                    async move {
                        let ended = forever().await;
                        turns(count).await;
                        log.add(name);
                        io::Result::Ok(ended?)
                    }
                };
                let gathered = gather([slow("quick", 0), slow("slow", 5)]);
                if exceptions {
                    return gathered.return_exceptions().await.map(|_| ()).map_err(io::Error::from);
                }
                gathered.await.map(|_| ())
            });
            turns(3).await;
            outer.cancel();
            let any = outer.to_any();
            assert!(is_cancel(&outer.await.unwrap_err()));
            assert!(any.cancelled());
            assert_eq!(trace.take(), "quick slow");
        });
    }
}

#[test]
fn error_in_the_clean_up_wins_over_the_cancel() {
    // GA4: as for a task that is awaited (C12).
    on_ring(async || {
        let outer = create_task(async {
            let bad = async {
                let _ = forever().await;
                Err::<(), _>(io::Error::other("clean-up"))
            };
            let good = async { io::Result::Ok(forever().await?) };
            gather!(good, bad).await
        });
        turns(3).await;
        outer.cancel();
        assert_eq!(outer.await.unwrap_err().to_string(), "clean-up");
    });
}

#[test]
fn cancel_after_the_last_child_leaves_the_values() {
    // GA5: the cancel is left for the next wait.
    on_ring(async || {
        let (send, receive) = futures::channel::oneshot::channel();
        let outer = create_task(async move {
            let last = async move { io::Result::Ok(receive.await.unwrap()) };
            let values = gather([last]).await.unwrap();
            io::Result::Ok((values, yield_now().await))
        });
        turns(3).await;
        send.send(7).unwrap();
        turns(1).await; // the child has ended; who gathers is woken and runs after us
        outer.cancel();
        assert_eq!(outer.await.unwrap(), (vec![7], Err(CancelledError)));
    });
}

#[test]
fn cancel_on_error_waits_for_the_others() {
    // GA7
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let slow = async move {
            let ended = forever().await;
            turns(3).await;
            log.add("cleaned");
            io::Result::Ok(ended.map(|()| 0)?)
        };
        let error = gather!(slow, fails(2)).cancel_on_error().await.unwrap_err();
        assert_eq!(error.to_string(), "after 2");
        assert_eq!(trace.take(), "cleaned");
        assert_eq!(all_tasks().len(), 1);
        assert_eq!(gather([after(1), after(2)]).cancel_on_error().await.unwrap(), [1, 2]);
    });
}

#[test]
fn panic_of_a_child_goes_on_in_whoever_gathers() {
    // E1
    on_ring(async || {
        for exceptions in [false, true] {
            let bad = async {
                panics("child").await;
                Ok(0)
            };
            let gathered = gather!(after(1), bad);
            let payload = match exceptions {
                true => AssertUnwindSafe(gathered.return_exceptions()).catch_unwind().await.map(|_| ()).unwrap_err(),
                false => AssertUnwindSafe(gathered).catch_unwind().await.map(|_| ()).unwrap_err(),
            };
            assert_eq!(text_of(&*payload), "child");
        }
    });
}

#[test]
fn gather_that_nobody_awaits_lets_its_tasks_run() {
    // GA2: and their errors are reported.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            drop(gather([fails(2)]));
            turns(4).await;
        });
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::ErrorNeverRetrieved]);
    });
}

#[test]
fn gather_of_shields_and_shield_of_gather() {
    // SH3
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let outer = create_task(async move {
            let inner = async move {
                turns(6).await;
                log.add("inner");
                io::Result::Ok(())
            };
            gather([shield(inner)]).await
        });
        turns(3).await;
        outer.cancel();
        assert!(is_cancel(&outer.await.unwrap_err()));
        assert_eq!(trace.take(), "");
        turns(8).await;
        assert_eq!(trace.take(), "inner");
        assert_eq!(shield(async { gather([after(1), after(2)]).await }).await.unwrap(), [1, 2]);
    });
}

#[test]
fn gather_under_a_timeout_ends_with_it() {
    // C17: the children are cancelled by the timeout's scope, through whoever gathers.
    on_ring(async || {
        let limited = timeout(Duration::from_millis(2), async |_| {
            gather([forever(), sleep(Duration::from_secs(7200))]).await.map_err(io::Error::from)
        });
        assert_eq!(limited.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn ten_thousand_children_that_end_one_by_one_are_no_trouble() {
    // Would take minutes if each end were looked for among all.
    on_ring(async || {
        let count = 10_000_usize;
        let sum: usize = gather((0..count).map(|index| after(index % 64))).await.unwrap().iter().sum();
        assert_eq!(sum, (0..count).map(|index| index % 64).sum());
        let (mut sends, receives): (Vec<_>, Vec<_>) = (0..count).map(|_| futures::channel::oneshot::channel()).unzip();
        let all = gather(receives.into_iter().map(|receive| async { receive.await.map_err(io::Error::other) }));
        let feed = create_task(async move {
            for send in sends.drain(..) {
                send.send(1_usize).unwrap();
                yield_now().await?;
            }
            Ok::<_, CancelledError>(())
        });
        assert_eq!(all.await.unwrap().len(), count);
        until(|| feed.done()).await;
    });
}

#[test]
fn tasks_of_two_runtimes_may_be_gathered() {
    // GA6, S6: those of another thread are refused by the compiler; those of two Runners used in turn on one thread are
    // not refused at all, because each ends at home and is told of where it is awaited.
    in_time(|| {
        let mut one = Runner::new().unwrap();
        let mut other = Runner::new().unwrap();
        let (away, cancelled) = one.run(async { (create_task(after(2)), create_task(forever())) });
        let waiting = other.run(async {
            let gathered = create_task(gather([away, create_task(after(1))]));
            turns(5).await;
            assert!(!gathered.done(), "a task ran in a runtime that it does not belong to");
            let ended = create_task(gather([cancelled, create_task(forever())]));
            turns(2).await;
            ended.cancel();
            turns(5).await;
            assert!(!ended.done(), "GA7: all are waited for");
            (gathered, ended)
        });
        one.run(turns(8));
        let (gathered, ended) = other.run(async {
            let (gathered, ended) = waiting;
            (gathered.await, ended.await)
        });
        assert_eq!(gathered.unwrap(), [2, 1]);
        assert_eq!(ended, Err(CancelledError));
    });
}
