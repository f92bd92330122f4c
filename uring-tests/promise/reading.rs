//! A read that is cancelled or dropped loses no byte, no buffer of the pool, and not the buffer it was lent.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, poll, select_biased};
use ringio::{BufResult, IoBuf, cancelled, sleep, wait_for};

use super::stages::{cancel_at, drop_at, stages};
use crate::support::{
    PATIENCE, Rng, each_profile, settled, until,
    wire::{Racer, pipe, reset, stream_pair, tcp_pair},
};

const ROUNDS: usize = 400;

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

#[test]
fn read_under_a_racing_timeout_loses_no_byte() {
    // lessons row 1; SR of the contract: all bytes stay in the reader
    let mut rng = Rng::new("read_under_a_racing_timeout");
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, writer, peer) = stream_pair().await;
            let (racer, peer) = (Racer::new(), Arc::new(peer));
            let (mut sent, mut got, mut timeouts) = (Vec::new(), Vec::new(), 0);
            for _ in 0..ROUNDS {
                let bytes = rng.chunk(40);
                sent.extend_from_slice(&bytes);
                let peer = peer.clone();
                racer.after(rng.micros(150), move || (&*peer).write_all(&bytes).unwrap());
                match wait_for(reader.read(64), rng.micros(150)).await {
                    Ok(bytes) => got.extend_from_slice(&bytes),
                    Err(error) => {
                        assert!(is_timeout(&error), "{error}");
                        timeouts += 1;
                    }
                }
            }
            racer.finish();
            while got.len() < sent.len() {
                got.extend_from_slice(&wait_for(reader.read(4096), PATIENCE).await.expect("the rest"));
            }
            eprintln!("{timeouts} timeouts of {ROUNDS}");
            assert!(got == sent, "bytes were lost, doubled or reordered");
            drop((reader, writer, peer));
            settled().await;
        });
    });
}

#[test]
fn read_under_a_racing_select_loses_no_byte() {
    // lessons row 1, the column of select: the future is dropped
    let mut rng = Rng::new("read_under_a_racing_select");
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, writer, peer) = stream_pair().await;
            let (racer, peer) = (Racer::new(), Arc::new(peer));
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let bytes = rng.chunk(40);
                sent.extend_from_slice(&bytes);
                let peer = peer.clone();
                racer.after(rng.micros(150), move || (&*peer).write_all(&bytes).unwrap());
                select_biased! {
                    _ = sleep(rng.micros(150)).fuse() => {}
                    bytes = Box::pin(reader.read(64)).fuse() => got.extend_from_slice(&bytes.unwrap()),
                }
            }
            racer.finish();
            while got.len() < sent.len() {
                got.extend_from_slice(&wait_for(reader.read(4096), PATIENCE).await.expect("the rest"));
            }
            assert!(got == sent, "bytes were lost, doubled or reordered");
            drop((reader, writer, peer));
            settled().await;
        });
    });
}

#[test]
fn owned_read_under_a_racing_timeout_loses_neither_bytes_nor_the_buffer() {
    // lessons rows 1 and 4
    let mut rng = Rng::new("owned_read_under_a_racing_timeout");
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, peer) = tcp_pair();
            let (racer, peer) = (Racer::new(), Arc::new(peer));
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            let mut buffer = Vec::with_capacity(64);
            let address = buffer.as_ptr();
            for _ in 0..ROUNDS {
                let bytes = rng.chunk(40);
                sent.extend_from_slice(&bytes);
                let peer = peer.clone();
                racer.after(rng.micros(150), move || (&*peer).write_all(&bytes).unwrap());
                let BufResult(result, back) = wait_for(stream.read(buffer), rng.micros(150)).await;
                assert_eq!(back.as_ptr(), address, "another buffer came back");
                match result {
                    Ok(count) => got.extend_from_slice(&back[..count]),
                    Err(error) => assert!(is_timeout(&error), "{error}"),
                }
                buffer = back;
            }
            racer.finish();
            while got.len() < sent.len() {
                let BufResult(result, back) = wait_for(stream.read(buffer), PATIENCE).await;
                got.extend_from_slice(&back[..result.expect("the rest")]);
                buffer = back;
            }
            assert!(got == sent, "bytes were lost, doubled or reordered");
            drop((stream, peer));
            settled().await;
        });
    });
}

#[test]
fn pipe_read_under_a_racing_timeout_or_select_loses_no_byte() {
    // lessons row 1, for an operation of its own: the verdict is the operation's completion (L4, C10)
    let mut rng = Rng::new("pipe_read_under_a_racing_timeout_or_select");
    each_profile(|_, runner| {
        runner.run(async {
            let (reader, peer) = pipe();
            let (racer, peer) = (Racer::new(), Arc::new(peer));
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let bytes = rng.chunk(40);
                sent.extend_from_slice(&bytes);
                let peer = peer.clone();
                racer.after(rng.micros(150), move || (&*peer).write_all(&bytes).unwrap());
                if round % 2 == 0 {
                    let BufResult(result, back) = wait_for(reader.read(vec![0; 64]), rng.micros(150)).await;
                    match result {
                        Ok(count) => got.extend_from_slice(&back[..count]),
                        Err(error) => assert!(is_timeout(&error), "{error}"),
                    }
                } else {
                    select_biased! {
                        _ = sleep(rng.micros(150)).fuse() => {}
                        read = Box::pin(reader.read(vec![0; 64])).fuse() => {
                            got.extend_from_slice(&read.1[..read.0.unwrap()]);
                        }
                    }
                }
            }
            racer.finish();
            while got.len() < sent.len() {
                let BufResult(result, back) = wait_for(reader.read(vec![0; 64]), PATIENCE).await;
                got.extend_from_slice(&back[..result.expect("the rest")]);
            }
            assert!(got == sent, "bytes were lost, doubled or reordered");
            settled().await;
        });
    });
}

#[test]
fn readexactly_keeps_what_had_come_before_the_timeout() {
    // lessons row 2
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, _writer, mut peer) = stream_pair().await;
            for _ in 0..50 {
                peer.write_all(b"abc").unwrap();
                let error = wait_for(reader.readexactly(10), Duration::from_micros(300)).await.unwrap_err();
                assert!(is_timeout(&error), "{error}");
                peer.write_all(b"defghij").unwrap();
                assert_eq!(wait_for(reader.readexactly(10), PATIENCE).await.unwrap(), "abcdefghij");
                peer.write_all(b"half a ").unwrap();
                assert!(is_timeout(&wait_for(reader.readline(), Duration::from_micros(300)).await.unwrap_err()));
                peer.write_all(b"line\n").unwrap();
                assert_eq!(wait_for(reader.readline(), PATIENCE).await.unwrap(), "half a line\n");
            }
        });
    });
}

#[test]
fn buffer_of_a_timed_out_read_comes_back() {
    // lessons row 4
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, _peer) = tcp_pair();
            let (reader, _writer) = pipe();
            for _ in 0..20 {
                let buffer = vec![7u8; 100];
                let address = buffer.as_ptr();
                let BufResult(result, buffer) = wait_for(stream.read(buffer), Duration::from_micros(100)).await;
                assert!(is_timeout(&result.unwrap_err()));
                assert_eq!((buffer.as_ptr(), &buffer[..]), (address, &[7u8; 100][..]));
                let BufResult(result, window) =
                    wait_for(reader.read(buffer.slice(10..20)), Duration::from_micros(100)).await;
                assert!(is_timeout(&result.unwrap_err()));
                let buffer = window.into_inner();
                assert_eq!((buffer.as_ptr(), &buffer[..]), (address, &[7u8; 100][..]));
                // Also for no time at all, where a plain future would not even be started (WF3).
                let BufResult(result, buffer) = wait_for(reader.read(buffer), Duration::ZERO).await;
                assert!(is_timeout(&result.unwrap_err()));
                assert_eq!(buffer.as_ptr(), address);
            }
        });
    });
}

#[test]
fn stream_read_dropped_at_any_stage_leaves_the_bytes_to_the_next() {
    // L6
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, writer, mut peer) = stream_pair().await;
            for stage in stages() {
                let event = || peer.write_all(b"in between").unwrap();
                assert!(drop_at(stage, event, reader.read(64)).await.is_none());
                let event = || peer.write_all(b", and more").unwrap();
                assert!(drop_at(stage, event, reader.readexactly(25)).await.is_none());
                peer.write_all(b".").unwrap();
                let all = wait_for(reader.readexactly(21), PATIENCE).await.unwrap();
                assert_eq!(all, "in between, and more.", "{stage:?}");
            }
            drop((reader, writer, peer));
            settled().await;
        });
    });
}

#[test]
fn stream_read_cancelled_at_any_stage_leaves_the_bytes_to_the_next() {
    // C10: a read is cancel-first, its stream keeps the bytes
    each_profile(|_, runner| {
        runner.run(async {
            for stage in stages() {
                let (mut reader, writer, mut peer) = stream_pair().await;
                let event = || peer.write_all(b"in between").unwrap();
                let body = async move { (reader.read(64).await, reader) };
                let (result, mut reader) = cancel_at(stage, event, body).await;
                let got = match result {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        assert!(cancelled(&error).is_some(), "{error}");
                        wait_for(reader.read(64), PATIENCE).await.unwrap()
                    }
                };
                assert_eq!(got, "in between", "{stage:?}");
                drop(writer);
                settled().await;
            }
        });
    });
}

#[test]
fn pipe_read_dropped_at_any_stage_leaves_the_bytes_to_the_next() {
    // L6
    each_profile(|_, runner| {
        runner.run(async {
            let (reader, mut peer) = pipe();
            for stage in stages() {
                let event = || peer.write_all(b"in between").unwrap();
                assert!(drop_at(stage, event, reader.read(vec![0; 4])).await.is_none());
                let mut got = Vec::new();
                while got.len() < 10 {
                    let BufResult(count, buffer) = wait_for(reader.read(vec![0; 64]), PATIENCE).await;
                    got.extend_from_slice(&buffer[..count.unwrap()]);
                }
                assert_eq!(got, b"in between", "{stage:?}");
            }
            settled().await;
        });
    });
}

#[test]
fn pipe_read_cancelled_at_any_stage_returns_the_bytes_or_leaves_them() {
    // L4: its own completion is the verdict
    each_profile(|_, runner| {
        runner.run(async {
            for stage in stages() {
                let (reader, mut peer) = pipe();
                let event = || peer.write_all(b"in between").unwrap();
                let body = async move { (reader.read(vec![0; 64]).await, reader) };
                let (BufResult(result, buffer), reader) = cancel_at(stage, event, body).await;
                let BufResult(count, buffer) = match result {
                    Ok(count) => BufResult(Ok(count), buffer),
                    Err(error) => {
                        assert!(cancelled(&error).is_some(), "{error}");
                        wait_for(reader.read(buffer), PATIENCE).await
                    }
                };
                assert_eq!(&buffer[..count.unwrap()], b"in between", "{stage:?}");
                settled().await;
            }
        });
    });
}

#[test]
fn readable_and_writable_end_at_any_stage() {
    // L6: a poll takes nothing
    each_profile(|_, runner| {
        runner.run(async {
            let (reader, mut peer) = pipe();
            for stage in stages() {
                assert!(drop_at(stage, || peer.write_all(b"x").unwrap(), reader.readable()).await.is_none());
                wait_for(reader.readable(), PATIENCE).await.unwrap();
                let BufResult(count, _) = wait_for(reader.read(vec![0; 64]), PATIENCE).await;
                assert_eq!(count.unwrap(), 1);
                let error = wait_for(reader.readable(), Duration::from_micros(100)).await.unwrap_err();
                assert!(is_timeout(&error));
            }
            settled().await;
        });
    });
}

#[test]
fn end_of_stream_is_seen_by_the_read_after_a_dropped_one() {
    each_profile(|_, runner| {
        runner.run(async {
            for stage in stages() {
                let (mut reader, writer, mut peer) = stream_pair().await;
                let event = move || {
                    peer.write_all(b"last").unwrap();
                    drop(peer);
                };
                drop_at(stage, event, reader.read(64)).await;
                assert_eq!(wait_for(reader.read(64), PATIENCE).await.unwrap(), "last");
                assert_eq!(wait_for(reader.read(64), PATIENCE).await.unwrap(), "");
                assert!(reader.at_eof());
                drop(writer);
            }
            settled().await;
        });
    });
}

#[test]
fn bytes_that_came_before_a_reset_are_read_before_the_error() {
    // SR7; contract flaw 21
    each_profile(|_, runner| {
        runner.run(async {
            for _ in 0..16 {
                let (mut reader, writer, mut peer) = stream_pair().await;
                assert!(poll!(Box::pin(reader.read(64))).is_pending());
                peer.write_all(b"12345").unwrap();
                // They reach us before the reset, which throws away what is still in the socket.
                until("five bytes are buffered", || format!("{reader:?}").contains("buffered: 5,")).await;
                reset(peer);
                let error = wait_for(reader.readexactly(10), PATIENCE).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                assert_eq!(wait_for(reader.read(64), PATIENCE).await.unwrap(), "12345");
                let error = wait_for(reader.read(64), PATIENCE).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                drop(writer);
            }
            settled().await;
        });
    });
}
