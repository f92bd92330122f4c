//! A write that is cancelled or dropped tears nothing apart: bytes arrive in order, none twice, and a count is true.

use std::{io, io::Read, thread, time::Duration};

use bytes::Bytes;
use ringio::{BufResult, cancelled, wait_for};

use super::stages::{Stage, cancel_at, drop_at, stages};
use crate::support::{
    PATIENCE, Rng, each_profile, settled,
    wire::{fill, read_all, read_exactly, stream_pair, tcp_pair},
};

/// More than all buffers of a connection hold.
const LARGE: usize = 16 << 20;

/// A stream whose every position shows: the numbers below `PERIOD`, again and again.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..PERIOD as u8).collect();
    let mut bytes = period[from % PERIOD..].to_vec();
    while bytes.len() < len {
        bytes.extend_from_slice(&period);
    }
    bytes.truncate(len);
    bytes
}

const PERIOD: usize = 251;

#[track_caller]
fn assert_pattern(bytes: &[u8]) {
    let period = pattern(0, PERIOD);
    let torn = bytes.chunks(PERIOD).position(|chunk| chunk != &period[..chunk.len()]);
    assert_eq!(torn, None, "the stream is torn at this multiple of {PERIOD}");
}

#[test]
fn message_after_a_timed_out_large_write_comes_after_all_of_it() {
    // lessons row 5; SW9
    each_profile(|_, runner| {
        runner.run(async {
            let (_reader, mut writer, peer) = stream_pair().await;
            writer.write_owned(pattern(0, LARGE)).unwrap();
            let error = wait_for(writer.drain(), Duration::from_millis(2)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            writer.write(b"and then this").unwrap();
            let error = wait_for(writer.drain(), Duration::from_millis(2)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            writer.close();
            let reading = thread::spawn(move || read_all(peer));
            wait_for(writer.wait_closed(), PATIENCE).await.unwrap();
            let got = reading.join().unwrap();
            assert_eq!(got.len(), LARGE + 13);
            assert_pattern(&got[..LARGE]);
            assert_eq!(&got[LARGE..], b"and then this");
            settled().await;
        });
    });
}

#[test]
fn message_after_a_timed_out_owned_write_comes_after_a_prefix_of_it() {
    // lessons rows 4 and 5: not interleaved, and the buffer comes back
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, peer) = tcp_pair();
            let buffer = pattern(0, LARGE);
            let address = buffer.as_ptr();
            let BufResult(result, buffer) = wait_for(stream.write_all(buffer), Duration::from_millis(2)).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!((buffer.as_ptr(), buffer.len()), (address, LARGE));
            let reading = thread::spawn(move || read_all(peer));
            wait_for(stream.write_all(&b"\xffand then this"[..]), PATIENCE).await.0.unwrap();
            wait_for(stream.close(), PATIENCE).await.unwrap();
            let got = reading.join().unwrap();
            assert!(got.len() < LARGE);
            assert_pattern(&got[..got.len() - 14]);
            assert!(got.ends_with(b"\xffand then this"));
            settled().await;
        });
    });
}

#[test]
fn message_after_a_dropped_owned_write_comes_after_a_prefix_of_it() {
    // lessons row 5; L6: the next send waits for the final completion of the dropped one
    each_profile(|_, runner| {
        runner.run(async {
            for before in [0, 1, 3] {
                let (mut stream, peer) = tcp_pair();
                let stage = Stage { before, after: 1 };
                assert!(drop_at(stage, || (), stream.write_all(pattern(0, LARGE))).await.is_none());
                let reading = thread::spawn(move || read_all(peer));
                wait_for(stream.write_all(&b"\xffand then this"[..]), PATIENCE).await.0.unwrap();
                wait_for(stream.close(), PATIENCE).await.unwrap();
                let got = reading.join().unwrap();
                assert_pattern(&got[..got.len() - 14]);
                assert!(got.ends_with(b"\xffand then this"));
            }
            settled().await;
        });
    });
}

#[test]
fn counts_of_cancelled_single_writes_are_true() {
    // lessons row 5c
    const TOTAL: usize = 24 << 20;
    let mut rng = Rng::new("counts_of_cancelled_single_writes");
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, mut peer) = tcp_pair();
            let (mut sent, mut timeouts, pause) = (0, 0, rng.below(40_000));
            let reading = thread::spawn(move || {
                let (mut got, mut chunk) = (Vec::new(), vec![0; 256 * 1024]);
                loop {
                    let count = peer.read(&mut chunk).expect("the stream ends");
                    if count == 0 {
                        return got;
                    }
                    got.extend_from_slice(&chunk[..count]);
                    (0..pause).for_each(|_| std::hint::spin_loop());
                }
            });
            while sent < TOTAL {
                let buffer = pattern(sent, 1 << 20);
                match wait_for(stream.write(buffer), rng.micros(400)).await.0 {
                    Ok(count) => sent += count,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                        timeouts += 1;
                    }
                }
            }
            stream.close().await.unwrap();
            let got = reading.join().unwrap();
            eprintln!("{timeouts} timeouts");
            assert_eq!(got.len(), sent, "the counts of the writes are wrong");
            assert_pattern(&got);
            settled().await;
        });
    });
}

#[test]
fn cancelled_drains_tear_no_stream() {
    // SW9: cancelling a drain never withdraws data already queued
    let mut rng = Rng::new("cancelled_drains");
    each_profile(|_, runner| {
        runner.run(async {
            let (_reader, mut writer, peer) = stream_pair().await;
            let reading = thread::spawn(move || read_all(peer));
            let mut written = 0;
            for _ in 0..300 {
                let len = rng.below(100_000);
                if rng.below(2) == 0 {
                    writer.write(&pattern(written, len)).unwrap();
                } else {
                    writer.write_owned(Bytes::from(pattern(written, len))).unwrap();
                }
                written += len;
                match rng.below(3) {
                    0 => drop(wait_for(writer.drain(), rng.micros(200)).await),
                    1 => drop(drop_at(Stage { before: rng.below(3), after: 0 }, || (), writer.drain()).await),
                    _ => {}
                }
            }
            writer.write_eof().unwrap();
            writer.close();
            wait_for(writer.wait_closed(), PATIENCE).await.unwrap();
            let got = reading.join().unwrap();
            assert_eq!(got.len(), written);
            assert_pattern(&got);
            settled().await;
        });
    });
}

#[test]
fn pipe_write_ended_at_any_stage_has_written_what_it_says() {
    // L4: the count, or nothing
    each_profile(|_, runner| {
        runner.run(async {
            for stage in stages() {
                let (peer, writer) = io::pipe().unwrap();
                let full = fill(&writer);
                let writer = ringio::Descriptor::new(writer.into());
                let body = async move {
                    let BufResult(count, back) = writer.write(vec![2; 60_000]).await;
                    assert_eq!(back, vec![2; 60_000]);
                    count
                };
                let free = || assert_eq!(read_exactly(&peer, 8192).len(), 8192);
                let written = cancel_at(stage, free, body).await.unwrap_or_else(|error| {
                    assert!(cancelled(&error).is_some(), "{error}");
                    0
                });
                assert_eq!(8192 + read_all(&peer).len(), full + written, "{stage:?}");
            }
            settled().await;
        });
    });
}

#[test]
fn dropped_write_on_a_full_pipe_ends() {
    each_profile(|_, runner| {
        runner.run(async {
            let (reader, writer) = io::pipe().unwrap();
            let full = fill(&writer);
            let writer = ringio::Descriptor::new(writer.into());
            for stage in stages() {
                assert!(drop_at(stage, || (), writer.write(vec![9; 100])).await.is_none());
                assert!(drop_at(stage, || (), writer.writable()).await.is_none());
            }
            settled().await;
            drop(writer);
            assert_eq!(read_all(reader).len(), full, "a write that could not begin has written");
        });
    });
}
