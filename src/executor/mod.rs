//! Runs tasks: one loop, one thread, one turn after the other (`turn.rs`). Not here: what tasks can do (`task/`).

mod arrivals;
mod cell;
pub(crate) mod context;
mod debug;
mod edges;
mod inbox;
mod inspect;
mod leaf;
mod mailbox;
mod pool;
mod primitives;
mod report;
mod runner;
mod runtime;
mod shares;
#[cfg(feature = "testing")]
mod simulated;
mod snapshot;
mod stack;
mod timers;
mod turn;
mod vars;
mod watchdog;

pub(crate) use arrivals::{Arrivals, DEADLINE};
pub(crate) use cell::{Callback, Ending, Finish, Outcome, TaskRef, Typed, Waiter};
pub use debug::{is_debug, set_debug};
pub(crate) use edges::{Call, Family, Known, Note, Parts, Standing, look_here_too};
pub(crate) use leaf::{Leaf, poll_wait, wait};
pub(crate) use mailbox::Mailbox;
pub(crate) use pool::{Refused, Ticket};
pub use report::{ErrorReport, ReportKind};
pub use runner::{Runner, RunnerBuilder, at_close, driver_report, run};
pub(crate) use runtime::{Runtime, Seed, call_back, report_unseen};
pub use snapshot::{TaskSnapshot, TaskState};
pub(crate) use timers::{Alarm, TimerKey};
pub(crate) use vars::{Vars, current_vars, own_vars};
