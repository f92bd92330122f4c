//! Locks, events, barriers and queues for the tasks of one thread. Is it fair? See `wait_list.rs`.

mod barrier;
mod condition;
mod event;
mod lock;
mod order;
mod ordered;
mod permits;
mod queue;
mod semaphore;
mod taking;
#[cfg(test)]
mod tests;
mod wait_list;

pub use barrier::{Barrier, BarrierStatistics};
pub use condition::{Condition, ConditionGuard, ConditionStatistics};
pub use event::{Event, EventStatistics};
pub use lock::{Lock, LockGuard, LockStatistics, Mutex, MutexGuard};
pub use ordered::{LifoQueue, PriorityQueue};
pub use queue::{Items, Queue, QueueSender, QueueStatistics};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore, SemaphoreStatistics};
