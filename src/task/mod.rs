//! Tasks and the waits that every program uses.

mod handle;
mod outcome;
mod sleep;
mod spawn;
mod timeout;

pub use handle::{AnyTask, Task};
pub use sleep::{Sleep, YieldNow, sleep, sleep_until, yield_now};
pub use spawn::{TaskBuilder, all_tasks, create_task, current_task};
pub use timeout::{Timeout, timeout, timeout_at, wait_for};
