//! Programs on virtual time, in a simulated kernel: for tests that take no time, never hang, and find what goes wrong
//! once in a thousand runs. With the feature `testing`, for `[dev-dependencies]`.
//!
//! [`run_virtual`] runs a program in a kind kernel: sleeping takes no time, and a program in which nothing can happen any
//! more panics with what everybody waits for, instead of hanging.
//!
//! [`Sim`] runs it in a hostile one: transfers are short, completions come late and in another order, cancels are not
//! heard, connections break. All of that is drawn from a seed, and the same seed does the same again.

mod sim;
mod time;

pub use crate::driver::sim::Faults;
pub use sim::{Report, Sim, run_virtual};
pub use time::{elapsed, now, pipe, trace, turns};
