//! A runtime that goes while operations of every kind are in flight takes everything with it, and frees nothing that the
//! kernel may still write.

use std::{
    any::Any,
    io::{ErrorKind, PipeWriter, Read, Write},
    net::TcpStream as Peer,
    time::{Duration, Instant},
};

use futures::poll;
use ringio::{Descriptor, Outcome, ReportKind, Runner, TcpListener, TcpStream, create_task, sleep, wait_for};

use super::stages::turns;
use crate::support::{
    PROFILES, Reports, Rng, alone,
    canary::{CANARY, Quarantine},
    process::{assert_descriptors, descriptors, resident_kib, threads},
    settled,
    wire::{self, fill, full_listener, narrow_pair, nonblocking, pair, stream_pair},
};

/// The other ends of what a runtime does.
struct World {
    quarantine: Quarantine,
    lent: usize,
    pipes: Vec<PipeWriter>,
    sockets: Vec<Peer>,
    others: Vec<Box<dyn Any>>,
    listening: u16,
    unreachable: std::net::SocketAddr,
}

fn spawn<F>(body: F)
where
    F: Future + 'static,
    F::Output: Outcome,
{
    drop(create_task(body));
}

impl World {
    fn new(listening: u16, unreachable: std::net::SocketAddr) -> World {
        let (quarantine, lent, others) = (Quarantine::default(), 0, Vec::new());
        World { quarantine, lent, pipes: Vec::new(), sockets: Vec::new(), others, listening, unreachable }
    }

    fn lend(&mut self, len: usize) -> crate::support::canary::Canary {
        self.lent += 1;
        self.quarantine.buffer(len, 1)
    }

    /// Puts one operation of the kind in flight.
    async fn start(&mut self, kind: usize) {
        match kind % KINDS {
            0 => {
                let (reader, writer) = wire::pipe();
                let buffer = self.lend(512);
                self.pipes.push(writer);
                spawn(async move { reader.read(buffer).await });
            }
            1 => {
                let (ours, peer) = pair();
                let (mut stream, buffer) = (TcpStream::from_fd(ours).unwrap(), self.lend(512));
                self.sockets.push(peer);
                spawn(async move { stream.read(buffer).await });
            }
            2 => {
                let (mut reader, writer, peer) = stream_pair().await;
                self.sockets.push(peer);
                spawn(async move { reader.readline().await.map(|_| drop(writer)) });
            }
            3 => {
                let (ours, peer) = narrow_pair();
                let (mut stream, buffer) = (TcpStream::from_fd(ours).unwrap(), self.lend(64 * 1024));
                self.sockets.push(peer);
                spawn(async move { stream.write_all(buffer).await });
            }
            4 => {
                let (reader, mut writer, peer) = stream_pair().await;
                writer.write_owned(vec![1; 3 << 20]).unwrap();
                self.sockets.push(peer);
                spawn(async move { writer.drain().await.map(|()| drop(reader)) });
            }
            _ => self.start_more(kind % KINDS),
        }
    }

    fn start_more(&mut self, kind: usize) {
        match kind {
            5 => {
                let (reader, writer) = std::io::pipe().unwrap();
                fill(&writer);
                let (writer, buffer) = (Descriptor::new(writer.into()), self.lend(512));
                self.others.push(Box::new(reader));
                spawn(async move { writer.write(buffer).await });
            }
            6 => {
                let (reader, writer) = wire::pipe();
                self.pipes.push(writer);
                spawn(async move { reader.readable().await });
            }
            7 => {
                let (reader, writer) = std::io::pipe().unwrap();
                fill(&writer);
                let writer = Descriptor::new(writer.into());
                self.others.push(Box::new(reader));
                spawn(async move { writer.writable().await });
            }
            8 => {
                let address = self.unreachable;
                spawn(async move { TcpStream::connect(address).await });
            }
            9 => spawn(async { sleep(Duration::from_secs(3600)).await }),
            10 => {
                let (listener, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), self.listening);
                // The address that was in use a moment ago; the first of many takes it.
                let listener = TcpListener::bind(("127.0.0.1", port)).unwrap_or(listener);
                spawn(async move { listener.accept().await });
            }
            _ => unreachable!("{KINDS} kinds"),
        }
    }

    /// Nobody is there any more: what the peers write now must land nowhere.
    fn write_after_the_end(&mut self) {
        for pipe in &mut self.pipes {
            assert!(pipe.write_all(b"too late").is_err(), "a pipe is still open on our side");
        }
        for socket in &mut self.sockets {
            let _ = socket.write_all(&[7; 64]);
            nonblocking(&*socket);
            let mut chunk = [0; 16 * 1024];
            while let Ok(count @ 1..) = socket.read(&mut chunk) {
                assert!(!chunk[..count].contains(&CANARY), "freed memory was sent");
            }
        }
        self.quarantine.assert_untouched();
        assert_eq!(self.quarantine.len(), self.lent, "lent memory was not given back");
    }
}

const KINDS: usize = 11;

/// One life: starts operations, lets some turns pass, ends.
fn live_and_end(world: &mut World, profile: &str, operations: usize, turns_before: usize, grace: Duration) {
    let reports = Reports::default();
    let builder = Runner::builder().profile(profile).handle_ctrl_c(false).shutdown_timeout(grace);
    let mut runner = reports.hear(builder).build().unwrap();
    runner.run(async {
        for kind in 0..operations {
            world.start(kind).await;
        }
        turns(turns_before).await;
    });
    let start = Instant::now();
    drop(runner);
    assert!(start.elapsed() < Duration::from_secs(3), "the end took {:?}", start.elapsed());
    assert_eq!(reports.of(ReportKind::OperationsLeaked), 0, "{:?}", reports.texts());
    world.write_after_the_end();
}

#[test]
fn thousand_runtimes_dropped_with_operations_in_flight_leave_nothing() {
    // S7, L10; lessons row 9 and §3 rows 1 and 14
    alone(&thousand_runtimes_dropped_with_operations_in_flight_leave_nothing, || {
        let mut rng = Rng::new("thousand_runtimes_dropped");
        let ((full, waiting), port) = (full_listener(), wire::quiet_port());
        let address = full.local_addr().unwrap();
        let (before, threads_before) = (descriptors(), threads());
        let mut memory = 0;
        for round in 0..1000 {
            let mut world = World::new(port, address);
            // Without any grace the bodies are dropped with all in flight; with some, they end by a cancel.
            let grace = if round % 2 == 0 { Duration::ZERO } else { Duration::from_secs(5) };
            live_and_end(&mut world, PROFILES[round % 3], KINDS, rng.below(4), grace);
            drop(world);
            assert_descriptors(&before);
            assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "the port is not free");
            if round == 300 {
                memory = resident_kib();
            }
        }
        let grown = resident_kib().saturating_sub(memory);
        assert!(grown < 8 * 1024, "700 runtimes left {grown} KiB");
        assert!(threads() <= threads_before, "{} threads were left", threads() - threads_before);
        drop((full, waiting));
    });
}

#[test]
fn runtime_dropped_with_hundreds_of_operations_in_flight_leaves_nothing() {
    // lessons row 9: 500 operations
    alone(&runtime_dropped_with_hundreds_of_operations_in_flight_leaves_nothing, || {
        let ((full, waiting), port) = (full_listener(), wire::quiet_port());
        let address = full.local_addr().unwrap();
        let before = descriptors();
        for round in 0..6 {
            let mut world = World::new(port, address);
            let grace = if round % 2 == 0 { Duration::ZERO } else { Duration::from_secs(5) };
            live_and_end(&mut world, PROFILES[round % 3], 330, 2, grace);
            drop(world);
            assert_descriptors(&before);
        }
        drop((full, waiting));
    });
}

#[test]
fn memory_of_a_dropped_operation_stays_lent_until_the_kernel_is_done() {
    // S1: the peer writes before the cancel gets through
    crate::support::each_profile(|_, runner| {
        runner.run(async {
            let quarantine = Quarantine::default();
            for round in 0..200 {
                let (reader, mut writer) = wire::pipe();
                let mut read = Box::pin(reader.read(quarantine.buffer(4096, 1)));
                assert!(poll!(&mut read).is_pending());
                turns(round % 3).await;
                drop(read);
                writer.write_all(&[2; 4096]).unwrap();
                quarantine.assert_untouched();
                turns(round % 2).await;
                quarantine.assert_untouched();
                drop((reader, writer));
            }
            for round in 0..20 {
                let (ours, mut peer) = narrow_pair();
                let mut stream = TcpStream::from_fd(ours).unwrap();
                let mut write = Box::pin(stream.write_all(quarantine.buffer(256 * 1024, 1)));
                assert!(poll!(&mut write).is_pending());
                turns(round % 3).await;
                drop(write);
                nonblocking(&peer);
                let mut chunk = [0; 64 * 1024];
                for _ in 0..50 {
                    match peer.read(&mut chunk) {
                        Ok(count) => assert!(!chunk[..count].contains(&CANARY), "freed memory was sent"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                    turns(1).await;
                }
            }
            settled().await;
            quarantine.assert_untouched();
            assert_eq!(quarantine.len(), 220, "lent memory was not given back");
        });
    });
}

/// Ends a runtime while something of it is kept elsewhere; in a process of its own, once for each profile.
fn keep_past_the_end<K>(what: &str, make: impl AsyncFn() -> K) {
    let before = descriptors();
    for profile in PROFILES {
        let reports = Reports::default();
        let mut runner = reports.hear(Runner::builder().profile(profile).handle_ctrl_c(false)).build().unwrap();
        let kept = runner.run(make());
        let start = Instant::now();
        drop(runner);
        let took = start.elapsed();
        assert!(took < Duration::from_millis(500), "{what}, {profile}: the end took {took:?}, {:?}", reports.texts());
        assert_eq!(reports.of(ReportKind::OperationsLeaked), 0, "{what}, {profile}: {:?}", reports.texts());
        drop(kept);
        assert_descriptors(&before);
    }
}

#[test]
fn streams_kept_past_the_end_of_their_runtime_are_harmless() {
    // S7, L10: a receive that the end has cancelled is not started again
    alone(&streams_kept_past_the_end_of_their_runtime_are_harmless, || {
        keep_past_the_end("a stream", async || {
            let (mut reader, writer, peer) = stream_pair().await;
            wait_for(reader.read(9), Duration::from_micros(100)).await.unwrap_err();
            (reader, writer, peer)
        });
        keep_past_the_end("a stream with unsent bytes", async || {
            let (reader, mut writer, peer) = stream_pair().await;
            writer.write_owned(vec![1; 8 << 20]).unwrap();
            wait_for(writer.drain(), Duration::from_micros(100)).await.unwrap_err();
            (reader, writer, peer)
        });
    });
}

#[test]
fn listeners_kept_past_the_end_of_their_runtime_are_harmless() {
    // S7, L10
    alone(&listeners_kept_past_the_end_of_their_runtime_are_harmless, || {
        keep_past_the_end("a listener", async || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            wait_for(listener.accept(), Duration::from_micros(100)).await.unwrap_err();
            listener
        });
        keep_past_the_end("a listener with connections that nobody took", async || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            wait_for(listener.accept(), Duration::from_micros(100)).await.unwrap_err();
            let clients: Vec<_> = (0..10).map(|_| wire::connect(listener.local_addr().unwrap())).collect();
            turns(5).await;
            (listener, clients)
        });
    });
}

#[test]
fn futures_kept_past_the_end_of_their_runtime_are_harmless() {
    // S7, L10: an operation that has ended and that nobody has looked at, too
    alone(&futures_kept_past_the_end_of_their_runtime_are_harmless, || {
        let (quarantine, server) = (Quarantine::default(), wire::listener());
        let address = server.local_addr().unwrap();
        keep_past_the_end("a read in flight", async || {
            let ((descriptor, pipe), buffer) = (wire::pipe(), quarantine.buffer(512, 1));
            let mut read = Box::pin(async move { descriptor.read(buffer).await });
            assert!(poll!(&mut read).is_pending());
            turns(2).await;
            (read, pipe)
        });
        assert_eq!(quarantine.len(), PROFILES.len());
        quarantine.assert_untouched();
        keep_past_the_end("a read that has ended", async || {
            let (descriptor, mut pipe) = wire::pipe();
            let mut read = Box::pin(async move { descriptor.read(vec![0; 512]).await });
            assert!(poll!(&mut read).is_pending());
            pipe.write_all(b"value").unwrap();
            turns(5).await;
            (read, pipe)
        });
        keep_past_the_end("a connect that has ended", async || {
            let mut connect = Box::pin(TcpStream::connect(address));
            assert!(poll!(&mut connect).is_pending());
            turns(5).await;
            vec![connect]
        });
    });
}

#[test]
fn forgotten_futures_keep_what_they_lent_and_close_nothing_early() {
    // lessons §3 row 2: mem::forget is safe
    crate::support::each_profile(|_, runner| {
        let quarantine = Quarantine::default();
        let mut writers = Vec::new();
        runner.run(async {
            for _ in 0..50 {
                let (reader, writer) = wire::pipe();
                let buffer = quarantine.buffer(512, 1);
                let mut read = Box::pin(async move { reader.read(buffer).await });
                assert!(poll!(&mut read).is_pending());
                std::mem::forget(read);
                writers.push(writer);
            }
            turns(3).await;
            for writer in &mut writers {
                writer.write_all(b"into lent memory").unwrap();
            }
            turns(3).await;
            quarantine.assert_untouched();
        });
        runner.close();
        quarantine.assert_untouched();
        assert_eq!(quarantine.len(), 50, "what is lent comes back when the runtime ends");
    });
}
