//! What does one echo cost, in each cell, beside the floor and the best peer?
//!
//! Guards: within 5 % of the floor and behind no peer, in every cell; user-mode CPU at most half of tokio's
//! (`performance.md`, budgets).

use std::{collections::BTreeMap, io, time::Duration};

use io_uring::IoUring;
use serde::Serialize;

use super::{Bench, Mark, Options, SLICE, SLICES_MIN, rotated, user_part};
use crate::{
    cells::Cell,
    child::{Child, Usage},
    load::{self, Load, Plan, Slice},
    placement::Placement,
    report::{Spread, Table, mean, median, number},
    serve::Role,
    servers::{self, Kind, Server},
};

/// One line of `--json`: what one run says of one placement. The CPU is the median of its slices, so that a neighbour's
/// burst does not count; the user-mode part of it is sampled by the kernel and rough in a single run.
#[derive(Clone, Debug, Serialize)]
struct Row {
    server: &'static str,
    connections: usize,
    size: usize,
    pipeline: usize,
    round: u32,
    placement: Placement,
    rps: f64,
    cpu_us: f64,
    user_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// How busy the server's and the generator's CPU were, of 1.
    server_busy: f64,
    load_busy: f64,
    crossing_ns: f64,
    slices: usize,
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
    let mut summary = Vec::new();
    for cell in cells {
        let mut rows = Vec::new();
        for round in 0..rounds {
            rows.extend(bench_round(bench, &rotated(&servers, round), cell, slices, round)?);
        }
        for placement in Placement::ALL {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.placement == placement).collect();
            if !rows.is_empty() {
                summary.push(print_cell(cell, placement, &rows));
            }
        }
    }
    print_summary(&summary);
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
            let there = |slice: &&Slice<Mark>| Mark::placement(&slice.before, &slice.after) == Some(placement);
            let slices: Vec<_> = self.slices.iter().filter(there).filter(|slice| slice.requests > 0).collect();
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
    slices: &[&Slice<Mark>],
) -> io::Result<Row> {
    let mut latency_ns = load::latency()?;
    for slice in slices {
        latency_ns.add(&slice.latency_ns).map_err(io::Error::other)?;
    }
    let latency_us = |quantile| latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    let of = |figure: &dyn Fn(&Slice<Mark>) -> f64| {
        median(&mut slices.iter().map(|slice| figure(slice)).collect::<Vec<_>>())
    };
    let server_cpu = |slice: &Slice<Mark>| Mark::used(&slice.before, &slice.after).as_secs_f64();
    let cpu_us = of(&|slice| server_cpu(slice) * 1e6 / slice.requests as f64);
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
    })
}

/// What the summary says of one cell in one placement.
struct Ratios {
    cell: Cell,
    placement: Placement,
    /// Of each ringio server: its name, CPU / floor, CPU / best peer, user CPU / tokio's.
    ringio: Vec<(&'static str, Option<f64>, Option<f64>, Option<f64>)>,
    floor: Option<(&'static str, f64)>,
    best_peer: Option<(&'static str, f64)>,
}

fn print_cell(cell: Cell, placement: Placement, rows: &[&Row]) -> Ratios {
    let mut by_server: BTreeMap<&'static str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_server.entry(row.server).or_default().push(row);
    }
    let median = |rows: &[&Row], figure: fn(&Row) -> f64| {
        Spread::of(rows.iter().map(|row| figure(row))).map_or(f64::NAN, |spread| spread.median)
    };
    let mut lines: Vec<_> = by_server
        .into_iter()
        .filter_map(|(name, rows)| Some((name, Spread::of(rows.iter().map(|row| row.cpu_us))?, rows)))
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));

    let crossing = mean(rows.iter().map(|row| row.crossing_ns));
    println!("\n{cell}, {placement} ({crossing:.0} ns)");
    let header =
        ["server", "CPU us/msg [min-max]", "user us", "msg/s", "p50 us", "p99 us", "busy", "load busy", "slices"];
    let mut table = Table::new(&header);
    for (name, cpu, rows) in &lines {
        table.row(vec![
            name.to_string(),
            cpu.show(),
            number(mean(rows.iter().map(|row| row.user_us))),
            format!("{:.0}", median(rows, |row| row.rps)),
            number(median(rows, |row| row.p50_us)),
            number(median(rows, |row| row.p99_us)),
            format!("{:.0} %", median(rows, |row| row.server_busy) * 100.0),
            format!("{:.0} %", median(rows, |row| row.load_busy) * 100.0),
            rows.iter().map(|row| row.slices).sum::<usize>().to_string(),
        ]);
    }
    table.print();

    // `lines` are sorted: the first of a kind is its best.
    let kind = |name| servers::find(name).map_or(Kind::Extra, |server| server.kind);
    let best = |wanted| lines.iter().find(|line| kind(line.0) == wanted).map(|line| (line.0, line.1.median));
    let tokio_user = lines.iter().find(|line| line.0 == "tokio").map(|line| mean(line.2.iter().map(|r| r.user_us)));
    let (floor, best_peer) = (best(Kind::Raw), best(Kind::Peer));
    let ringio = lines
        .iter()
        .filter(|line| kind(line.0) == Kind::Ringio)
        .map(|(name, cpu, rows)| {
            let user = mean(rows.iter().map(|row| row.user_us));
            (
                *name,
                floor.map(|(_, floor)| cpu.median / floor),
                best_peer.map(|(_, peer)| cpu.median / peer),
                tokio_user.map(|tokio| user / tokio),
            )
        })
        .collect();
    let ratios = Ratios { cell, placement, ringio, floor, best_peer };
    for (name, floor, peer, user) in &ratios.ringio {
        println!("  {name} / floor ({}): {}", best_name(ratios.floor), ratio(*floor));
        println!("  {name} / best peer ({}): {}", best_name(ratios.best_peer), ratio(*peer));
        println!("  {name} user CPU / tokio: {}", ratio(*user));
    }
    ratios
}

fn print_summary(summary: &[Ratios]) {
    println!("\nsummary: CPU per message against the floor and the best peer, user CPU against tokio's");
    let mut table =
        Table::new(&["cell", "floor us", "of", "best peer us", "of", "", "/ floor", "/ peer", "user / tokio"]);
    for ratios in summary {
        let figure = |best: Option<(_, f64)>| best.map_or_else(|| "-".to_owned(), |(_, us)| number(us));
        let cell = vec![
            format!("{} {}", ratios.cell, ratios.placement),
            figure(ratios.floor),
            best_name(ratios.floor),
            figure(ratios.best_peer),
            best_name(ratios.best_peer),
        ];
        if ratios.ringio.is_empty() {
            table.row(cell.clone());
        }
        for (name, floor, peer, user) in &ratios.ringio {
            let mut row = cell.clone();
            row.extend([name.to_string(), ratio(*floor), ratio(*peer), ratio(*user)]);
            table.row(row);
        }
    }
    table.print();
}

fn best_name(best: Option<(&'static str, f64)>) -> String {
    best.map_or_else(|| "none ran".to_owned(), |(name, _)| name.to_owned())
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.filter(|ratio| ratio.is_finite()).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
}
