//! What crosses threads: calls on other threads, and calls from them.

mod threadsafe;
mod to_thread;

pub use threadsafe::{
    LoopClosedError, LoopHandle, ThreadsafeError, ThreadsafeTask, ThreadsafeWait, run_coroutine_threadsafe,
};
pub use to_thread::{ToThread, to_thread, to_thread_uncancellable};
