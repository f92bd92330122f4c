//! Contract 2: run and Runner.

use std::{
    cell::Cell,
    future::{Ready, ready},
    io,
    pin::Pin,
    rc::Rc,
};

use ringio::{
    CancelledError, Context, LoopHandle, ReportKind, Runner, create_subprocess_exec, create_task, current_task,
    open_connection, sleep, start_server, testing, yield_now,
};

use super::{Reports, Trace, forever, in_time, panic_text, turns};

#[test]
fn run_returns_what_main_returns_whatever_it_is() {
    // RUN1, RUN11: neither Debug nor 'static nor an outcome is asked for.
    in_time(|| {
        struct Plain<'a>(&'a str);
        let text = String::from("borrowed");
        let plain = ringio::run(async {
            yield_now().await.unwrap();
            Plain(&text)
        });
        assert_eq!(plain.0, "borrowed");
        let failed: io::Result<()> = ringio::run(async { Err(io::Error::other("mine")) });
        assert_eq!(failed.unwrap_err().to_string(), "mine");
        assert_eq!(ringio::run(async { 1 }), 1);
    });
}

#[test]
fn panic_of_main_comes_out_of_run() {
    // RUN1: and the loop is closed; another one starts.
    in_time(|| {
        let trace = Trace::default();
        let log = trace.clone();
        let text = panic_text(|| {
            ringio::run(async {
                create_task(async move {
                    let _ = forever().await;
                    log.add("cleaned");
                });
                turns(1).await;
                panic!("main gives up");
            })
        });
        assert_eq!((text.as_str(), trace.take().as_str()), ("main gives up", "cleaned"));
        ringio::run(turns(1));
    });
}

#[test]
fn run_inside_run_is_refused() {
    // RUN2: the refused future is just dropped, and the outer loop goes on.
    in_time(|| {
        ringio::run(async {
            let text = panic_text(|| ringio::run(async { unreachable!() }));
            assert!(text.contains("already runs on this thread") && text.contains("await"), "{text}");
            turns(2).await;
        });
    });
}

#[test]
fn runner_run_inside_run_is_refused() {
    // RUN2
    in_time(|| {
        let mut inner = Runner::new().unwrap();
        ringio::run(async {
            let text = panic_text(|| inner.run(async { unreachable!() }));
            assert!(text.contains("already runs on this thread"), "{text}");
            turns(2).await;
        });
        inner.run(turns(2));
    });
}

#[test]
fn a_runner_may_be_made_and_used_on_another_thread_meanwhile() {
    // RUN2: only this thread is taken.
    in_time(|| {
        ringio::run(async {
            let other = std::thread::spawn(|| ringio::run(async { 5 }));
            turns(1).await;
            assert_eq!(other.join().unwrap(), 5);
        });
    });
}

#[test]
fn close_is_idempotent_and_a_closed_runner_says_so() {
    // RUN4
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        assert!(runner.driver_report().is_some());
        runner.close();
        runner.close();
        assert!(runner.driver_report().is_none());
        let text = panic_text(|| runner.run(async {}));
        assert!(text.contains("closed"), "{text}");
        drop(runner);
        Runner::new().unwrap().close();
    });
}

#[test]
fn runs_of_one_runner_share_their_tasks() {
    // RUN5: a task goes on in the next run; between two it rests.
    in_time(|| {
        let steps = Rc::new(Cell::new(0));
        let mut runner = Runner::new().unwrap();
        let counted = steps.clone();
        let (task,) = runner.run(async {
            let task = create_task(async move {
                while counted.get() < 6 {
                    counted.set(counted.get() + 1);
                    yield_now().await?;
                }
                Ok::<_, CancelledError>("done")
            });
            turns(3).await;
            (task,)
        });
        let seen = steps.get();
        assert!((3..=4).contains(&seen), "{seen} steps");
        assert_eq!(runner.run(task), Ok("done"));
        assert_eq!(steps.get(), 6);
    });
}

#[test]
fn timer_that_is_due_between_two_runs_fires_in_the_next() {
    // RUN5
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let delay = std::time::Duration::from_millis(2);
        let (task,) = runner.run(async {
            let task = create_task(sleep(delay));
            turns(1).await;
            (task,)
        });
        super::busy_until(std::time::Instant::now() + delay);
        assert_eq!(runner.run(task), Ok(()));
    });
}

#[test]
fn wake_between_two_runs_is_kept_for_the_next() {
    // RUN5
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let (send, receive) = futures::channel::oneshot::channel();
        let (task,) = runner.run(async {
            let task = create_task(async move { Ok::<i32, CancelledError>(receive.await.unwrap()) });
            turns(1).await;
            (task,)
        });
        send.send(8).unwrap();
        assert_eq!(runner.run(task), Ok(8));
    });
}

#[test]
fn stream_closed_between_two_runs_is_closed_in_the_next() {
    // RUN5
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let ((_reader, mut writer), (mut far_reader, far)) = runner.run(super::pairs::streams(64));
        writer.write(b"last words").unwrap();
        writer.close();
        runner.run(async {
            assert_eq!(far_reader.readexactly(10).await.unwrap(), "last words");
            assert_eq!(far_reader.read(1).await.unwrap(), "");
            drop((far_reader, far));
            writer.wait_closed().await.unwrap();
        });
    });
}

#[test]
fn main_of_each_run_is_a_task_of_its_own() {
    // RUN1, T3
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let one = runner.run(async { current_task().unwrap() });
        let two = runner.run(async { current_task().unwrap() });
        assert!(one != two && one.id() != two.id() && one.done());
        assert!(current_task().is_none() && ringio::all_tasks().is_empty());
    });
}

#[test]
fn main_may_cancel_itself_and_uncancel() {
    // RUN9: a main that hands its cancel on ends with it.
    in_time(|| {
        let ended = ringio::run(async {
            current_task().unwrap().cancel();
            yield_now().await
        });
        assert_eq!(ended, Err(CancelledError));
    });
}

#[test]
fn driver_report_says_what_is_used_and_why() {
    // design 3: the choice and its reason can be read.
    in_time(|| {
        let outside = ringio::driver_report().unwrap();
        let inside = ringio::run(async { ringio::driver_report().unwrap() });
        for report in [outside, inside] {
            assert_eq!(report.driver, "io_uring");
            assert!(["base", "multi", "full"].contains(&report.profile));
            assert!(!report.kernel.is_empty() && !report.reason.is_empty() && !report.flags.is_empty());
            assert!(report.queues.0.is_power_of_two() && report.queues.1 >= report.queues.0);
            let text = report.to_string();
            for word in ["io_uring", report.profile, report.kernel.as_str(), report.reason.as_str(), report.flags[0]] {
                assert!(text.contains(word), "{word} is missing in {text}");
            }
            assert!(report.operations.iter().any(|(name, route)| !name.is_empty() && !route.is_empty()));
        }
    });
}

#[test]
fn profile_and_queue_sizes_are_what_was_asked_for() {
    in_time(|| {
        let mut runner = Runner::builder().profile("base").queue_sizes(8, 64).build().unwrap();
        let report = runner.driver_report().unwrap();
        assert_eq!((report.profile, report.queues), ("base", (8, 64)));
        runner.run(turns(2));
        let text = panic_text(|| drop(Runner::builder().profile("fancy")));
        assert!(text.contains("fancy") && text.contains("base, multi or full"), "{text}");
    });
}

#[test]
fn finalizers_run_after_the_tasks_the_last_one_first() {
    // RUN7 (d): also when main failed; they may wait, and make tasks.
    in_time(|| {
        let trace = Trace::default();
        let log = trace.clone();
        let failed: io::Result<()> = ringio::run(async {
            for name in ["first", "second"] {
                let log = log.clone();
                ringio::at_close(async move {
                    turns(2).await;
                    let task = create_task(async { Ok::<_, CancelledError>(yield_now().await) });
                    assert_eq!(task.await, Ok(Ok(())), "not cancelled");
                    log.add(name);
                });
            }
            let log = log.clone();
            create_task(async move {
                let _ = forever().await;
                log.add("task");
            });
            turns(1).await;
            Err(io::Error::other("main"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "main");
        assert_eq!(trace.take(), "task second first");
    });
}

#[test]
fn finalizer_that_does_not_end_or_panics_harms_nobody() {
    // RUN7 (d), RUN8
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.builder().shutdown_timeout(std::time::Duration::from_millis(5)).build().unwrap();
        let log = trace.clone();
        runner.run(async move {
            ringio::at_close(async move { log.add("last") });
            ringio::at_close(super::stubborn());
            ringio::at_close(super::panics("finalizer"));
        });
        runner.close();
        assert_eq!(trace.take(), "last");
        assert_eq!(reports.kinds(), [ReportKind::PanicNeverRetrieved, ReportKind::TaskAbandoned]);
    });
}

#[test]
fn whatever_can_be_awaited_may_be_main() {
    // RUN6: a future, boxed or not, a task, and what becomes a future when it is awaited. What is neither is refused by the
    // compiler: `ui/what_is_no_future_is_not_run.rs`.
    struct Inside;
    impl IntoFuture for Inside {
        type Output = bool;
        type IntoFuture = Ready<bool>;

        fn into_future(self) -> Ready<bool> {
            ready(LoopHandle::current().is_some())
        }
    }
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        assert_eq!(runner.run(ready(1)), 1);
        let boxed: Pin<Box<dyn Future<Output = i32>>> = Box::pin(async { 2 });
        assert_eq!(runner.run(boxed), 2);
        let (task,) = runner.run(async { (create_task(async { Ok::<_, CancelledError>(3) }),) });
        assert_eq!(runner.run(task), Ok(3));
        assert!(runner.run(Inside), "it becomes a future inside the runtime");
        let server = runner.run(start_server(async |_, _| {}, "127.0.0.1:0")).unwrap();
        let connection = runner.run(open_connection(super::pairs::address(&server))).unwrap();
        drop(runner.run_in(&Context::new(), open_connection(super::pairs::address(&server))).unwrap());
        drop(connection);
        runner.close();
        assert!(ringio::run(Inside));
        assert!(ringio::run(sleep(std::time::Duration::ZERO)).is_ok());
        assert!(ringio::run(create_subprocess_exec("true")).is_ok());
        assert!(testing::run_virtual(Inside));
    });
}
