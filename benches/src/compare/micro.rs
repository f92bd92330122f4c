//! The micro benchmarks beside the peers: one process per runtime and round. Guards: half of the best peer where our
//! code is the cost, the raw figure where the kernel is.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Bench, Options, rotated};
use crate::{
    micro::{Figure, runtime_names},
    placement::Placement,
    report::{Spread, Table, number},
};

/// All rows of one runtime take a few seconds.
const RUN_MAX: Duration = Duration::from_secs(60);

/// One line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    runtime: &'static str,
    row: &'a str,
    unit: &'a str,
    round: u32,
    placement: Placement,
    value: f64,
    crossing_ns: f64,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let wanted =
        |name: &&'static str| options.servers.is_empty() || options.servers.iter().any(|wanted| wanted == name);
    let runtimes: Vec<&'static str> = runtime_names().filter(wanted).collect();
    let rounds = options.rounds(5, 2);
    println!("micro: {} runtimes x {rounds} rounds, a process each, interleaved", runtimes.len());
    let mut runs = Vec::new();
    for round in 0..rounds {
        for runtime in rotated(&runtimes, round) {
            match bench_one(bench, runtime, &options.rows) {
                Ok(figures) => runs.extend(figures.into_iter().map(|figure| Run { runtime, round, figure })),
                Err(error) => println!("  FAILED {runtime}: {error}"),
            }
        }
    }
    for Run { runtime, round, figure } in &runs {
        let Figure { row, unit, value, placement, crossing } = figure;
        let (round, value, placement, crossing_ns) = (*round, *value, *placement, crossing.ns);
        bench.json.write(&Row { runtime, row, unit, round, placement, value, crossing_ns })?;
    }
    for placement in Placement::ALL {
        print(placement, &runs);
    }
    Ok(())
}

struct Run {
    runtime: &'static str,
    round: u32,
    figure: Figure,
}

fn bench_one(bench: &Bench, runtime: &'static str, rows: &[String]) -> io::Result<Vec<Figure>> {
    let mut command = Command::new(std::env::current_exe()?);
    let (cpu, load_cpu) = (bench.cpus.server.to_string(), bench.cpus.load.to_string());
    let fifo = format!("{:?}", bench.fifo).to_lowercase();
    command.args(["measure", runtime, "--cpu", &cpu, "--load-cpu", &load_cpu, "--fifo", &fifo]);
    if !rows.is_empty() {
        command.args(["--rows", &rows.join(",")]);
    }
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + RUN_MAX;
    // What it prints fits into the pipe, so it need not be read meanwhile.
    while process.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let hung = process.try_wait()?.is_none();
    if hung {
        process.kill()?;
    }
    let output = process.wait_with_output()?;
    if hung {
        println!("  FAILED {runtime}: hangs; it was ended after {} s", RUN_MAX.as_secs());
    } else if !output.status.success() {
        return Err(io::Error::other(format!("ended with {}", output.status)));
    }
    output.stdout.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

type ByRuntime = BTreeMap<&'static str, Vec<f64>>;

fn print(placement: Placement, runs: &[Run]) {
    // In the order in which they were first seen.
    let mut rows: Vec<(&str, &str, ByRuntime)> = Vec::new();
    for Run { runtime, figure, .. } in runs.iter().filter(|run| run.figure.placement == placement) {
        let index = rows.iter().position(|row| row.0 == figure.row).unwrap_or_else(|| {
            rows.push((&figure.row, &figure.unit, ByRuntime::new()));
            rows.len() - 1
        });
        rows[index].2.entry(runtime).or_default().push(figure.value);
    }
    if rows.is_empty() {
        return;
    }
    println!("\nmicro, {placement}: median [min-max]; ping-pong per hand-over; to and from threads per round trip");
    for (name, unit, runtimes) in rows {
        let spreads = runtimes.into_iter().filter_map(|(runtime, values)| Some((runtime, Spread::of(values)?)));
        let mut spreads: Vec<(&str, Spread)> = spreads.collect();
        spreads.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
        println!("{name}{}{unit}", if unit.is_empty() { "" } else { ", " });
        let mut table = Table::default();
        for (runtime, spread) in &spreads {
            table.row(vec![runtime.to_string(), spread.show()]);
        }
        table.print();
        print_ratios(&spreads);
    }
}

fn print_ratios(spreads: &[(&str, Spread)]) {
    let of = |name| spreads.iter().find(|spread| spread.0 == name).map(|spread| spread.1.median);
    let Some(ringio) = of("ringio") else { return };
    if let Some(raw) = of("raw") {
        println!("    ringio / raw: {}", number(ringio / raw));
    }
    if let Some((peer, best)) = spreads.iter().find(|spread| !matches!(spread.0, "ringio" | "raw")) {
        println!("    ringio / best peer ({peer}): {}", number(ringio / best.median));
    }
}
