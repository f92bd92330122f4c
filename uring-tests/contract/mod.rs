//! The contract, rule by rule: a file for each of its sections. The name of a rule stands in a comment where it is pinned.
//!
//! Order comes from turns ([`turns`]), traces ([`Trace`]) and channels, never from time. Nothing may hang: what runs on a
//! ring runs under [`in_time`].

mod as_completed;
mod barrier;
mod cancel;
pub(crate) mod chance;
mod child;
mod clients;
mod communicate;
mod condition;
mod connect;
mod context;
mod datagrams;
mod debug;
mod eager;
mod errors;
mod event;
mod examples;
mod flaws;
mod forget;
mod fuzzed;
mod gather;
mod group;
mod hostile;
mod hyper;
mod inspection;
mod io_stream;
mod leaf;
mod lock;
mod mailbox;
mod misuse;
mod pairs;
mod panics;
mod pipes;

mod process;
mod programs;
mod queue;
mod reader;
mod rows;
mod runner;
mod scheduling;
mod semaphore;
mod sendfile;
mod server;
mod shield;
mod shutdown;
mod signals;
mod spawning;
mod start;
mod streams;
mod subprocess_examples;
mod table;
mod task;
mod threads;
mod threadsafe;
mod timeout;
mod tls;
mod trees;
mod unix;
mod wait;
mod wait_for;
mod waits;
mod wakes;
mod watchdog;
mod writer;

use std::{
    cell::RefCell,
    fmt::Display,
    io,
    panic::resume_unwind,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ringio::{ErrorReport, ReportKind, Runner, RunnerBuilder, StreamReader, StreamWriter};

/// Longer than any test takes on a loaded machine; reaching it is a hang.
const HANG: Duration = Duration::from_secs(30);

/// Calls `body` on a thread of its own and fails if it does not end.
pub(crate) fn in_time<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        body()
    });
    if ended.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("still running after {HANG:?}");
    }
    thread.join().unwrap_or_else(|payload| resume_unwind(payload))
}

/// Runs `main` in a runtime of its own.
pub(crate) fn on_ring<R: Send + 'static>(main: impl AsyncFnOnce() -> R + Send + 'static) -> R {
    in_time(move || ringio::run(main()))
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(crate) fn add(&self, event: impl Display) {
        self.0.borrow_mut().push(event.to_string());
    }

    /// All since the last call, separated by blanks.
    pub(crate) fn take(&self) -> String {
        self.0.take().join(" ")
    }
}

/// Everything that was reported to one runtime's error handler.
#[derive(Clone, Default)]
pub(crate) struct Reports(Rc<RefCell<Vec<ErrorReport>>>);

impl Reports {
    pub(crate) fn builder(&self) -> RunnerBuilder {
        let reports = self.0.clone();
        Runner::builder().error_handler(move |report| reports.borrow_mut().push(report.clone()))
    }

    pub(crate) fn runner(&self) -> Runner {
        self.builder().build().unwrap()
    }

    pub(crate) fn kinds(&self) -> Vec<ReportKind> {
        self.0.borrow().iter().map(|report| report.kind).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.borrow().iter().map(ToString::to_string).collect()
    }
}

/// Says in a trace that it was dropped.
pub(crate) struct Dropped(pub(crate) Trace, pub(crate) &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// A wait that only a cancel ends.
pub(crate) fn forever() -> ringio::Sleep {
    ringio::sleep(Duration::from_secs(3600))
}

/// Panics in its first step.
pub(crate) async fn panics(text: &'static str) {
    std::panic::panic_any(text)
}

/// Swallows every cancel.
pub(crate) async fn stubborn() {
    loop {
        let _ = forever().await;
    }
}

/// Lets `count` turns pass.
pub(crate) async fn turns(count: usize) {
    for _ in 0..count {
        ringio::yield_now().await.unwrap();
    }
}

/// Lets turns pass until `done` says so.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        ringio::yield_now().await.unwrap();
    }
}

/// Keeps this thread busy until `deadline`, without a system call that waits.
pub(crate) fn busy_until(deadline: Instant) {
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
}

/// Whether an error is a cancel.
pub(crate) fn is_cancel(error: &io::Error) -> bool {
    ringio::cancelled(error).is_some()
}

/// The text of a panic.
#[track_caller]
pub(crate) fn panic_text(call: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).expect_err("it did not panic");
    text_of(&*payload)
}

pub(crate) fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}

/// One connection's four halves: here (reader, writer) and there (reader, writer).
pub(crate) type Connection = ((StreamReader, StreamWriter), (StreamReader, StreamWriter));
