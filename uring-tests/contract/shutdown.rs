//! Contract 2: the end of a runtime (RUN7, RUN8).

use std::{cell::Cell, io, rc::Rc, time::Duration};

use ringio::{CancelledError, ReportKind, all_tasks, create_task, current_task};

use super::{Dropped, Reports, Trace, forever, in_time, stubborn, turns};

#[test]
fn close_cancels_every_task_and_waits_for_its_clean_up() {
    // RUN7 (a), (b): also those that never started.
    in_time(|| {
        let trace = Trace::default();
        let log = trace.clone();
        let value = ringio::run(async {
            for name in ["one", "two"] {
                let log = log.clone();
                create_task(async move {
                    let ended = forever().await;
                    turns(3).await;
                    log.add(name);
                    ended
                });
            }
            turns(1).await;
            let log = log.clone();
            create_task(async move {
                log.add("late");
                forever().await
            });
            7
        });
        assert_eq!(value, 7);
        assert_eq!(trace.take(), "late one two");
    });
}

#[test]
fn cancel_of_a_close_is_counted_like_any_other() {
    // RUN7 (a), C1
    in_time(|| {
        let seen = Rc::new(Cell::new(None));
        let place = seen.clone();
        ringio::run(async {
            create_task(async move {
                let ended = forever().await;
                place.set(Some((ended, current_task().unwrap().cancelling())));
            });
            turns(1).await;
        });
        assert_eq!(seen.get(), Some((Err(CancelledError), 1)));
    });
}

#[test]
fn errors_during_a_close_are_reported_once_each() {
    // RUN7 (c)
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            for name in ["first", "second"] {
                let body = async {
                    let _ = forever().await;
                    Err::<(), _>(io::Error::other("in the clean-up"))
                };
                drop(ringio::Task::builder().name(name).spawn(body));
            }
            create_task(async {
                let ended = forever().await;
                assert!(ended.is_ok(), "in the clean-up too");
            });
            turns(1).await;
        });
        assert_eq!(reports.kinds(), []);
        runner.close();
        let mut kinds = reports.kinds();
        kinds.sort_by_key(|kind| *kind == ReportKind::PanicNeverRetrieved);
        let error = ReportKind::ErrorNeverRetrieved;
        assert_eq!(kinds, [error, error, ReportKind::PanicNeverRetrieved]);
        assert!(reports.texts().concat().contains("first") && reports.texts().concat().contains("second"));
    });
}

#[test]
fn tasks_made_during_a_close_are_cancelled() {
    // RUN8
    in_time(|| {
        let trace = Trace::default();
        let log = trace.clone();
        ringio::run(async {
            create_task(async move {
                let _ = forever().await;
                let inner = log.clone();
                create_task(async move {
                    let ended = forever().await;
                    inner.add(if ended.is_err() { "cancelled" } else { "ran" });
                });
            });
            turns(1).await;
        });
        assert_eq!(trace.take(), "cancelled");
    });
}

#[test]
fn tasks_that_breed_during_a_close_do_not_hold_it_up() {
    // RUN8: each new one is cancelled, makes another, and the time is up some day.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(Duration::from_millis(30)).build().unwrap();
        fn breed() {
            create_task(async {
                let _ = forever().await;
                breed();
            });
        }
        runner.run(async {
            breed();
            turns(1).await;
        });
        runner.close();
        assert!(reports.kinds().iter().all(|kind| *kind == ReportKind::TaskAbandoned), "{:?}", reports.texts());
    });
}

#[test]
fn task_that_swallows_every_cancel_is_dropped_and_named() {
    // RUN8: cancelled again in rounds, then dropped and reported; the others ended well.
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.builder().shutdown_timeout(Duration::from_millis(600)).build().unwrap();
        let cancels = Rc::new(Cell::new(0));
        let (counted, log) = (cancels.clone(), trace.clone());
        runner.run(async {
            let stubborn = async move {
                let _dropped = Dropped(log, "dropped");
                loop {
                    if forever().await.is_err() {
                        counted.set(counted.get() + 1);
                    }
                }
            };
            let spawned = ringio::Task::builder().name("stubborn").spawn(async move {
                stubborn.await;
                Ok::<(), CancelledError>(())
            });
            drop(spawned);
            create_task(forever());
            turns(1).await;
        });
        assert_eq!(trace.take(), "");
        runner.close();
        assert_eq!(trace.take(), "dropped");
        assert!(cancels.get() >= 2, "cancelled {} times", cancels.get());
        assert_eq!(reports.kinds(), [ReportKind::TaskAbandoned]);
        let text = reports.texts().concat();
        assert!(text.contains("stubborn") && text.contains("shutdown.rs") && text.contains("did not end"), "{text}");
    });
}

#[test]
fn zero_shutdown_timeout_drops_at_once() {
    // RUN8
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(Duration::ZERO).build().unwrap();
        runner.run(async {
            create_task(stubborn());
            turns(1).await;
        });
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::TaskAbandoned]);
    });
}

#[test]
fn without_a_shutdown_timeout_clean_up_takes_as_long_as_it_takes() {
    // RUN8: None waits for ever.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(None).build().unwrap();
        let trace = Trace::default();
        let log = trace.clone();
        runner.run(async {
            create_task(async move {
                let _ = forever().await;
                turns(500).await;
                log.add("end");
            });
            turns(1).await;
        });
        runner.close();
        assert_eq!((trace.take().as_str(), reports.kinds().len()), ("end", 0));
    });
}

#[test]
fn body_that_is_dropped_in_a_close_may_use_the_api() {
    // RUN8, C15: its destructors make a task, ask who runs, cancel a sibling. What they made is dropped too.
    struct Busy(Trace);
    impl Drop for Busy {
        fn drop(&mut self) {
            assert!(current_task().is_none());
            let log = self.0.clone();
            let made = create_task(async move {
                let _dropped = Dropped(log, "made");
                forever().await
            });
            made.cancel();
            for task in all_tasks() {
                task.cancel();
            }
            self.0.add("busy");
        }
    }
    in_time(|| {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.builder().shutdown_timeout(Duration::ZERO).build().unwrap();
        let log = trace.clone();
        runner.run(async {
            create_task(async move {
                let _busy = Busy(log);
                stubborn().await;
            });
            turns(1).await;
        });
        runner.close();
        assert_eq!(trace.take(), "busy");
        assert_eq!(Rc::strong_count(&trace.0), 1, "what it captured was never dropped");
    });
}

#[test]
fn operations_and_streams_end_with_their_runtime() {
    // RUN7, L10: what is still in the kernel's hands is ended; the handles stay usable as values.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let (streams, listener) = runner.run(async {
            let listener = ringio::TcpListener::bind("127.0.0.1:0").unwrap();
            let accepting = listener.clone();
            create_task(async move { accepting.accept().await.map(drop) });
            let ((mut reader, writer), far) = super::pairs::streams(64).await;
            create_task(async move {
                let _ = reader.read(1).await;
            });
            turns(2).await;
            ((writer, far), listener)
        });
        runner.close();
        assert_eq!(reports.texts(), [""; 0]);
        let ((mut writer, (reader, far)), address) = (streams, listener.local_addr());
        drop((address, listener));
        let _ = writer.write(b"nobody sends this");
        writer.close();
        drop((writer, reader, far));
    });
}
