//! Contract 8 over pipes: the streams of a child process, and whatever else is read and written in order.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use ringio::{StreamReader, StreamWriter, create_task, wait_for};

use super::{is_cancel, on_ring, turns};

fn pipe(limit: usize) -> (StreamReader, StreamWriter) {
    let (reader, writer) = io::pipe().unwrap();
    (StreamReader::from_pipe(reader.into(), limit).unwrap(), StreamWriter::from_pipe(writer.into()))
}

#[test]
fn what_is_written_comes_out_until_the_end() {
    // SR1, SR2, SR5, SR6, SW9
    on_ring(async || {
        let (mut reader, mut writer) = pipe(64 * 1024);
        writer.write(b"one\ntwo").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "one\n");
        assert_eq!(reader.read(100).await.unwrap(), "two");
        let big: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        for piece in big.chunks(70_001) {
            writer.write(piece).unwrap();
        }
        assert_eq!(reader.readexactly(big.len()).await.unwrap(), big);
        writer.write(b"end").unwrap();
        writer.close();
        assert_eq!(reader.readexactly(3).await.unwrap(), "end");
        assert_eq!(reader.read(1).await.unwrap(), "");
        assert!(reader.at_eof());
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn end_of_a_pipe_is_its_close() {
    // SW5
    on_ring(async || {
        let (mut reader, mut writer) = pipe(64);
        assert!(writer.can_write_eof());
        writer.write(b"last").unwrap();
        writer.write_eof().unwrap();
        writer.write_eof().unwrap();
        assert!(writer.write(b"more").is_err());
        assert_eq!(reader.readexactly(4).await.unwrap(), "last");
        assert_eq!(reader.read(1).await.unwrap(), "");
        writer.close();
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn cancelled_and_dropped_reads_of_a_pipe_lose_nothing() {
    // SR10: the read is in flight when its future goes; its bytes belong to the stream.
    on_ring(async || {
        let (reader, writer) = io::pipe().unwrap();
        let mut writer = writer;
        let mut reader = StreamReader::from_pipe(reader.into(), 64).unwrap();
        for round in 0..50u8 {
            let waited = wait_for(reader.readexactly(2), Duration::from_micros(u64::from(round) * 7)).await;
            assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
            writer.write_all(&[round]).unwrap();
            {
                let mut dropped = std::pin::pin!(reader.readexactly(2));
                futures::future::poll_fn(|cx| {
                    assert!(dropped.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            }
            turns(usize::from(round % 3)).await;
            writer.write_all(&[round]).unwrap();
            assert_eq!(reader.readexactly(2).await.unwrap(), [round, round][..]);
        }
    });
}

#[test]
fn full_pipe_makes_drain_wait_and_a_cancel_withdraws_nothing() {
    // SW2, SW9
    on_ring(async || {
        let (mut reader, mut writer) = pipe(64);
        const SIZE: usize = 1 << 20;
        writer.write_owned(vec![6; SIZE]).unwrap();
        let task = create_task(async move {
            let drained = writer.drain().await;
            writer.close();
            drained
        });
        turns(10).await;
        assert!(!task.done());
        task.cancel();
        assert!(is_cancel(&task.await.unwrap_err()));
        assert_eq!(reader.readexactly(SIZE).await.unwrap(), vec![6; SIZE]);
        assert_eq!(reader.read(1).await.unwrap(), "");
    });
}

#[test]
fn nobody_reading_is_a_broken_pipe() {
    // PR9
    on_ring(async || {
        let (reader, mut writer) = pipe(64);
        drop(reader);
        turns(3).await;
        writer.write(b"for nobody").unwrap();
        assert_eq!(writer.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.write(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        writer.close();
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn dropped_ends_close_their_descriptors_even_while_a_read_is_in_flight() {
    // SW8
    on_ring(async || {
        let (reader, mut far) = io::pipe().unwrap();
        let mut reader = StreamReader::from_pipe(reader.into(), 64).unwrap();
        assert!(wait_for(reader.read(1), Duration::from_millis(1)).await.is_err());
        drop(reader);
        turns(5).await;
        let error = far.write(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let (mut far, writer) = io::pipe().unwrap();
        let mut writer = StreamWriter::from_pipe(writer.into());
        writer.write(b"bye").unwrap();
        drop(writer);
        turns(5).await;
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
    });
}

#[test]
fn a_reader_of_a_pipe_needs_a_limit() {
    // OC6
    on_ring(async || {
        let (reader, _writer) = io::pipe().unwrap();
        assert_eq!(StreamReader::from_pipe(reader.into(), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}
