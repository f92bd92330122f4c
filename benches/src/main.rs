//! The harness of ringio: what does it cost, beside the kernel's own floor and its peers, in one run?
//!
//! ```text
//! ringio-bench compare echo|micro|idle|stream|lines|churn|slow|copies|subprocess|loss [--quick] [--json FILE] [--servers a,b] [--cells C50:64:1] [--rounds N]
//! ringio-bench load --addr 127.0.0.1:7000 --connections 50 --size 64 --pipeline 1 --duration 5
//! ```
//! Guards: the budgets of the project's performance notes. `compare` says how; `raw` is the floor, `peers` the others.

mod cells;
mod child;
mod children;
mod compare;
mod load;
mod loss;
mod micro;
mod peers;
mod placement;
mod raw;
mod report;
mod serve;
mod servers;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    cells::Cell,
    placement::Cpus,
    serve::{Fifo, Role},
};

#[global_allocator]
static ALLOCATOR: micro::allocations::Counting = micro::allocations::Counting;

#[derive(Parser)]
#[command(about = "ringio beside the kernel's floor and its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run servers side by side, interleaved, and print medians and ratios.
    Compare {
        what: compare::What,
        #[command(flatten)]
        options: compare::Options,
    },
    /// Load any TCP echo server, verifying every byte.
    Load {
        #[arg(long)]
        addr: SocketAddr,
        #[arg(long, default_value_t = 50)]
        connections: usize,
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Messages in flight per connection.
        #[arg(long, default_value_t = 1)]
        pipeline: usize,
        /// Seconds.
        #[arg(long, default_value_t = 5.0)]
        duration: f64,
        /// Pin the generator to this CPU.
        #[arg(long)]
        cpu: Option<usize>,
    },
    /// One server, until standard input closes.
    #[command(hide = true)]
    Serve {
        server: String,
        #[arg(long, default_value = "echo")]
        role: Role,
        #[arg(long)]
        cpu: Option<usize>,
        #[arg(long, default_value = "off")]
        fifo: Fifo,
    },
    /// The children of one runtime, one JSON line a figure.
    #[command(hide = true)]
    Children {
        runtime: String,
        #[arg(long, default_value_t = 0)]
        resident_mib: usize,
        #[arg(long)]
        quick: bool,
    },
    /// The micro benchmarks of one runtime, one JSON line each.
    #[command(hide = true)]
    Measure {
        runtime: String,
        #[arg(long)]
        cpu: Option<usize>,
        #[arg(long)]
        load_cpu: Option<usize>,
        #[arg(long, default_value = "off")]
        fifo: Fifo,
        #[arg(long, value_delimiter = ',')]
        rows: Vec<String>,
    },
    /// One row of the comparison of losses on one runtime, one JSON line for each figure.
    #[command(hide = true)]
    Lose {
        runtime: String,
        row: String,
        #[arg(long, default_value_t = 100)]
        runs: usize,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare { what, options } => compare::run(what, &options),
        Command::Load { addr, connections, size, pipeline, duration, cpu } => {
            let cell = Cell { connections, size, pipeline };
            run_load(addr, cell, Duration::from_secs_f64(duration), cpu)
        }
        Command::Serve { server, role, cpu, fifo } => servers::find(&server).and_then(|server| {
            serve::run(server, role, cpu, fifo).map_err(|error| format!("{}: {error}", server.name))
        }),
        Command::Children { runtime, resident_mib, quick } => children::measure(&runtime, resident_mib, quick),
        Command::Measure { runtime, cpu, load_cpu, fifo, rows } => Cpus::choose(cpu, load_cpu)
            .map_err(|error| error.to_string())
            .and_then(|cpus| micro::measure(&runtime, cpus, fifo, &rows)),
        Command::Lose { runtime, row, runs } => loss::lose(&runtime, &row, runs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringio-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_load(address: SocketAddr, cell: Cell, duration: Duration, cpu: Option<usize>) -> Result<(), String> {
    if cell.connections == 0 || cell.size == 0 || cell.pipeline == 0 {
        return Err("--connections, --size and --pipeline start at 1".to_owned());
    }
    placement::raise_descriptor_limit()
        .and_then(|_limit| cpu.map_or(Ok(()), placement::pin))
        .and_then(|()| load::report(address, cell, duration))
        .map_err(|error| error.to_string())
}
