//! ringio beside the floor and its peers, interleaved, in one placement. What is common to all comparisons.

pub(crate) mod churn;
pub(crate) mod copies;
pub(crate) mod echo;
pub(crate) mod idle;
pub(crate) mod lines;
pub(crate) mod loss;
pub(crate) mod micro;
pub(crate) mod slow;
pub(crate) mod stream;
pub(crate) mod subprocess;
mod summary;

use std::{io, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    cells::Cell,
    child::{Child, Usage},
    placement::{self, Cpus, Crossing, Placement, Prober, steady},
    report::Json,
    serve::{Fifo, isolate},
    servers::{self, Server},
};

/// The length of a slice; the placement is looked at between two.
const SLICE: Duration = Duration::from_millis(100);
/// A run has a figure for a placement if it was in it for so many slices.
const SLICES_MIN: usize = 3;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum What {
    /// Echo servers: CPU, throughput and latency.
    Echo,
    /// Tasks, timers, wakes and NOPs, in process.
    Micro,
    /// Memory per idle connection.
    Idle,
    /// One big stream, each way.
    Stream,
    /// Short lines, read one by one.
    Lines,
    /// Connections that say one thing and go.
    Churn,
    /// Memory per connection whose peer hardly reads.
    Slow,
    /// Sending with and without copies, on raw rings.
    Copies,
    /// Children: started, reaped, fed and read.
    Subprocess,
    /// What is lost on a cancel; fails when ringio loses something.
    Loss,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A subset of about 3 minutes.
    #[arg(long)]
    quick: bool,
    /// One JSON object per line and run.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these, e.g. ringio-stream,raw-multishot,tokio (for micro: the runtimes).
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Only these cells of echo, e.g. C50:64:1,C1000:64:1 (connections:size:pipeline).
    #[arg(long, value_delimiter = ',')]
    cells: Vec<Cell>,
    /// Only these rows of micro, by any part of their names; or of loss, by their numbers.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    #[arg(long)]
    rounds: Option<u32>,
    /// How long one run of echo, stream or churn measures.
    #[arg(long)]
    seconds: Option<f64>,
    /// The server's CPU, and the load generator's.
    #[arg(long)]
    cpu: Option<usize>,
    #[arg(long)]
    load_cpu: Option<usize>,
    /// Connections of `compare idle`, and of `compare slow`, which has a thousand at most.
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Real-time priority for the server and the load, where permitted. (Others keep 5 % of both CPUs meanwhile.)
    #[arg(long, default_value = "auto")]
    fifo: Fifo,
}

pub(crate) fn run(what: What, options: &Options) -> Result<(), String> {
    let run = match what {
        What::Echo => echo::run,
        What::Micro => micro::run,
        What::Idle => idle::run,
        What::Stream => stream::run,
        What::Lines => lines::run,
        What::Churn => churn::run,
        What::Slow => slow::run,
        What::Copies => copies::run,
        What::Subprocess => return subprocess::run(options).map_err(|error| error.to_string()),
        What::Loss => loss::run,
    };
    Bench::new(options).and_then(|mut bench| run(&mut bench, options)).map_err(|error| error.to_string())
}

/// What every comparison holds.
pub(crate) struct Bench {
    cpus: Cpus,
    fifo: Fifo,
    json: Json,
    prober: Prober,
    /// How many descriptors this process may have.
    descriptors: usize,
}

impl Bench {
    fn new(options: &Options) -> io::Result<Bench> {
        let descriptors = placement::raise_descriptor_limit()?;
        let cpus = Cpus::choose(options.cpu, options.load_cpu)?;
        // The partner first: what is pinned and preferred below is this thread.
        let prober = Prober::on(cpus.server);
        // The load too: it sleeps for a moment after each batch, and would wait for a whole slice of whoever ran meanwhile.
        isolate(Some(cpus.load), options.fifo)?;
        let crossing = prober.measure();
        println!(
            "server on CPU {}, load on CPU {}; a cache line crosses in {:.0} ns ({})",
            cpus.server,
            cpus.load,
            crossing.ns,
            crossing.placement()
        );
        let json = Json::create(options.json.as_deref())?;
        Ok(Bench { cpus, fifo: options.fifo, json, prober, descriptors })
    }

    /// The rows of all rounds, each server by itself; one that fails is named.
    fn each_round<R: Serialize>(
        &mut self,
        servers: &[&'static Server],
        rounds: u32,
        mut bench_one: impl FnMut(&mut Bench, &'static Server, u32) -> io::Result<R>,
    ) -> io::Result<Vec<R>> {
        let mut rows = Vec::new();
        for round in 0..rounds {
            for server in rotated(servers, round) {
                match bench_one(self, server, round) {
                    Ok(row) => {
                        self.json.write(&row)?;
                        rows.push(row);
                    }
                    Err(error) => println!("  FAILED {}: {error}", server.name),
                }
            }
        }
        Ok(rows)
    }

    /// The server's CPU clock and the placement, as one slice ends and the next begins.
    fn mark(&self, child: &Child) -> io::Result<Mark> {
        let ended = child.cpu()?;
        let crossing = self.prober.measure();
        Ok(Mark { ended, crossing, begun: child.cpu()? })
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Mark {
    /// CPU of the server at the end of the slice before, and at the start of the one behind.
    ended: Duration,
    crossing: Crossing,
    begun: Duration,
}

impl Mark {
    /// The server's CPU between two marks.
    fn used(before: &Mark, after: &Mark) -> Duration {
        after.ended.saturating_sub(before.begun)
    }

    fn placement(before: &Mark, after: &Mark) -> Option<Placement> {
        steady(before.crossing, after.crossing)
    }
}

/// How much of a server's CPU was spent in user mode, of 1.
fn user_part(before: Usage, after: Usage) -> f64 {
    let used = after.since(before);
    used.user.as_secs_f64() / used.cpu.as_secs_f64().max(1e-9)
}

impl Options {
    fn servers(&self) -> io::Result<Vec<&'static Server>> {
        servers::choose(&self.servers).map_err(io::Error::other)
    }

    fn rounds(&self, full: u32, quick: u32) -> u32 {
        self.rounds.unwrap_or(if self.quick { quick } else { full })
    }

    /// The length of a run, in slices.
    fn slices(&self, full: f64, quick: f64) -> u32 {
        let seconds = self.seconds.unwrap_or(if self.quick { quick } else { full });
        ((seconds / SLICE.as_secs_f64()).round() as u32).max(1)
    }
}

/// The order of round `round`: each time another one is first.
pub(crate) fn rotated<T: Copy>(items: &[T], round: u32) -> Vec<T> {
    let mut items = items.to_vec();
    let first = round as usize % items.len().max(1);
    items.rotate_left(first);
    items
}
