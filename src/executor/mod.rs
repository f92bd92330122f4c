//! Runs tasks: one loop, one thread, one turn after the other (`turn.rs`). Not here: what tasks can do (`task/`).

mod cell;
pub(crate) mod context;
mod inbox;
mod inspect;
mod leaf;
mod report;
mod runner;
mod runtime;
#[cfg(feature = "testing")]
mod simulated;
mod timers;
mod turn;

pub(crate) use cell::{Ending, Finish, Outcome, TaskRef, Typed, Waiter};
pub(crate) use leaf::{Leaf, poll_wait, wait};
pub use report::{ErrorReport, ReportKind};
pub use runner::{Runner, RunnerBuilder, driver_report, run};
pub(crate) use runtime::{Runtime, Seed, report_unseen};
pub(crate) use timers::{Alarm, TimerKey};
