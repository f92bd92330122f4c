//! What does one big stream cost, into the server (sink) and out of it (source)? Guards: bulk uses large hot buffers:
//! CPU-seconds per GB at the floor. The other end is a plain blocking socket, pinned to the load's CPU.

use std::{
    io,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Bench, Mark, Options, SLICE, SLICES_MIN, rotated, user_part};
use crate::{
    child::{Child, Usage},
    placement::Placement,
    report::{Spread, Table, mean, median, number},
    serve::Role,
    servers::{Kind, Server},
};

const CHUNK_LEN: usize = 256 * 1024;
const WARM_BYTES: u64 = 64 << 20;
const WARMUP: Duration = Duration::from_millis(10);

/// One line of `--json`.
#[derive(Clone, Serialize)]
struct Row {
    server: &'static str,
    direction: &'static str,
    round: u32,
    placement: Placement,
    gb_per_s: f64,
    cpu_s_per_gb: f64,
    user_s_per_gb: f64,
    crossing_ns: f64,
    slices: usize,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = options.servers()?;
    let rounds = options.rounds(5, 2);
    let slices = options.slices(1.0, 0.5);
    for (role, direction) in [(Role::Sink, "sink"), (Role::Source, "source")] {
        println!("\nstream, {direction}: one connection, {rounds} rounds of {slices} slices of 0.1 s");
        let mut rows = Vec::new();
        for round in 0..rounds {
            rows.extend(bench_round(bench, &rotated(&servers, round), role, direction, slices, round)?);
        }
        for placement in Placement::ALL {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.placement == placement).collect();
            if !rows.is_empty() {
                print(placement, &servers, &rows);
            }
        }
    }
    Ok(())
}

/// All servers are up; each has a slice in turn.
fn bench_round(
    bench: &mut Bench,
    servers: &[&'static Server],
    role: Role,
    direction: &'static str,
    slices: u32,
    round: u32,
) -> io::Result<Vec<Row>> {
    let start = |&server: &&'static Server| Run::start(bench, server, role);
    let mut runs = servers.iter().map(start).collect::<io::Result<Vec<_>>>()?;
    for index in 0..slices as usize {
        runs.retain_mut(|run| {
            if let Err(error) = run.slice(bench) {
                println!("  FAILED {}: {error}", run.server.name);
            }
            run.moved.len() > index
        });
    }
    let mut rows = Vec::new();
    for run in &mut runs {
        for row in run.rows(direction, round)? {
            bench.json.write(&row)?;
            rows.push(row);
        }
    }
    Ok(rows)
}

/// One server's round.
struct Run {
    server: &'static Server,
    child: Child,
    role: Role,
    stream: TcpStream,
    chunk: Vec<u8>,
    before: Usage,
    moved: Vec<Moved>,
}

impl Run {
    fn start(bench: &Bench, server: &'static Server, role: Role) -> io::Result<Run> {
        let mut child = Child::serve(server, role, bench.cpus.server, bench.fifo)?;
        let stream = TcpStream::connect(child.address)?;
        let before = child.usage()?;
        let mut run = Run { server, child, role, stream, chunk: vec![0; CHUNK_LEN], before, moved: Vec::new() };
        run.go(|bytes, _| bytes >= WARM_BYTES)?;
        run.before = run.child.usage()?;
        Ok(run)
    }

    fn slice(&mut self, bench: &Bench) -> io::Result<()> {
        self.go(|_, elapsed| elapsed >= WARMUP)?;
        let before = bench.mark(&self.child)?;
        let (bytes, elapsed) = self.go(|_, elapsed| elapsed >= SLICE)?;
        let after = bench.mark(&self.child)?;
        self.moved.push(Moved { before, after, bytes, elapsed });
        Ok(())
    }

    fn go(&mut self, done: impl Fn(u64, Duration) -> bool) -> io::Result<(u64, Duration)> {
        let (start, mut bytes) = (Instant::now(), 0);
        while !done(bytes, start.elapsed()) {
            bytes += match self.role {
                Role::Source => receive(&mut self.stream, &mut self.chunk)?,
                Role::Sink | Role::Echo => {
                    self.stream.write_all(&self.chunk)?;
                    self.chunk.len() as u64
                }
            };
        }
        Ok((bytes, start.elapsed()))
    }

    /// A row for each placement in which it was long enough.
    fn rows(&mut self, direction: &'static str, round: u32) -> io::Result<Vec<Row>> {
        let user = user_part(self.before, self.child.usage()?);
        let mut rows = Vec::new();
        for placement in Placement::ALL {
            let there = |slice: &&Moved| Mark::placement(&slice.before, &slice.after) == Some(placement);
            let moved: Vec<&Moved> = self.moved.iter().filter(there).collect();
            if moved.len() < SLICES_MIN {
                continue;
            }
            let of = |figure: &dyn Fn(&Moved) -> f64| median(&mut moved.iter().map(|m| figure(m)).collect::<Vec<_>>());
            let cpu_s_per_gb = of(&|m| Mark::used(&m.before, &m.after).as_secs_f64() / m.gb());
            rows.push(Row {
                server: self.server.name,
                direction,
                round,
                placement,
                gb_per_s: of(&|m| m.gb() / m.elapsed.as_secs_f64()),
                cpu_s_per_gb,
                user_s_per_gb: cpu_s_per_gb * user,
                crossing_ns: of(&|m| m.before.crossing.ns),
                slices: moved.len(),
            });
        }
        Ok(rows)
    }
}

/// One slice. (What is in the sockets' buffers at its ends is small beside it, and about the same.)
struct Moved {
    before: Mark,
    after: Mark,
    bytes: u64,
    elapsed: Duration,
}

impl Moved {
    fn gb(&self) -> f64 {
        self.bytes as f64 / 1e9
    }
}

fn receive(stream: &mut TcpStream, chunk: &mut [u8]) -> io::Result<u64> {
    match stream.read(chunk)? {
        0 => Err(io::Error::other("the source ended")),
        len => Ok(len as u64),
    }
}

fn print(placement: Placement, servers: &[&'static Server], rows: &[&Row]) {
    let mut lines: Vec<_> = servers
        .iter()
        .filter_map(|server| {
            let of = || rows.iter().filter(|row| row.server == server.name);
            let cpu = Spread::of(of().map(|row| row.cpu_s_per_gb))?;
            Some((server, cpu, Spread::of(of().map(|row| row.gb_per_s))?, mean(of().map(|row| row.user_s_per_gb))))
        })
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    println!("{placement} ({:.0} ns)", mean(rows.iter().map(|row| row.crossing_ns)));
    let mut table = Table::new(&["server", "CPU ms/GB [min-max]", "user ms/GB", "GB/s [min-max]"]);
    for (server, cpu, speed, user) in &lines {
        let cpu_ms = Spread { median: cpu.median * 1e3, min: cpu.min * 1e3, max: cpu.max * 1e3 };
        table.row(vec![server.name.to_owned(), cpu_ms.show(), number(user * 1e3), speed.show()]);
    }
    table.print();
    let best = |kind| lines.iter().find(|line| line.0.kind == kind);
    for (server, cpu, ..) in lines.iter().filter(|line| line.0.kind == Kind::Ringio) {
        for (what, best) in [("floor", best(Kind::Raw)), ("best peer", best(Kind::Peer))] {
            if let Some((other, least, ..)) = best {
                println!("  {} / {what} ({}): {:.3}", server.name, other.name, cpu.median / least.median);
            }
        }
    }
}
