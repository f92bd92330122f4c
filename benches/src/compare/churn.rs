//! What does a connection cost that says one thing and goes? Guards: connecting, one message, its echo and the close cost the
//! server no more than with the best peer. The clients are plain blocking sockets on the load's CPU, some at a time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Bench, Mark, Options, SLICE, SLICES_MIN, rotated};
use crate::{
    child::Child,
    placement::Placement,
    report::{Spread, Table, median, number},
    serve::Role,
    servers::{Kind, Server},
};

/// Connections that are open at a time.
const AT_ONCE: usize = 16;
const WARM: usize = 500;
const WARMUP: Duration = Duration::from_millis(5);
const MESSAGE: &[u8; 32] = b"thirty-two bytes are said, once.";

/// One line of `--json`.
#[derive(Clone, Serialize)]
struct Row {
    server: &'static str,
    round: u32,
    placement: Placement,
    cpu_us: f64,
    per_s: f64,
    slices: usize,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = options.servers()?;
    let rounds = options.rounds(5, 2);
    let slices = options.slices(1.0, 0.5);
    println!("\nchurn: connect, one message, close; {AT_ONCE} at a time, {rounds} rounds of {slices} slices of 0.1 s");
    let mut rows = Vec::new();
    for round in 0..rounds {
        rows.extend(bench_round(bench, &rotated(&servers, round), slices, round)?);
    }
    for placement in Placement::ALL {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.placement == placement).collect();
        if !rows.is_empty() {
            print(placement, &servers, &rows);
        }
    }
    Ok(())
}

/// All servers are up; each has a slice in turn.
fn bench_round(bench: &mut Bench, servers: &[&'static Server], slices: u32, round: u32) -> io::Result<Vec<Row>> {
    let start = |&server: &&'static Server| Run::start(bench, server);
    let mut runs = servers.iter().map(start).collect::<io::Result<Vec<_>>>()?;
    for index in 0..slices as usize {
        runs.retain_mut(|run| {
            if let Err(error) = run.slice(bench) {
                println!("  FAILED {}: {error}", run.server.name);
            }
            run.slices.len() > index
        });
    }
    let rows: Vec<Row> = runs.iter().flat_map(|run| run.rows(round)).collect();
    rows.iter().try_for_each(|row| bench.json.write(row))?;
    Ok(rows)
}

/// One server's round.
struct Run {
    server: &'static Server,
    child: Child,
    slices: Vec<Slice>,
}

struct Slice {
    before: Mark,
    after: Mark,
    connections: usize,
    elapsed: Duration,
}

impl Run {
    fn start(bench: &Bench, server: &'static Server) -> io::Result<Run> {
        let child = Child::serve(server, Role::Echo, bench.cpus.server, bench.fifo)?;
        for _ in 0..WARM.div_ceil(AT_ONCE) {
            churn(child.address)?;
        }
        Ok(Run { server, child, slices: Vec::new() })
    }

    fn slice(&mut self, bench: &Bench) -> io::Result<()> {
        self.go(WARMUP)?;
        let before = bench.mark(&self.child)?;
        let (connections, elapsed) = self.go(SLICE)?;
        let after = bench.mark(&self.child)?;
        self.slices.push(Slice { before, after, connections, elapsed });
        Ok(())
    }

    fn go(&self, time: Duration) -> io::Result<(usize, Duration)> {
        let (begun, mut connections) = (Instant::now(), 0);
        while begun.elapsed() < time {
            churn(self.child.address)?;
            connections += AT_ONCE;
        }
        Ok((connections, begun.elapsed()))
    }

    /// A row for each placement in which it was long enough.
    fn rows(&self, round: u32) -> Vec<Row> {
        let in_placement = |placement| {
            let there = |slice: &&Slice| Mark::placement(&slice.before, &slice.after) == Some(placement);
            let slices: Vec<&Slice> = self.slices.iter().filter(there).collect();
            let of = |figure: &dyn Fn(&Slice) -> f64| median(&mut slices.iter().map(|s| figure(s)).collect::<Vec<_>>());
            (slices.len() >= SLICES_MIN).then(|| Row {
                server: self.server.name,
                round,
                placement,
                cpu_us: of(&|s| Mark::used(&s.before, &s.after).as_secs_f64() * 1e6 / s.connections as f64),
                per_s: of(&|s| s.connections as f64 / s.elapsed.as_secs_f64()),
                slices: slices.len(),
            })
        };
        Placement::ALL.into_iter().filter_map(in_placement).collect()
    }
}

fn churn(address: SocketAddr) -> io::Result<()> {
    let mut streams = (0..AT_ONCE).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    for stream in &mut streams {
        stream.write_all(MESSAGE)?;
    }
    for stream in &mut streams {
        let mut echoed = [0; MESSAGE.len()];
        stream.read_exact(&mut echoed)?;
        if &echoed != MESSAGE {
            return Err(io::Error::other("wrong bytes came back"));
        }
    }
    Ok(())
}

fn print(placement: Placement, servers: &[&'static Server], rows: &[&Row]) {
    let of = |server: &Server, figure: fn(&Row) -> f64| {
        Spread::of(rows.iter().filter(|row| row.server == server.name).map(|row| figure(row)))
    };
    let mut lines: Vec<_> = servers
        .iter()
        .filter_map(|server| Some((*server, of(server, |row| row.cpu_us)?, of(server, |row| row.per_s)?)))
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    println!("{placement}");
    let mut table = Table::new(&["server", "CPU us/connection [min-max]", "connections/s"]);
    for (server, cpu, speed) in &lines {
        table.row(vec![server.name.to_owned(), cpu.show(), speed.show()]);
    }
    table.print();
    let best = |kind| lines.iter().find(|line| line.0.kind == kind);
    for (server, cpu, _) in lines.iter().filter(|line| line.0.kind == Kind::Ringio) {
        for (what, best) in [("floor", best(Kind::Raw)), ("best peer", best(Kind::Peer))] {
            if let Some((other, least, _)) = best {
                println!("  {} / {what} ({}): {}", server.name, other.name, number(cpu.median / least.median));
            }
        }
    }
}
