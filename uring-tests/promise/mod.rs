//! What ringio promises whatever happens to the future, the peer, the runtime or the process: a file per way of breaking.

mod accepting;
mod children;
mod hardship;
mod numbers;
mod pool;
mod queues;
mod reading;
mod scopes;
mod sending;
mod soak;
mod stages;
mod teardown;

pub(crate) use stages::turns;
