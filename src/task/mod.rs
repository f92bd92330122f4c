//! Tasks and the waits that every program uses.

mod as_completed;
mod context;
mod gather;
mod graph;
mod group;
mod handle;
mod outcome;
mod several;
mod shield;
mod sleep;
mod spawn;
mod start;
mod timeout;
mod wait;

pub use as_completed::{AsCompleted, Completions, NextCompleted, as_completed};
pub use context::{Context, ContextVar, Token};
pub use gather::{Batch, Gather, GatherResults, Gathering, Tasks, gather};
pub use graph::{CallGraph, Frame, FrameLimits, capture_call_graph, dump_tasks, format_call_graph, print_call_graph};
pub use group::{GroupClosedError, TaskGroup};
pub use handle::{AnyTask, CallbackId, Task};
pub use several::WaitDone;
pub use shield::{Cancellable, Shield, cancellable, shield, shielded};
pub use sleep::{Sleep, SleepError, YieldNow, sleep, sleep_secs, sleep_until, sleep_with, yield_now};
pub use spawn::{TaskBuilder, all_tasks, create_task, current_task};
pub use start::{StartError, Starting, TaskStatus};
pub use timeout::{Timeout, test_in_time, timeout, timeout_at, wait_for};
pub use wait::{AsTask, ReturnWhen, Wait, Waited, wait};
