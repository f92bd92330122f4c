//! What does a connection cost that says nothing? Guards: at most 512 bytes of the process per idle connection.
//!
//! Each connection has exchanged one message, so that whatever is allocated on first use is there. The figure is the
//! growth of the process from a few connections to many: its code and its rings are not counted, nor are buffers that all
//! connections share, because the few have said so much that every one of those was used.

use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
};

use serde::Serialize;

use super::{Bench, Options};
use crate::{
    child::Child,
    report::{Spread, Table},
    serve::{Role, no_delay},
    servers::Server,
};

const WARM: usize = 16;
/// What the warm connections say in turn: more than any server's shared buffers hold.
const WARM_BYTES: usize = 8 << 20;
const MESSAGE: &[u8; 64] = b"sixty-four bytes, said once by each connection and then no more.";

/// One line of `--json`.
#[derive(Serialize)]
struct Row {
    server: &'static str,
    connections: usize,
    round: u32,
    rss_bytes: f64,
    pss_bytes: f64,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let servers = options.servers()?;
    let rounds = options.rounds(3, 1);
    println!("idle: bytes of the server's process per connection, {} of them, {rounds} rounds", options.connections);
    let rows = bench
        .each_round(&servers, rounds, |bench, server, round| bench_one(bench, server, options.connections, round))?;
    print(&servers, &rows);
    Ok(())
}

fn bench_one(bench: &Bench, server: &'static Server, connections: usize, round: u32) -> io::Result<Row> {
    let child = Child::serve(server, Role::Echo, bench.cpus.server, bench.fifo)?;
    let mut warm = connect(child.address, WARM)?;
    use_shared_buffers(&mut warm)?;
    let before = Memory::of(child.id())?;
    let idle = connect(child.address, connections)?;
    let after = Memory::of(child.id())?;
    drop((warm, idle));
    let each = |after: u64, before: u64| (after as f64 - before as f64) / connections as f64;
    Ok(Row {
        server: server.name,
        connections,
        round,
        rss_bytes: each(after.rss, before.rss),
        pss_bytes: each(after.pss, before.pss),
    })
}

fn connect(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let connect_one = |_| {
        let mut stream = TcpStream::connect(address)?;
        no_delay(&stream.as_raw_fd())?;
        stream.write_all(MESSAGE)?;
        let mut echoed = [0; MESSAGE.len()];
        stream.read_exact(&mut echoed)?;
        if &echoed == MESSAGE { Ok(stream) } else { Err(io::Error::other("wrong bytes came back")) }
    };
    (0..count).map(connect_one).collect()
}

fn use_shared_buffers(warm: &mut [TcpStream]) -> io::Result<()> {
    let mut block = [b'w'; 16 * 1024];
    for number in 0..WARM_BYTES / block.len() {
        let stream = &mut warm[number % WARM];
        stream.write_all(&block)?;
        stream.read_exact(&mut block)?;
    }
    Ok(())
}

pub(super) struct Memory {
    pub(super) rss: u64,
    pss: u64,
}

impl Memory {
    pub(super) fn of(process: u32) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let bytes = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("no {name} in smaps_rollup")))
        };
        Ok(Memory { rss: bytes("Rss:")?, pss: bytes("Pss:")? })
    }
}

fn print(servers: &[&'static Server], rows: &[Row]) {
    let of = |name, figure: fn(&Row) -> f64| Spread::of(rows.iter().filter(|row| row.server == name).map(figure));
    let mut lines: Vec<_> = servers
        .iter()
        .filter_map(|server| {
            Some((server.name, of(server.name, |row| row.rss_bytes)?, of(server.name, |row| row.pss_bytes)?))
        })
        .collect();
    lines.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let mut table = Table::new(&["server", "RSS B/connection [min-max]", "PSS B/connection"]);
    for (name, rss, pss) in lines {
        table.row(vec![name.to_owned(), rss.show(), format!("{:.0}", pss.median)]);
    }
    table.print();
}
