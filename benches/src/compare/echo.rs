//! What does one echo cost, in each cell, beside the floor and the best peer?
//!
//! Guards: within 5 % of the floor and behind no peer, in every cell; user-mode CPU at most half of tokio's
//! (`performance.md`, budgets).

use std::{io, time::Duration};

use io_uring::IoUring;
use serde::Serialize;

use super::{Bench, Mark, Options, SLICE, SLICES_MIN, rotated, summary, user_part};
use crate::{
    cells::Cell,
    child::{Child, Usage},
    load::{self, Load, Plan, Slice},
    placement::Placement,
    report::median,
    serve::Role,
    servers::Server,
};

/// One line of `--json`: what one run says of one placement. The CPU is the median of its slices, so that a neighbour's
/// burst does not count; the user-mode part of it is sampled by the kernel and rough in a single run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) server: &'static str,
    connections: usize,
    size: usize,
    pipeline: usize,
    pub(super) round: u32,
    placement: Placement,
    pub(super) rps: f64,
    pub(super) cpu_us: f64,
    pub(super) user_us: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// How busy the server's and the generator's CPU were, of 1.
    pub(super) server_busy: f64,
    pub(super) load_busy: f64,
    pub(super) crossing_ns: f64,
    pub(super) slices: usize,
    /// The CPU of each slice, and when in the round it was: what is compared directly was measured side by side.
    #[serde(skip)]
    pub(super) cpu_us_at: Vec<(usize, f64)>,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = options.servers()?;
    let cells = match options.cells.as_slice() {
        [] if options.quick => Cell::quick(),
        [] => Cell::all(),
        cells => cells.to_vec(),
    };
    let rounds = options.rounds(3, 2);
    let slices = options.slices(1.5, 1.0);
    println!(
        "echo: {} cells x {} servers x {rounds} rounds of {slices} slices of 0.1 s, interleaved; every byte verified",
        cells.len(),
        servers.len(),
    );
    let mut ratios = Vec::new();
    for cell in cells {
        let mut rows = Vec::new();
        for round in 0..rounds {
            rows.extend(bench_round(bench, &rotated(&servers, round), cell, slices, round)?);
        }
        for placement in Placement::ALL {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.placement == placement).collect();
            if !rows.is_empty() {
                ratios.push(summary::print_cell(cell, placement, &rows));
            }
        }
    }
    summary::print(&ratios);
    Ok(())
}

/// Servers that share a round must share the descriptors of this process.
fn bench_round(
    bench: &mut Bench,
    servers: &[&'static Server],
    cell: Cell,
    slices: u32,
    round: u32,
) -> io::Result<Vec<Row>> {
    let room = (bench.descriptors.saturating_sub(200) / cell.connections).clamp(1, servers.len());
    let mut rows = Vec::new();
    for servers in servers.chunks(room) {
        let mut runs = Vec::new();
        for &server in servers {
            let child = Child::serve(server, Role::Echo, bench.cpus.server, bench.fifo)?;
            runs.push(Run { server, child, ring: load::ring()?, slices: Vec::new(), usages: Vec::new() });
        }
        interleave(bench, &mut runs, cell, slices);
        for run in &runs {
            for row in run.rows(cell, round)? {
                bench.json.write(&row)?;
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// One server's round.
struct Run {
    server: &'static Server,
    child: Child,
    ring: IoUring,
    slices: Vec<Slice<Mark>>,
    usages: Vec<Usage>,
}

/// All servers are up and connected; each has a slice in turn, so that whatever else happens on the machine happens to
/// all of them alike. One that breaks shall not cost the others their figures: it only has fewer slices.
fn interleave(bench: &Bench, runs: &mut [Run], cell: Cell, slices: u32) {
    let mut loads: Vec<_> = Vec::new();
    for Run { server, child, ring, slices, usages } in runs {
        match Load::connect(ring, child.address, cell) {
            Ok(load) => loads.push((load, *server, child, slices, usages)),
            Err(error) => println!("  FAILED {} {cell}: {error}", server.name),
        }
    }
    for index in 0..slices {
        // The first slice also grows what grows on first use.
        let warmup = Duration::from_millis(if index == 0 { 200 } else { 20 });
        let plan = Plan { warmup, duration: SLICE };
        loads.retain_mut(|(load, server, child, slices, usages)| {
            let slice = child.usage().and_then(|usage| {
                usages.push(usage);
                let slice = load.slice(plan, || bench.mark(child))?;
                usages.push(child.usage()?);
                Ok(slice)
            });
            match slice {
                Ok(slice) => slices.push(slice),
                Err(ref error) => println!("  FAILED {} {cell}: {error}", server.name),
            }
            slices.len() > index as usize
        });
    }
}

impl Run {
    /// A row for each placement in which it was long enough.
    fn rows(&self, cell: Cell, round: u32) -> io::Result<Vec<Row>> {
        let (Some(&first), Some(&last)) = (self.usages.first(), self.usages.last()) else { return Ok(Vec::new()) };
        let user = user_part(first, last);
        let mut rows = Vec::new();
        for placement in Placement::ALL {
            let there = |slice: &Slice<Mark>| Mark::placement(&slice.before, &slice.after) == Some(placement);
            let usable = |slice: &(usize, &Slice<Mark>)| there(slice.1) && slice.1.requests > 0;
            let slices: Vec<_> = self.slices.iter().enumerate().filter(usable).collect();
            if slices.len() >= SLICES_MIN {
                rows.push(row(self.server, cell, round, placement, user, &slices)?);
            }
        }
        Ok(rows)
    }
}

fn row(
    server: &'static Server,
    cell: Cell,
    round: u32,
    placement: Placement,
    user: f64,
    slices: &[(usize, &Slice<Mark>)],
) -> io::Result<Row> {
    let mut latency_ns = load::latency()?;
    for (_, slice) in slices {
        latency_ns.add(&slice.latency_ns).map_err(io::Error::other)?;
    }
    let latency_us = |quantile| latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    let of = |figure: &dyn Fn(&Slice<Mark>) -> f64| {
        median(&mut slices.iter().map(|(_, slice)| figure(slice)).collect::<Vec<_>>())
    };
    let server_cpu = |slice: &Slice<Mark>| Mark::used(&slice.before, &slice.after).as_secs_f64();
    let each_us = |slice: &Slice<Mark>| server_cpu(slice) * 1e6 / slice.requests as f64;
    let cpu_us = of(&each_us);
    Ok(Row {
        server: server.name,
        connections: cell.connections,
        size: cell.size,
        pipeline: cell.pipeline,
        round,
        placement,
        rps: of(&|slice| slice.requests as f64 / slice.elapsed.as_secs_f64()),
        cpu_us,
        user_us: cpu_us * user,
        p50_us: latency_us(0.5),
        p99_us: latency_us(0.99),
        server_busy: of(&|slice| server_cpu(slice) / slice.elapsed.as_secs_f64()),
        load_busy: of(&|slice| slice.load_cpu.as_secs_f64() / slice.elapsed.as_secs_f64()),
        crossing_ns: of(&|slice| (slice.before.crossing.ns + slice.after.crossing.ns) / 2.0),
        slices: slices.len(),
        cpu_us_at: slices.iter().map(|(at, slice)| (*at, each_us(slice))).collect(),
    })
}
