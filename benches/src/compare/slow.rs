//! What does a peer cost that hardly reads? Each server writes to all of them for as long as they take it. Guards: `drain`
//! holds every writer to its marks, so that memory is bounded by the number of connections, however long it goes on.

use std::{
    io::{self, Read},
    net::TcpStream,
    thread,
    time::Duration,
};

use serde::Serialize;

use super::{Bench, Options, idle::Memory};
use crate::{
    child::Child,
    report::{Spread, Table},
    serve::Role,
    servers::Server,
};

/// Rounds of reading a little from everybody, and how much that is.
const SIPS: usize = 20;
const SIP_BYTES: usize = 4096;
const PAUSE: Duration = Duration::from_millis(20);

/// One line of `--json`.
#[derive(Serialize)]
struct Row {
    server: &'static str,
    connections: usize,
    round: u32,
    /// Bytes of the process per connection when all had filled up, and the most while they were read from.
    full_bytes: f64,
    most_bytes: f64,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = options.servers()?;
    let rounds = options.rounds(2, 1);
    let connections = options.connections.min(1000);
    println!("slow readers: bytes of the server's process per connection, {connections} of them, {rounds} rounds");
    let rows =
        bench.each_round(&servers, rounds, |bench, server, round| bench_one(bench, server, connections, round))?;
    print(&servers, &rows);
    Ok(())
}

fn bench_one(bench: &Bench, server: &'static Server, connections: usize, round: u32) -> io::Result<Row> {
    let child = Child::serve(server, Role::Source, bench.cpus.server, bench.fifo)?;
    let before = Memory::of(child.id())?.rss;
    let mut streams: Vec<TcpStream> =
        (0..connections).map(|_| TcpStream::connect(child.address)).collect::<io::Result<_>>()?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / connections as f64;
    let full = settled(&child)?;
    let mut most = full;
    let mut sip = vec![0; SIP_BYTES];
    for _ in 0..SIPS {
        for stream in &mut streams {
            stream.read_exact(&mut sip)?;
        }
        thread::sleep(PAUSE);
        most = most.max(Memory::of(child.id())?.rss);
    }
    // First, or it would report a reset of each.
    drop(child);
    Ok(Row { server: server.name, connections, round, full_bytes: each(full), most_bytes: each(most) })
}

/// When it does not grow any more.
fn settled(child: &Child) -> io::Result<u64> {
    let mut last = 0;
    loop {
        let now = Memory::of(child.id())?.rss;
        if now <= last {
            return Ok(now);
        }
        last = now;
        thread::sleep(10 * PAUSE);
    }
}

fn print(servers: &[&'static Server], rows: &[Row]) {
    let of = |name, figure: fn(&Row) -> f64| Spread::of(rows.iter().filter(|row| row.server == name).map(figure));
    let mut lines: Vec<_> = servers
        .iter()
        .filter_map(|server| {
            Some((server.name, of(server.name, |row| row.full_bytes)?, of(server.name, |row| row.most_bytes)?))
        })
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let mut table = Table::new(&["server", "KiB/connection, nobody reads", "most while they sip"]);
    for (name, full, most) in lines {
        let kib = |spread: Spread| format!("{:.1}", spread.median / 1024.0);
        table.row(vec![name.to_owned(), kib(full), kib(most)]);
    }
    table.print();
}
