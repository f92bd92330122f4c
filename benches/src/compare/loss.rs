//! What does each runtime lose on a cancel? Guards: nothing of ringio's. A process for each runtime and row, one after the
//! other; what hangs is ended, and said.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Bench, Options};
use crate::{
    loss::{self, Loss},
    report::Table,
};

/// So many runs of a race; rows that take longer make fewer.
const RUNS: u32 = 1000;
const RUNS_QUICK: u32 = 100;

/// How often a process is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let runs = options.rounds(RUNS, RUNS_QUICK);
    let runtimes: Vec<&str> = loss::runtime_names()
        .filter(|name| options.servers.is_empty() || options.servers.iter().any(|wanted| wanted == name))
        .collect();
    if runtimes.is_empty() {
        let all = loss::runtime_names().collect::<Vec<_>>().join(", ");
        return Err(io::Error::other(format!("none of these runtimes; there are {all}")));
    }
    println!("loss: what is lost on a cancel, of {runs} runs (fewer where a run takes long)");
    let mut cells = BTreeMap::new();
    let mut losses = Vec::new();
    for runtime in &runtimes {
        for number in loss::row_numbers() {
            if !options.rows.is_empty() && !options.rows.iter().any(|row| row == number) {
                continue;
            }
            for figure in bench_one(runtime, number, runs)? {
                bench.json.write(&figure)?;
                if figure.lost && runtime.starts_with("ringio") {
                    losses.push(format!("{runtime}, {}: {}", figure.row, figure.shown));
                }
                cells.insert((figure.row, *runtime), figure.shown);
            }
        }
    }
    print(&runtimes, &cells);
    if losses.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("ringio lost something: {}", losses.join("; "))))
    }
}

/// The figures of one row; what failed or hung is one, too.
fn bench_one(runtime: &str, number: &str, runs: u32) -> io::Result<Vec<Loss>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["lose", runtime, number, "--runs", &runs.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(PAUSE);
    };
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    let figures: Vec<Loss> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !figures.is_empty() {
        return Ok(figures);
    }
    let shown = match status {
        None => "hangs".to_owned(),
        Some(status) => format!("FAILED: {status}"),
    };
    let row = loss::row_of(number).to_owned();
    Ok(vec![Loss { runtime: runtime.to_owned(), row, shown, lost: true }])
}

fn print(runtimes: &[&str], cells: &BTreeMap<(String, &str), String>) {
    let header: Vec<&str> = std::iter::once("scenario").chain(runtimes.iter().copied()).collect();
    let mut table = Table::new(&header);
    for row in loss::row_names() {
        let shown = |runtime: &&str| cells.get(&(row.to_owned(), *runtime)).cloned();
        let line: Vec<Option<String>> = runtimes.iter().map(shown).collect();
        if line.iter().any(Option::is_some) {
            let cells = line.into_iter().map(Option::unwrap_or_default);
            table.row(std::iter::once(row.to_owned()).chain(cells).collect());
        }
    }
    table.print();
}
