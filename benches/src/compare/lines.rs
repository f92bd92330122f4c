//! What does a short line cost? A million of them over one connection, counted by a handler with its runtime's own reader of
//! lines. Guards: `readline` at twice the speed of tokio's `BufReader::lines`, and fifty times asyncio's.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Instant,
};

use serde::Serialize;

use super::{Bench, Mark, Options};
use crate::{
    child::Child,
    placement::Placement,
    report::{Spread, Table, number},
    serve::Role,
    servers::{self, Kind, Server},
};

const LINES: usize = 1_000_000;
const LINES_WARM: usize = 100_000;
const LINES_QUICK: usize = 100_000;

/// A run during which the placement changed is made again, so often.
const TRIES_MAX: u32 = 5;

/// One line of `--json`.
#[derive(Clone, Serialize)]
struct Row {
    server: &'static str,
    round: u32,
    placement: Placement,
    cpu_ns: f64,
    lines_per_s: f64,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = servers::choose_lines(&options.servers).map_err(io::Error::other)?;
    let rounds = options.rounds(5, 2);
    let text = text(if options.quick { LINES_QUICK } else { LINES });
    println!("\nlines: {} of them, 1 to 40 bytes long each, over one connection, {rounds} rounds", count(&text));
    let rows = bench.each_round(&servers, rounds, |bench, server, round| bench_one(bench, server, &text, round))?;
    for placement in Placement::ALL {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.placement == placement).collect();
        if !rows.is_empty() {
            print(placement, &servers, &rows);
        }
    }
    Ok(())
}

fn text(lines: usize) -> Vec<u8> {
    let mut text = String::new();
    for number in 0..lines {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "{number:0$}", number * 7 % 40);
    }
    text.into_bytes()
}

fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn bench_one(bench: &Bench, server: &'static Server, text: &[u8], round: u32) -> io::Result<Row> {
    let child = Child::serve(server, Role::Sink, bench.cpus.server, bench.fifo)?;
    let warm = text.split_inclusive(|byte| *byte == b'\n').take(LINES_WARM.min(count(text))).map(<[u8]>::len).sum();
    send(child.address, &text[..warm])?;
    for _ in 0..TRIES_MAX {
        let before = bench.mark(&child)?;
        let begun = Instant::now();
        send(child.address, text)?;
        let elapsed = begun.elapsed();
        let after = bench.mark(&child)?;
        if let Some(placement) = Mark::placement(&before, &after) {
            let lines = count(text) as f64;
            let cpu_ns = Mark::used(&before, &after).as_nanos() as f64 / lines;
            return Ok(Row {
                server: server.name,
                round,
                placement,
                cpu_ns,
                lines_per_s: lines / elapsed.as_secs_f64(),
            });
        }
    }
    Err(io::Error::other("the placement would not stay"))
}

/// Over a connection of its own; the server says what it counted.
fn send(address: SocketAddr, text: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let expected = format!("{} {}\n", count(text), text.len());
    if answer == expected { Ok(()) } else { Err(io::Error::other(format!("counted {answer:?}, not {expected:?}"))) }
}

fn print(placement: Placement, servers: &[&'static Server], rows: &[&Row]) {
    let of = |server: &Server, figure: fn(&Row) -> f64| {
        Spread::of(rows.iter().filter(|row| row.server == server.name).map(|row| figure(row)))
    };
    let mut lines: Vec<_> = servers
        .iter()
        .filter_map(|server| Some((*server, of(server, |row| row.cpu_ns)?, of(server, |row| row.lines_per_s / 1e6)?)))
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    println!("{placement}");
    let mut table = Table::new(&["server", "CPU ns/line [min-max]", "million lines/s"]);
    for (server, cpu, speed) in &lines {
        table.row(vec![server.name.to_owned(), cpu.show(), speed.show()]);
    }
    table.print();
    for (server, cpu, _) in lines.iter().filter(|line| line.0.kind == Kind::Ringio) {
        for (other, theirs, _) in lines.iter().filter(|line| line.0.kind != Kind::Ringio) {
            println!("  {} / {}: {} times as fast", server.name, other.name, number(theirs.median / cpu.median));
        }
    }
}
