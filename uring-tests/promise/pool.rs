//! The pool of receive buffers: shared by many, lent out, given back late, from anywhere.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use ringio::{Runner, StreamReader, StreamWriter, internals, open_connection, start_server, wait_for};

use super::stages::turns;
use crate::support::{
    PATIENCE, PROFILES, Rng, each_profile, settled,
    wire::{connect, stream_pair},
};

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> std::io::Result<()> {
    loop {
        let data = reader.read(64 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

fn each_small_pool(mut test: impl FnMut(&mut Runner)) {
    for profile in PROFILES {
        let mut runner =
            Runner::builder().buffer_pool(4, 4096).profile(profile).handle_ctrl_c(false).build().expect("a runtime");
        test(&mut runner);
        runner.close();
    }
}

/// Sends and gets back `len` bytes.
async fn ask(address: std::net::SocketAddr, content: Vec<u8>) {
    let (mut reader, mut writer) = open_connection(address).await.unwrap();
    writer.write_owned(content.clone()).unwrap();
    writer.write_eof().unwrap();
    let back = wait_for(reader.readexactly(content.len()), PATIENCE).await.expect("it comes back");
    assert!(back == content, "another stream's bytes came back");
}

#[test]
fn hundred_connections_finish_with_four_buffers() {
    // kernel fact 8: a receive that finds no buffer fails at once, and must be started again
    let mut rng = Rng::new("hundred_connections_finish_with_four_buffers");
    each_small_pool(|runner| {
        runner.run(async {
            let server = start_server(echo, "127.0.0.1:0").backlog(200).await.unwrap();
            let address = server.sockets()[0];
            join_all((0..100).map(|_| ask(address, rng.chunk(50_000)))).await;
            server.close();
            settled().await;
        });
    });
}

#[test]
fn request_and_answer_cost_one_turn_up_to_16_kib() {
    // performance.md: one enter a message at one connection; the send's own completion must not end the wait
    const MESSAGES: usize = 300;
    let mut rng = Rng::new("request_and_answer_cost_one_turn");
    each_profile(|profile, runner| {
        if profile != "full" {
            return;
        }
        runner.run(async {
            for size in [64, 1024, 16 * 1024] {
                let (reader, writer, mut peer) = stream_pair().await;
                let content = rng.bytes(size);
                let before = internals::counts().turns;
                let asker = thread::spawn(move || {
                    let mut back = vec![0; size];
                    for _ in 0..MESSAGES {
                        peer.write_all(&content).unwrap();
                        peer.read_exact(&mut back).unwrap();
                        assert!(back == content, "another message's bytes came back");
                    }
                });
                echo(reader, writer).await.unwrap();
                asker.join().unwrap();
                let turns = (internals::counts().turns - before) as usize;
                assert!(turns < MESSAGES * 3 / 2, "{turns} turns for {MESSAGES} messages of {size} bytes");
            }
            settled().await;
        });
    });
}

#[test]
fn receives_that_starve_are_fed_one_by_one_and_not_all_at_once() {
    // kernel row 17: all at once, those at the end of the line fail again for each that is served
    const CONNECTIONS: usize = 100;
    let mut rng = Rng::new("receives_that_starve_are_fed_one_by_one");
    each_small_pool(|runner| {
        runner.run(async {
            let before = internals::counts().starved;
            let content = rng.bytes(4096);
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let (reader, writer, mut peer) = stream_pair().await;
                peer.write_all(&content).unwrap();
                connections.push((reader, writer, peer));
            }
            let reads = connections.iter_mut().map(|(reader, ..)| wait_for(reader.readexactly(4096), PATIENCE));
            for read in join_all(reads).await {
                assert!(read.expect("everybody is served") == content, "another stream's bytes came");
            }
            let starved = internals::counts().starved - before;
            assert!(starved <= 3 * CONNECTIONS as u64, "{starved} receives found no buffer");
            drop(connections);
            settled().await;
        });
    });
}

#[test]
fn leases_held_long_starve_nobody_and_come_home() {
    // P1
    let mut rng = Rng::new("leases_held_long");
    each_small_pool(|runner| {
        let (held, sent) = runner.run(async {
            let (mut held, mut sent) = (Vec::new(), Vec::new());
            let mut connections = Vec::new();
            for _ in 0..12 {
                let (mut reader, writer, mut peer) = stream_pair().await;
                let content = rng.bytes(12_000);
                peer.write_all(&content).unwrap();
                let mut parts: Vec<Bytes> = Vec::new();
                while parts.iter().map(Bytes::len).sum::<usize>() < content.len() {
                    parts.push(wait_for(reader.read(64 * 1024), PATIENCE).await.expect("a lease starves nobody"));
                }
                held.push(parts);
                sent.push(content);
                connections.push((reader, writer, peer));
            }
            drop(connections);
            (held, sent)
        });
        for (parts, content) in held.iter().zip(&sent) {
            assert!(parts.concat() == *content, "what was lent has changed");
        }
        drop(held);
        runner.run(settled());
    });
}

#[test]
fn leases_come_home_from_other_threads() {
    // P1: dropped late, and elsewhere
    let mut rng = Rng::new("leases_come_home_from_other_threads");
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, writer, mut peer) = stream_pair().await;
            for _ in 0..40 {
                let content = rng.bytes(30_000);
                peer.write_all(&content).unwrap();
                let mut leases = Vec::new();
                let mut count = 0;
                while count < content.len() {
                    let lease = wait_for(reader.read(64 * 1024), PATIENCE).await.unwrap();
                    count += lease.len();
                    leases.push(lease);
                }
                let clones = leases.clone();
                let other = thread::spawn(move || {
                    assert!(leases.concat() == content);
                    drop(leases);
                });
                drop(clones);
                turns(1).await;
                other.join().unwrap();
            }
            drop((reader, writer, peer));
            settled().await;
        });
    });
}

#[test]
fn leases_outlive_their_runtime() {
    // P3, lessons §3 row 20
    let mut rng = Rng::new("leases_outlive_their_runtime");
    each_profile(|_, runner| {
        let content = rng.bytes(40_000);
        let leases = runner.run(async {
            let (mut reader, _writer, mut peer) = stream_pair().await;
            peer.write_all(&content).unwrap();
            let mut leases = Vec::new();
            while leases.iter().map(Bytes::len).sum::<usize>() < content.len() {
                leases.push(wait_for(reader.read(64 * 1024), PATIENCE).await.unwrap());
            }
            leases
        });
        runner.close();
        assert!(leases.concat() == content, "what was lent has changed");
        let other = thread::spawn(move || assert!(leases.concat() == content));
        other.join().expect("the memory is there for the other thread, too");
    });
}

#[test]
fn flooder_does_not_starve_fifty_quiet_clients() {
    // S4; and one that reads nothing does not hold the pool
    each_profile(|_, runner| {
        runner.run(async {
            let server = start_server(echo, "127.0.0.1:0").backlog(200).await.unwrap();
            let address = server.sockets()[0];
            // One that floods and reads nothing back: the server has to stop reading from it.
            let mut flooder = connect(address);
            flooder.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            let stopped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let stop = stopped.clone();
            let flood = thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = flooder.write(&[1; 64 * 1024]);
                }
            });
            let start = Instant::now();
            let mut slowest = Duration::ZERO;
            for round in 0..20u8 {
                let begin = Instant::now();
                join_all((0..50).map(|client| ask(address, vec![round ^ client; 100]))).await;
                slowest = slowest.max(begin.elapsed());
            }
            eprintln!("50 quiet clients, 20 times: {:?}, the slowest round {slowest:?}", start.elapsed());
            assert!(slowest < Duration::from_secs(5), "the quiet ones starve");
            stopped.store(true, std::sync::atomic::Ordering::Relaxed);
            crate::support::until("the flood ends", || flood.is_finished()).await;
            flood.join().unwrap();
            server.close();
            settled().await;
        });
    });
}

#[test]
fn cancelled_reads_with_data_arriving_keep_every_buffer() {
    // lessons §3 row 9
    let mut rng = Rng::new("cancelled_reads_with_data_arriving");
    each_small_pool(|runner| {
        runner.run(async {
            for _ in 0..200 {
                let (mut reader, writer, mut peer) = stream_pair().await;
                let mut read = Box::pin(reader.read(64));
                assert!(futures::poll!(&mut read).is_pending());
                turns(rng.below(3)).await;
                peer.write_all(&rng.chunk(6000)).unwrap();
                turns(rng.below(3)).await;
                drop(read);
                // With bytes in the stream, or on their way into it.
                drop((reader, writer));
                if rng.below(4) == 0 {
                    drop(peer);
                }
            }
            settled().await;
            let counts = internals::counts();
            assert_eq!((counts.buffers_home, counts.buffers), (4, 4));
        });
    });
}

#[test]
fn receiving_stops_at_twice_the_limit_when_nobody_reads() {
    // kernel pitfall 18: what nobody reads stays with the kernel, and holds the sender up
    const LIMIT: usize = 64 * 1024;
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, _writer, mut peer) = stream_pair().await;
            peer.write_all(b"first").unwrap();
            assert_eq!(reader.read(64).await.unwrap(), "first");
            // Small pieces, one at a time: a receive that goes on by itself would take them all.
            crate::support::wire::nonblocking(&peer);
            let mut sent = 0;
            while sent < 20 * LIMIT {
                let Ok(count) = peer.write(&[7; 1024]) else { break };
                sent += count;
                turns(1).await;
            }
            assert!(sent > 3 * LIMIT, "{sent} bytes are no more than the limit");
            let whole = futures::poll!(Box::pin(reader.readexactly(3 * LIMIT)));
            assert!(whole.is_pending(), "thrice the limit is here, though nobody read");
            drop(peer);
            assert_eq!(reader.read_to_end().await.unwrap().len(), sent);
            drop((reader, _writer));
            settled().await;
        });
    });
}
