//! What do the runtimes' own parts cost: tasks, yields, wakes, timers, NOPs, memory?
//!
//! Guards: spawn, yield, ping-pong and timers at half of the best peer, NOPs at the raw figure (`performance.md`). One
//! process per runtime and round, pinned as the servers are; the workloads are the same code on every runtime.

pub(crate) mod allocations;
mod channel;
mod nop;
mod runtimes;
mod sync;
mod tasks;
mod wake;
mod workloads;

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::{
    placement::{Cpus, Crossing, Placement, Prober, steady},
    serve::{Fifo, isolate},
};

/// A row during which the placement changed is measured again, so often.
const TRIES_MAX: u32 = 5;

/// One figure of one runtime, as its process prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) row: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
    pub(crate) placement: Placement,
    pub(crate) crossing: Crossing,
}

/// A row of the comparison, on one runtime.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) run: fn() -> f64,
}

/// `ringio-bench measure RUNTIME`: prints one figure per line.
pub(crate) fn measure(runtime: &str, cpus: Cpus, fifo: Fifo, wanted: &[String]) -> Result<(), String> {
    let (_, rows) = runtimes::ALL.iter().find(|(name, _)| *name == runtime).ok_or_else(|| {
        format!("no runtime '{runtime}'; there are {}", runtime_names().collect::<Vec<_>>().join(", "))
    })?;
    // Before this thread is raised: they stay ordinary, on the load's CPU.
    wake::start_partner(cpus.load);
    let prober = Prober::on(cpus.load);
    isolate(Some(cpus.server), fifo).map_err(|error| error.to_string())?;
    for row in rows() {
        if !wanted.is_empty() && !wanted.iter().any(|part| row.name.contains(part.as_str())) {
            continue;
        }
        let Some(figure) = row.measure(&prober) else {
            eprintln!("{runtime} {}: dropped, the placement would not stay", row.name);
            continue;
        };
        let line = serde_json::to_string(&figure).map_err(|error| error.to_string())?;
        writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Row {
    fn measure(&self, prober: &Prober) -> Option<Figure> {
        (0..TRIES_MAX).find_map(|_| {
            let before = prober.measure();
            let value = (self.run)();
            let placement = steady(before, prober.measure())?;
            Some(Figure { row: self.name.to_owned(), unit: self.unit.to_owned(), value, placement, crossing: before })
        })
    }
}

pub(crate) fn runtime_names() -> impl Iterator<Item = &'static str> {
    runtimes::ALL.iter().map(|(name, _)| *name)
}
