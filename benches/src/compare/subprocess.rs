//! Children beside the peers: one process per runtime, round and size of the process, interleaved and not pinned, since
//! children run wherever there is room. Guards: no slower than the best peer from a small process, twice as fast from one of
//! 2 GiB, and pipes as fast as the best peer's.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    process::{Command, Stdio},
};

use serde::Serialize;

use super::{Options, rotated};
use crate::{
    children::{Figure, names},
    report::{Json, Spread, Table, number},
};

/// Sizes of the process, in MiB.
const RESIDENT_MIB: [usize; 2] = [0, 2048];

/// One line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    runtime: &'static str,
    resident_mib: usize,
    round: u32,
    figure: &'a Figure,
}

/// Values by row and by runtime.
type Table2<'a> = BTreeMap<(usize, String, String), BTreeMap<&'a str, Vec<f64>>>;

pub(super) fn run(options: &Options) -> io::Result<()> {
    let wanted =
        |name: &&'static str| options.servers.is_empty() || options.servers.iter().any(|wanted| wanted == name);
    let runtimes: Vec<&'static str> = names().filter(wanted).collect();
    let rounds = options.rounds(5, 2);
    let mut json = Json::create(options.json.as_deref())?;
    println!("subprocess: {} runtimes x {rounds} rounds x {RESIDENT_MIB:?} MiB, interleaved", runtimes.len());
    let mut rows = Table2::new();
    for round in 0..rounds {
        for resident_mib in RESIDENT_MIB {
            for runtime in rotated(&runtimes, round) {
                match measure(runtime, resident_mib, options.quick) {
                    Ok(figures) => {
                        for figure in figures {
                            json.write(&Row { runtime, resident_mib, round, figure: &figure })?;
                            let row = rows.entry((resident_mib, figure.row, figure.unit)).or_default();
                            row.entry(runtime).or_default().push(figure.value);
                        }
                    }
                    Err(error) => println!("  FAILED {runtime}, {resident_mib} MiB: {error}"),
                }
            }
        }
    }
    for ((resident_mib, row, unit), runtimes) in rows {
        println!("\n{row}, {unit}, from a process of {resident_mib} MiB: median [min-max]");
        print(&unit, runtimes);
    }
    Ok(())
}

fn measure(runtime: &str, resident_mib: usize, quick: bool) -> io::Result<Vec<Figure>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["children", runtime, "--resident-mib", &resident_mib.to_string()]);
    if quick {
        command.arg("--quick");
    }
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("ended with {}", output.status)));
    }
    output.stdout.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

fn print(unit: &str, runtimes: BTreeMap<&str, Vec<f64>>) {
    let spreads = runtimes.into_iter().filter_map(|(runtime, values)| Some((runtime, Spread::of(values)?)));
    let mut spreads: Vec<(&str, Spread)> = spreads.collect();
    spreads.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    if unit == "MB/s" {
        spreads.reverse();
    }
    let mut table = Table::default();
    for (runtime, spread) in &spreads {
        table.row(vec![runtime.to_string(), spread.show()]);
    }
    table.print();
    let ours = spreads.iter().find(|spread| spread.0 == "ringio");
    let best = spreads.iter().find(|spread| spread.0 != "ringio");
    if let (Some(ours), Some(best)) = (ours, best) {
        println!("    ringio / best peer ({}): {}", best.0, number(ours.1.median / best.1.median));
    }
}
