//! Child processes: what to start, starting it beside the loop, and what can be done to one that runs. Their streams are
//! `streams/subprocess.rs`.

mod child;
mod command;
mod spawn;

pub(crate) use child::Handle;
pub(crate) use command::Parts;
pub use command::{CreateSubprocess, Stdio, create_subprocess_exec, create_subprocess_shell};
