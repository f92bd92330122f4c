//! What crosses threads: items, calls on other threads, and calls from them.

mod blocking;
mod mailbox;
mod post;
mod primitives;
mod threadsafe;
mod to_thread;

pub use mailbox::{Mailbox, MailboxSender, MailboxStatistics};
pub use threadsafe::{
    LoopClosedError, LoopHandle, ThreadsafeError, ThreadsafeTask, ThreadsafeWait, run_coroutine_threadsafe,
};
pub use to_thread::{ToThread, to_thread, to_thread_uncancellable};
