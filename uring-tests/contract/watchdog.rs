//! A loop that a task does not give back says so all the same (DB2): the watchdog, on its own thread.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use ringio::{CancelledError, ErrorReport, LoopHandle, ReportKind, Runner, Task, create_task, sleep, to_thread};

use super::{in_time, turns};

const LIMIT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

type Told = (ReportKind, String);

/// A runner with a watchdog, and what that says.
fn watched() -> (Runner, Receiver<Told>) {
    let (say, said) = channel();
    let handler = move |report: &ErrorReport| drop(say.send((report.kind, report.to_string())));
    let builder = Runner::builder().watchdog(LIMIT).watchdog_handler(handler).error_handler(|_| ());
    (builder.build().unwrap(), said)
}

fn in_named_thread(name: &'static str, body: impl FnOnce() + Send + 'static) {
    in_time(move || {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
        thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    });
}

/// The next thing that is said of that task: on a busy machine other steps may take long, too.
fn next_of(said: &Receiver<Told>, text: &str) -> Told {
    loop {
        let told = said.recv_timeout(PATIENCE).expect("nothing is said");
        if told.1.contains(text) {
            return told;
        }
    }
}

#[test]
fn step_that_does_not_end_is_reported_while_it_lasts_and_once() {
    in_named_thread("has-a-name", || {
        let (mut runner, said) = watched();
        let line = line!() + 2;
        let said = runner.run(async move {
            let task = Task::builder().name("blocks").spawn(async move {
                let (kind, text) = next_of(&said, "blocks"); // it has not returned yet
                assert_eq!(kind, ReportKind::Stuck);
                assert!(text.starts_with(&format!("ringio: blocks (spawned at {}:{line}:", file!())), "{text}");
                assert!(text.contains(" (has-a-name) ") && text.contains("has not come back (it "), "{text}");
                // Nothing else runs meanwhile that could be reported, and this is no more.
                assert_eq!(said.recv_timeout(10 * LIMIT), Err(RecvTimeoutError::Timeout));
                Ok::<_, CancelledError>(said)
            });
            let said = task.await.unwrap();
            to_thread(move || {
                let (kind, text) = next_of(&said, "blocks");
                assert_eq!(kind, ReportKind::Resumed);
                let (_, took) = text.split_once("after ").unwrap();
                // As it stood there for eleven times the limit.
                assert!(took.starts_with(|digit| matches!(digit, '1'..='9')), "{text}");
                said
            })
            .await
            .unwrap()
        });
        runner.close();
        let left: Vec<Told> = said.iter().filter(|told| told.1.contains("blocks")).collect();
        assert_eq!(left, []);
    });
}

/// Keeps a thread for much longer than the limit.
fn wait() {
    let (_quiet, nothing) = channel::<()>();
    let _ = nothing.recv_timeout(15 * LIMIT);
}

#[test]
fn loop_with_nothing_to_do_is_not_reported() {
    in_time(|| {
        let said = Arc::new(Mutex::new(Vec::new()));
        let own = said.clone();
        let handler = move |report: &ErrorReport| own.lock().unwrap().push(report.kind);
        let mut runner = Runner::builder().watchdog(LIMIT).watchdog_handler(handler).build().unwrap();
        let balance = move |wanted: usize| {
            let said = said.lock().unwrap();
            let count = |kind: ReportKind| said.iter().filter(|told| **told == kind).count();
            // A step that the machine held up has ended: whatever is not resumed is the idle loop.
            assert_eq!(count(ReportKind::Stuck), count(ReportKind::Resumed), "{said:?}");
            assert!(count(ReportKind::Stuck) >= wanted);
        };
        runner.run(async {
            sleep(2 * LIMIT).await.unwrap();
            let balance = balance.clone();
            to_thread(move || (wait(), balance(0))).await.unwrap();
        });
        // Nor between two runs.
        wait();
        balance(0);
        runner.run(async {
            create_task(async {
                wait();
                Ok::<_, CancelledError>(())
            })
            .await
            .unwrap();
            to_thread(move || (wait(), balance(1))).await.unwrap();
        });
    });
}

#[test]
fn the_thread_ends_with_the_runtime() {
    in_time(|| {
        let (mut runner, said) = watched();
        runner.run(turns(3));
        runner.close();
        // What it would say this with is gone.
        while said.try_recv().is_ok() {}
        assert_eq!(said.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
        let (runner, said) = watched();
        drop(runner);
        assert_eq!(said.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    });
}

fn panics() -> Result<(), CancelledError> {
    std::panic::panic_any("on purpose")
}

#[test]
fn step_that_ends_with_a_panic_has_ended() {
    in_time(|| {
        let (mut runner, said) = watched();
        let said = Arc::new(Mutex::new(said));
        let own = said.clone();
        runner.run(async move {
            let task = Task::builder().name("panics").spawn(async move {
                assert_eq!(next_of(&own.lock().unwrap(), "panics").0, ReportKind::Stuck);
                panics()
            });
            task.wait_done().await.unwrap();
        });
        let said = Arc::into_inner(said).unwrap().into_inner().unwrap_or_else(|poison| poison.into_inner());
        assert_eq!(next_of(&said, "panics").0, ReportKind::Resumed);
    });
}

#[test]
fn calls_of_other_threads_and_handlers_that_panic() {
    in_time(|| {
        let (say, said) = channel();
        let handler = move |report: &ErrorReport| {
            let _ = say.send((report.kind, report.to_string()));
            if report.task.is_none() {
                std::panic::panic_any("on purpose: the report is printed");
            }
        };
        let mut runner = Runner::builder().watchdog(LIMIT).watchdog_handler(handler).build().unwrap();
        runner.run(async move {
            let handle = LoopHandle::current().unwrap();
            let (done, is_done) = futures::channel::oneshot::channel();
            let call = move || {
                let (kind, text) = next_of(&said, "a call of another thread's");
                assert_eq!(kind, ReportKind::Stuck);
                assert!(text.starts_with("ringio: thread "), "{text}");
                let _ = done.send(said);
            };
            handle.call_soon(call).unwrap();
            let said = is_done.await.unwrap();
            let (kind, _) = to_thread(move || next_of(&said, "a call of another thread's")).await.unwrap();
            assert_eq!(kind, ReportKind::Resumed);
        });
    });
}
