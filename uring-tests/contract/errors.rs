//! Contract 1.3: an error that nobody saw goes to one handler, once.

use std::{cell::Cell, io, rc::Rc};

use ringio::{CancelledError, InvalidStateError, ReportKind, Runner, create_task};

use super::{Reports, in_time, turns, until};

async fn fails() -> io::Result<()> {
    Err(io::Error::other("lost"))
}

/// What is reported when `main` deals with the handle of a task that fails.
fn reported(main: impl AsyncFnOnce(ringio::Task<(), io::Error>) + Send + 'static) -> Vec<ReportKind> {
    in_time(move || {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let task = create_task(fails());
            task.set_name("the-one-that-fails");
            main(task).await;
        });
        runner.close();
        let texts = reports.texts();
        assert!(
            texts.iter().all(|text| text.contains("the-one-that-fails") && text.contains("errors.rs")),
            "{texts:?}"
        );
        reports.kinds()
    })
}

#[test]
fn error_is_reported_when_the_handle_goes_after_the_end() {
    // E2
    let kinds = reported(async |task| {
        until(|| task.done()).await;
        drop(task);
        turns(2).await;
    });
    assert_eq!(kinds, [ReportKind::ErrorNeverRetrieved]); // DB6
}

#[test]
fn error_is_reported_when_the_task_ends_after_its_handle_went() {
    // E2
    let kinds = reported(async |task| {
        drop(task);
        turns(3).await;
    });
    assert_eq!(kinds, [ReportKind::ErrorNeverRetrieved]);
}

#[test]
fn error_that_was_awaited_is_not_reported() {
    // E2
    assert_eq!(reported(async |task| assert_eq!(task.await.unwrap_err().to_string(), "lost")), []);
}

#[test]
fn error_that_was_looked_at_is_not_reported() {
    // E2: result() is retrieval.
    let kinds = reported(async |task| {
        assert_eq!(task.with_result(Result::is_err), Err(InvalidStateError::NotDone));
        until(|| task.done()).await;
        assert_eq!(task.with_result(Result::is_err), Ok(true));
    });
    assert_eq!(kinds, []);
}

#[test]
fn cancel_of_a_failed_task_silences_its_error() {
    // E2 (tk::test_tb_logger_not_called_after_cancel)
    let kinds = reported(async |task| {
        until(|| task.done()).await;
        assert!(!task.cancel());
    });
    assert_eq!(kinds, []);
}

#[test]
fn cancelled_task_is_no_error() {
    // E2: neither a cancel handed on nor a value is reported.
    let kinds = reported(async |task| {
        let _ = task.await;
        let cancelled = create_task(super::forever());
        turns(1).await;
        cancelled.cancel();
        drop(cancelled);
        drop(create_task(async { Ok::<_, CancelledError>(1) }));
        turns(3).await;
    });
    assert_eq!(kinds, []);
}

#[test]
fn handle_dropped_between_runs_still_reports() {
    // E2: no loop runs when the handle goes.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let (task,) = runner.run(async {
            let task = create_task(fails());
            turns(2).await;
            (task,)
        });
        drop(task);
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::ErrorNeverRetrieved]);
    });
}

#[test]
fn handle_that_outlives_its_runner_is_harmless() {
    // E2: there is nobody left to tell.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let (task,) = runner.run(async {
            let task = create_task(fails());
            turns(2).await;
            (task,)
        });
        drop(runner);
        assert!(task.done() && !task.cancel());
        assert_eq!(task.with_result(Result::is_err), Ok(true));
        drop(task);
    });
}

#[test]
fn handler_that_panics_is_replaced_for_that_report() {
    // E3: the loop goes on, the handler is called again for the next one, and never for its own panic.
    in_time(|| {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let handler = move |_: &ringio::ErrorReport| {
            counted.set(counted.get() + 1);
            panic!("the handler fails");
        };
        let mut runner = Runner::builder().error_handler(handler).build().unwrap();
        runner.run(async {
            for expected in 1..=2 {
                drop(create_task(fails()));
                turns(3).await;
                assert_eq!(calls.get(), expected);
            }
        });
    });
}

#[test]
fn handler_may_make_tasks() {
    // E3: it is called where nothing of ours is borrowed.
    in_time(|| {
        let ran = Rc::new(Cell::new(false));
        let flag = ran.clone();
        let handler = move |_: &ringio::ErrorReport| {
            let flag = flag.clone();
            assert_eq!(ringio::all_tasks().len(), 1, "the task that failed has ended");
            create_task(async move { flag.set(true) });
        };
        let mut runner = Runner::builder().error_handler(handler).build().unwrap();
        runner.run(async {
            drop(create_task(fails()));
            until(|| ran.get()).await;
        });
    });
}

#[test]
fn report_names_the_task_and_its_place() {
    // E3
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            drop(create_task(fails()));
            turns(3).await;
        });
        let text = reports.texts().concat();
        assert!(text.starts_with("ringio: Task-") && text.contains("error that nobody looked at"), "{text}");
    });
}
