//! `ringio-ps ps PID` and `ringio-ps pstree PID`: the tasks of a running program, what each waits for and who waits for it.
//!
//! The program answers by itself, where it was allowed to: `RINGIO_INSPECT=1`, or `Runner::builder().inspect(true)`.

mod ask;
mod table;
mod tasks;
mod tree;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tasks::Tasks;

/// Shows the tasks of a running ringio program that was started with RINGIO_INSPECT=1, or whose Runner was built with
/// .inspect(true).
#[derive(Parser)]
#[command(name = "ringio-ps", version)]
struct Arguments {
    #[command(subcommand)]
    view: View,
}

#[derive(Subcommand)]
enum View {
    /// A table of all pending tasks: a row for each task and each that awaits it.
    Ps(Target),
    /// A tree: below each task those that it awaits. Refused when tasks await each other in a circle.
    Pstree(Target),
}

#[derive(Args)]
struct Target {
    /// The process to look at.
    pid: u32,
    /// How often to try again when the program ends an answer half-way.
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,
}

fn main() -> ExitCode {
    let shown = match Arguments::parse().view {
        View::Ps(target) => tasks_of(&target).map(|tasks| table::table(&tasks)),
        View::Pstree(target) => tasks_of(&target).and_then(|tasks| tree::tree(&tasks)),
    };
    match shown {
        Ok(text) => print(&text),
        Err(complaint) => {
            eprintln!("ringio-ps: {complaint}");
            ExitCode::FAILURE
        }
    }
}

fn tasks_of(target: &Target) -> Result<Tasks, String> {
    ask::tasks_of(target.pid, target.retries)
}

/// A reader that has seen enough is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("ringio-ps: {error}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}
