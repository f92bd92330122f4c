//! One task: one allocation with its header, its body and later its result.
//!
//! - W1 Everything but the atomics is touched on the home thread only.
//! - W2 `local` counts references on the home thread (registry, run queue, handles, waiters). `shared` counts wakers, plus
//!   one for all local references together. With the last local reference the body or result is dropped, at home;
//!   with the last shared one the memory is freed, anywhere.
//! - W3 `home` is valid while `local` is not zero, because the runtime is; the first waker makes the task hold its own
//!   reference to it, which goes with the memory.
//! - W4 A task is in the inbox at most once: whoever sets `remote_queued` pushes it, with a shared reference.
//! - W5 The body is polled, and dropped, by the one turn that runs on the home thread; never while it is polled.

mod core;
mod lists;
mod raw;
mod spares;
mod state;
#[cfg(test)]
mod tests;
mod waker;

pub(super) use self::core::Birth;
pub(crate) use self::core::{Callback, Core, Waiter};
pub(super) use lists::{Ready, Registry};
pub(crate) use raw::{Finish, Outcome, TaskRef, Typed};
pub(super) use raw::{Header, release_from_inbox};
pub(super) use spares::Spares;
pub(crate) use state::Ending;
