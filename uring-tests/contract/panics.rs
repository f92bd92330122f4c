//! Contract 1.3, E1: a panic stays with its task, wherever it happens.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use ringio::{CancelledError, ReportKind, Task, as_completed, create_task, gather, yield_now};

use super::{Dropped, Reports, Trace, forever, in_time, panic_text, panics, stubborn, text_of, turns, until};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(self.0)
    }
}

/// What is reported while `main` runs, and while its runtime closes; a bystander has to survive `main`.
fn reported(timeout: Duration, main: impl AsyncFnOnce() + Send + 'static) -> Vec<ReportKind> {
    in_time(move || {
        let (reports, trace) = (Reports::default(), Trace::default());
        let mut runner = reports.builder().shutdown_timeout(timeout).build().unwrap();
        let log = trace.clone();
        runner.run(async {
            create_task(async move {
                let ended = forever().await;
                log.add("bystander");
                ended
            });
            main().await;
            turns(2).await;
        });
        assert_eq!(trace.take(), "");
        runner.close();
        assert_eq!(trace.take(), if timeout.is_zero() { "" } else { "bystander" });
        reports.kinds().into_iter().filter(|kind| *kind != ReportKind::TaskAbandoned).collect()
    })
}

const PATIENT: Duration = Duration::from_secs(5);

#[test]
fn in_a_step() {
    let kinds = reported(PATIENT, async || {
        drop(create_task(panics("step")));
        turns(2).await;
    });
    assert_eq!(kinds, [ReportKind::PanicNeverRetrieved]);
}

#[test]
fn in_a_destructor_during_a_step() {
    let kinds = reported(PATIENT, async || {
        let task = create_task(async {
            turns(1).await;
            drop(Bomb("local"));
        });
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert_eq!(text_of(&*payload), "local");
    });
    assert_eq!(kinds, []);
}

#[test]
fn in_a_destructor_of_a_body_that_has_returned() {
    // The body goes before anybody sees the result: the panic is the task's own.
    struct Returns(Bomb);
    impl Future for Returns {
        type Output = Result<i32, CancelledError>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            assert_eq!(self.0.0, "body");
            Poll::Ready(Ok(1))
        }
    }
    let kinds = reported(PATIENT, async || {
        let task = create_task(Returns(Bomb("body")));
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert_eq!(text_of(&*payload), "body");
        drop(create_task(Returns(Bomb("body"))));
        turns(2).await;
    });
    assert_eq!(kinds, [ReportKind::PanicNeverRetrieved]);
}

#[test]
fn in_a_destructor_while_another_panic_unwinds_the_step() {
    // A second panic while a first one unwinds aborts the process, as everywhere in Rust; one in what is dropped after
    // that does not: the body of a task that has panicked.
    struct Holds(Bomb);
    impl Future for Holds {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            assert_eq!(self.0.0, "second");
            std::panic::panic_any("first")
        }
    }
    let kinds = reported(PATIENT, async || {
        let task = create_task(Holds(Bomb("second")));
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert_eq!(text_of(&*payload), "first");
    });
    assert_eq!(kinds, []);
}

#[test]
fn in_a_destructor_of_a_result_that_nobody_wants() {
    // The handle is gone, so the runtime drops the result: the loop lives, and it is reported once.
    let kinds = reported(PATIENT, async || {
        drop(create_task(async { Ok::<_, CancelledError>(Bomb("result")) }));
        let trace = Trace::default();
        let log = trace.clone();
        create_task(async move { log.add("next") });
        turns(3).await;
        assert_eq!(trace.take(), "next", "the tasks behind it in the turn were not run");
    });
    assert_eq!(kinds, [ReportKind::PanicInDrop]);
}

#[test]
fn in_a_destructor_of_a_result_whose_handle_is_dropped() {
    // It comes out where the handle is dropped, as for any value.
    let kinds = reported(PATIENT, async || {
        let task = create_task(async { Ok::<_, CancelledError>(Bomb("result")) });
        until(|| task.done()).await;
        assert_eq!(panic_text(|| drop(task)), "result");
        turns(2).await;
    });
    assert_eq!(kinds, []);
}

#[test]
fn in_a_destructor_of_an_error_that_nobody_wants() {
    struct Failure(Option<Bomb>);
    impl From<CancelledError> for Failure {
        fn from(_: CancelledError) -> Failure {
            Failure(None)
        }
    }
    impl ringio::TaskError for Failure {
        fn as_cancelled(&self) -> Option<&CancelledError> {
            self.0.is_none().then_some(&CancelledError)
        }
    }
    let kinds = reported(PATIENT, async || {
        drop(create_task(async { Err::<(), _>(Failure(Some(Bomb("error")))) }));
        turns(3).await;
    });
    assert!(kinds.contains(&ReportKind::ErrorNeverRetrieved), "{kinds:?}");
}

#[test]
fn in_a_destructor_of_a_body_dropped_by_the_close() {
    let kinds = reported(Duration::ZERO, async || {
        create_task(async {
            let _bomb = Bomb("abandoned");
            stubborn().await;
        });
        turns(1).await;
    });
    assert_eq!(kinds, [ReportKind::PanicInDrop]);
}

#[test]
fn in_a_destructor_of_main_while_run_unwinds() {
    // Main panics, and what the close drops panics too: the first payload comes out, nothing aborts.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(Duration::ZERO).build().unwrap();
        let text = panic_text(|| {
            runner.run(async {
                create_task(async {
                    let _bomb = Bomb("abandoned");
                    stubborn().await;
                });
                turns(1).await;
                panic!("main");
            })
        });
        assert_eq!(text, "main");
        runner.close();
        assert!(reports.kinds().contains(&ReportKind::PanicInDrop));
    });
}

#[test]
fn in_a_destructor_while_the_thread_unwinds_through_the_runner() {
    // The Runner is dropped by the unwinding: a panic inside its close must not be a second one.
    in_time(|| {
        let text = panic_text(|| {
            let mut runner = Reports::default().builder().shutdown_timeout(Duration::ZERO).build().unwrap();
            runner.run(async {
                create_task(async {
                    let _bomb = Bomb("abandoned");
                    stubborn().await;
                });
                turns(1).await;
            });
            panic!("the caller");
        });
        assert_eq!(text, "the caller");
    });
}

#[test]
fn in_the_handler_of_a_connection() {
    // SV3: the connection is closed, the server goes on.
    let kinds = reported(PATIENT, async || {
        let server = ringio::start_server(
            async |mut reader: ringio::StreamReader, mut writer: ringio::StreamWriter| {
                let line = reader.readline().await?;
                assert_ne!(line, "bad\n", "the handler fails");
                writer.write(&line)
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        for (line, answer) in [("bad\n", ""), ("good\n", "good\n")] {
            let (mut reader, mut writer) = ringio::open_connection(server.sockets()[0]).await.unwrap();
            writer.write(line.as_bytes()).unwrap();
            assert_eq!(reader.readline().await.unwrap(), answer);
        }
        server.close();
        server.wait_closed().await.unwrap();
    });
    assert_eq!(kinds, [ReportKind::PanicNeverRetrieved]);
}

#[test]
fn in_one_wait_of_a_join_ends_the_others_with_it() {
    let kinds = reported(PATIENT, async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            let beside = async {
                let _dropped = Dropped(log, "beside");
                let _ = forever().await;
            };
            futures::join!(beside, async {
                turns(1).await;
                panics("one").await;
            });
        });
        let payload = AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
        assert_eq!((text_of(&*payload).as_str(), trace.take().as_str()), ("one", "beside"));
    });
    assert_eq!(kinds, []);
}

#[test]
fn in_a_timeout_leaves_its_scope() {
    // The scope that was current before comes back: a cancel of the old one, still to be delivered, is nobody's.
    let kinds = reported(PATIENT, async || {
        let task = create_task(async {
            let limited = ringio::timeout(Duration::ZERO, async |limit| {
                // Woken by the expiry, which no wait of ours is there to see.
                poll_fn(|_| if limit.expired() { Poll::Ready(()) } else { Poll::Pending }).await;
                panics("inside").await;
                std::io::Result::Ok(())
            });
            let payload = AssertUnwindSafe(limited).catch_unwind().await.unwrap_err();
            turns(3).await;
            Ok::<_, CancelledError>(text_of(&*payload))
        });
        assert_eq!(task.await.unwrap(), "inside");
    });
    assert_eq!(kinds, []);
}

#[test]
fn in_a_child_that_somebody_waits_for_with_others() {
    // E1: in a step, and in the destructor of a body that has returned. It goes on in who waits, at once; the others run on.
    for in_destructor in [false, true] {
        let kinds = reported(PATIENT, async move || {
            let child = move |number: u32| async move {
                yield_now().await?;
                if number == 1 && in_destructor {
                    let _bomb = Bomb("in a destructor");
                    return Ok(number);
                }
                if number == 1 {
                    std::panic::panic_any("in a step");
                }
                forever().await?;
                Ok::<_, CancelledError>(number)
            };
            let gathers = create_task(gather((0..3).map(child)));
            let all = gathers.to_any();
            turns(6).await;
            assert!(all.done(), "in a destructor: {in_destructor}");
            panic_of(gathers).await;
            let mut completed = as_completed((0..3).map(child));
            let first = completed.next().await.expect("three").unwrap();
            panic_of(first).await;
            completed.cancel_rest();
        });
        assert_eq!(kinds, [], "who awaits a panic has seen it; in a destructor: {in_destructor}");
    }
}

/// The task ends with a panic, which goes on here.
async fn panic_of<T, E: ringio::TaskError>(mut task: Task<T, E>) {
    let awaited = AssertUnwindSafe(&mut task).catch_unwind().await;
    assert!(awaited.is_err(), "it did not panic");
}
