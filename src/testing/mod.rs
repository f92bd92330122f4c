//! Programs on virtual time, in a simulated kernel: for tests that take no time, never hang, and find what goes wrong
//! once in a thousand runs. With the feature `testing`, for `[dev-dependencies]`.
//!
//! [`run_virtual`] runs a program in a kind kernel: sleeping takes no time, and a program in which nothing can happen any
//! more panics with what everybody waits for, instead of hanging.
//!
//! [`Sim`] runs it in a hostile one: transfers are short, completions come late and in another order, cancels are not
//! heard, connections break. All of that is drawn from a seed, and the same seed does the same again. A server that takes
//! what one read brings for a whole line passes every friendly test, and not this one:
//!
//! ```
//! use std::io;
//! use ringio::{StreamReader, StreamWriter, testing::{Faults, Sim}};
//!
//! async fn shout(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
//!     let line = reader.read(1024).await?; // the bug: `readline()` was meant
//!     writer.write_owned(line.to_ascii_uppercase())
//! }
//!
//! fn answer(sim: Sim) -> String {
//!     let asked = sim.run(async {
//!         let server = ringio::start_server(shout, "127.0.0.1:0").await?;
//!         let (mut reader, mut writer) = ringio::open_connection(server.sockets()[0]).await?;
//!         writer.write(b"hello\n")?;
//!         io::Result::Ok(reader.readline().await?)
//!     });
//!     asked.map_or_else(|error| error.to_string(), |line| String::from_utf8_lossy(&line).into())
//! }
//!
//! assert_eq!(answer(Sim::new(1).faults(Faults::empty())), "HELLO\n");
//! let found = (0..100).find(|&seed| answer(Sim::new(seed)) != "HELLO\n");
//! println!("RINGIO_SEED={}", found.expect("a hundred worlds are enough"));
//! ```
//!
//! Child processes are scripts there: [`program`] says what each one does. [`raise`] sends the program signals.
//!
//! Beside that, the simulation watches the runtime itself: memory that is used while the kernel has it, operations that
//! never end and descriptors that are closed twice or never are panics of the run.

mod script;
mod sim;
#[cfg(test)]
mod tests;
mod time;

pub use crate::driver::sim::Faults;
pub use script::{Script, program};
pub use sim::{Report, Sim, run_virtual};
pub use time::{elapsed, now, pipe, raise, trace, turns};
