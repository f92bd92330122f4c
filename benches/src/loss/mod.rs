//! What is lost when a wait is cancelled, by each runtime's own timeout and by each way of reading, accepting and writing that
//! it offers? Guards: ringio's column says 0 everywhere.
//!
//! Every figure is measured, in a process of its own; the other side is a thread with plain blocking sockets
//! ([`peer`]). The scenarios are the same code for all ([`scenarios`], [`children`], [`sharing`]); a runtime says only how it
//! does a thing.

mod children;
mod peer;
mod runtimes;
mod scenarios;
mod sharing;

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// What came of one scenario on one runtime, as its process prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub(crate) runtime: String,
    pub(crate) row: String,
    /// In the table: `0/2000`, `yes`.
    pub(crate) shown: String,
    /// Something was lost.
    pub(crate) lost: bool,
}

/// The rows of the table, in its order.
pub(crate) fn row_names() -> impl Iterator<Item = &'static str> {
    scenarios::ROWS.iter().copied()
}

/// The scenarios by their numbers; one may have several rows.
pub(crate) fn row_numbers() -> impl Iterator<Item = &'static str> {
    let mut numbers: Vec<&str> = row_names().filter_map(|name| name.split(' ').next()).collect();
    numbers.dedup();
    numbers.into_iter()
}

/// The first row of a scenario.
pub(crate) fn row_of(number: &str) -> &'static str {
    row_names().find(|name| name.split(' ').next() == Some(number)).unwrap_or("?")
}

pub(crate) fn runtime_names() -> impl Iterator<Item = &'static str> {
    runtimes::ALL.iter().map(|(name, _)| *name)
}

/// `ringio-bench lose RUNTIME ROW`: runs one scenario and prints one line for each figure.
pub(crate) fn lose(runtime: &str, row: &str, runs: usize) -> Result<(), String> {
    let Some((name, run)) = runtimes::ALL.iter().find(|(name, _)| *name == runtime) else {
        return Err(format!("no runtime '{runtime}'; there are {}", runtime_names().collect::<Vec<_>>().join(", ")));
    };
    let figures = run(row, runs).map_err(|error| error.to_string())?;
    for (row, verdict) in figures {
        let loss = Loss { runtime: (*name).to_owned(), row: row.to_owned(), shown: verdict.shown, lost: verdict.lost };
        let line = serde_json::to_string(&loss).map_err(|error| error.to_string())?;
        writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A cell of the table.
pub(crate) struct Verdict {
    shown: String,
    lost: bool,
}

impl Verdict {
    fn count(lost: usize, of: usize) -> Verdict {
        Verdict { shown: format!("{lost}/{of}"), lost: lost > 0 }
    }

    fn words(words: &str, lost: bool) -> Verdict {
        Verdict { shown: words.to_owned(), lost }
    }
}
