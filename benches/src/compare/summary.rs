//! What does `compare echo` say: a table per cell and placement, and the ratios that the budgets speak of.
//!
//! Guards: a ratio is the median over slices measured side by side, not the quotient of two medians: whatever slowed
//! both of them down is gone from it.

use super::echo::Row;
use crate::{
    cells::Cell,
    placement::Placement,
    report::{Spread, Table, mean, number},
    servers::{self, Kind},
};

/// Fewer slices side by side than this: the quotient of the medians.
const PAIRS_MIN: usize = 5;

/// What the summary says of one cell in one placement.
pub(super) struct Ratios {
    cell: Cell,
    placement: Placement,
    floor: Option<(&'static str, f64)>,
    best_peer: Option<(&'static str, f64)>,
    ringio: Vec<Ratio>,
}

/// One ringio server against the floor, the best peer, and the user-mode CPU of tokio.
struct Ratio {
    server: &'static str,
    floor: Option<f64>,
    best_peer: Option<f64>,
    tokio_user: Option<f64>,
}

/// One server's rounds.
struct Line<'a> {
    server: &'static str,
    kind: Kind,
    rows: Vec<&'a Row>,
    cpu_us: Spread,
}

pub(super) fn print_cell(cell: Cell, placement: Placement, rows: &[&Row]) -> Ratios {
    let lines = lines(rows);
    // They are sorted: the first of a kind is its best.
    let best = |kind| lines.iter().find(|line| line.kind == kind);
    let (floor, best_peer) = (best(Kind::Raw), best(Kind::Peer));
    let tokio = lines.iter().find(|line| line.server == "tokio");

    println!("\n{cell}, {placement} ({:.0} ns)", mean(rows.iter().map(|row| row.crossing_ns)));
    let header = [
        "server",
        "CPU us/msg [min-max]",
        "/ floor",
        "user us",
        "msg/s",
        "p50 us",
        "p99 us",
        "busy",
        "load busy",
        "slices",
    ];
    let mut table = Table::new(&header);
    for line in &lines {
        table.row(vec![
            line.server.to_owned(),
            line.cpu_us.show(),
            ratio(floor.map(|floor| line.against(floor))),
            number(line.user_us()),
            format!("{:.0}", line.median(|row| row.rps)),
            number(line.median(|row| row.p50_us)),
            number(line.median(|row| row.p99_us)),
            format!("{:.0} %", line.median(|row| row.server_busy) * 100.0),
            format!("{:.0} %", line.median(|row| row.load_busy) * 100.0),
            line.rows.iter().map(|row| row.slices).sum::<usize>().to_string(),
        ]);
    }
    table.print();

    let ringio = lines.iter().filter(|line| line.kind == Kind::Ringio).map(|line| Ratio {
        server: line.server,
        floor: floor.map(|floor| line.against(floor)),
        best_peer: best_peer.map(|peer| line.against(peer)),
        tokio_user: tokio.map(|tokio| line.user_us() / tokio.user_us()),
    });
    let named = |line: Option<&Line<'_>>| line.map(|line| (line.server, line.cpu_us.median));
    let ratios = Ratios { cell, placement, floor: named(floor), best_peer: named(best_peer), ringio: ringio.collect() };
    for line in &ratios.ringio {
        println!("  {} / floor ({}): {}", line.server, name(ratios.floor), ratio(line.floor));
        println!("  {} / best peer ({}): {}", line.server, name(ratios.best_peer), ratio(line.best_peer));
        println!("  {} user CPU / tokio: {}", line.server, ratio(line.tokio_user));
    }
    ratios
}

/// Cheapest first.
fn lines<'a>(rows: &[&'a Row]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for server in servers::SERVERS {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.server == server.name).copied().collect();
        if let Some(cpu_us) = Spread::of(rows.iter().map(|row| row.cpu_us)) {
            lines.push(Line { server: server.name, kind: server.kind, rows, cpu_us });
        }
    }
    lines.sort_by(|a, b| a.cpu_us.median.total_cmp(&b.cpu_us.median));
    lines
}

impl Line<'_> {
    fn median(&self, figure: fn(&Row) -> f64) -> f64 {
        Spread::of(self.rows.iter().map(|row| figure(row))).map_or(f64::NAN, |spread| spread.median)
    }

    /// The mean: it is sampled, so a round alone is rough, and more of them are better.
    fn user_us(&self) -> f64 {
        mean(self.rows.iter().map(|row| row.user_us))
    }

    fn against(&self, other: &Line<'_>) -> f64 {
        let mut pairs = Vec::new();
        for row in &self.rows {
            for theirs in other.rows.iter().filter(|theirs| theirs.round == row.round) {
                pairs.extend(row.cpu_us_at.iter().filter_map(|(at, cpu_us)| {
                    let beside = theirs.cpu_us_at.iter().find(|beside| beside.0 == *at)?;
                    Some(cpu_us / beside.1)
                }));
            }
        }
        match Spread::of(pairs.iter().copied()) {
            Some(spread) if pairs.len() >= PAIRS_MIN => spread.median,
            Some(_) | None => self.cpu_us.median / other.cpu_us.median,
        }
    }
}

pub(super) fn print(summary: &[Ratios]) {
    println!("\nsummary: CPU per message against the floor and the best peer, user CPU against tokio's");
    let header = ["cell", "floor us", "of", "best peer us", "of", "", "/ floor", "/ best peer", "user / tokio"];
    let mut table = Table::new(&header);
    for ratios in summary {
        let figure = |best: Option<(_, f64)>| best.map_or_else(|| "-".to_owned(), |(_, us)| number(us));
        let cell = vec![
            format!("{} {}", ratios.cell, ratios.placement),
            figure(ratios.floor),
            name(ratios.floor),
            figure(ratios.best_peer),
            name(ratios.best_peer),
        ];
        if ratios.ringio.is_empty() {
            table.row(cell.clone());
        }
        for line in &ratios.ringio {
            let mut row = cell.clone();
            row.extend([line.server.to_owned(), ratio(line.floor), ratio(line.best_peer), ratio(line.tokio_user)]);
            table.row(row);
        }
    }
    table.print();
}

fn name(best: Option<(&'static str, f64)>) -> String {
    best.map_or_else(|| "none ran".to_owned(), |(name, _)| name.to_owned())
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.filter(|ratio| ratio.is_finite()).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
}
