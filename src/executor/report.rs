//! What nobody was there to see: one handler per runtime gets it.

use std::{fmt, panic::Location, rc::Rc};

#[cfg_attr(feature = "tracing", path = "sink/tracing.rs")]
#[cfg_attr(not(feature = "tracing"), path = "sink/stderr.rs")]
mod sink;

/// Something went wrong and no caller was left to be told. Given to the runtime's error handler
/// ([`RunnerBuilder::error_handler`](crate::RunnerBuilder::error_handler)), which prints it by default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What happened.
    pub kind: ReportKind,
    /// The task's name, where it was a task.
    pub task: Option<Rc<str>>,
    /// Where the task was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// More, in words.
    pub message: String,
}

/// What an [`ErrorReport`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReportKind {
    /// A task ended with an error that nobody looked at.
    ErrorNeverRetrieved,
    /// A task panicked and nobody awaited it.
    PanicNeverRetrieved,
    /// A task did not end in time when its runtime was closed, and was dropped.
    TaskAbandoned,
    /// The kernel did not give back in time what was lent to operations; the memory is leaked.
    OperationsLeaked,
    /// A done callback, or a call that another thread asked for, panicked.
    PanicInCallback,
    /// A destructor panicked while something was dropped by the runtime.
    PanicInDrop,
    /// Threads of the pool did not end in time; they are left alone.
    ThreadsAbandoned,
    /// No thread could be made for a call that blocks; it was made on the loop's own.
    NoThread,
    /// In debug mode: one step of a task held the loop up.
    SlowStep,
    /// One step of a task held the loop up for so long that all tasks are listed
    /// ([`RunnerBuilder::dump_on_stall`](crate::RunnerBuilder::dump_on_stall)).
    Stall,
    /// One step of a task has held the loop up for long, and has not ended: told while it lasts, by
    /// [`RunnerBuilder::watchdog`](crate::RunnerBuilder::watchdog).
    Stuck,
    /// A step of which that was told has ended.
    Resumed,
    /// In debug mode: a wait was made and never awaited.
    NeverAwaited,
    /// In debug mode: no wait has seen a cancel for a while.
    CancelUndelivered,
    /// In debug mode: a task goes on long after its cancel was delivered.
    CancelSwallowed,
    /// In debug mode: a [`StreamWriter`](crate::StreamWriter) was dropped without a close.
    NeverClosed,
    /// A listener had to pause because descriptors or memory ran out.
    AcceptPaused,
    /// A peer of a server did not agree on encryption.
    HandshakeFailed,
    /// A [`Process`](crate::Process) was dropped while its child ran, which was killed.
    ChildKilled,
    /// Somebody else took a child's status, and the kernel does not tell it any more.
    ChildStatusLost,
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ringio: ")?;
        if let Some(task) = &self.task {
            write!(f, "{task}")?;
        }
        if let Some(place) = self.spawned_at {
            write!(f, " (spawned at {place})")?;
        }
        if self.task.is_some() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// The handler of a runtime.
pub(super) type Handler = Rc<dyn Fn(&ErrorReport)>;

/// E3: the default handler.
pub(super) fn print(report: &ErrorReport) {
    sink::write(report);
}
