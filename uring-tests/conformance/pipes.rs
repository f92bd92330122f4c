//! Pipes.

use std::{io, rc::Rc, time::Duration};

use ringio::{BufResult, create_task, sleep, wait_for};

use super::each_kernel;

#[test]
fn what_is_left_in_a_pipe_comes_before_its_end() {
    each_kernel("what_is_left_in_a_pipe_comes_before_its_end", async |kernel| {
        let (reader, writer) = kernel.pipe().unwrap();
        let mut sent = 0;
        while sent < 5 {
            sent += writer.write(b"hello"[sent..].to_vec()).await.0.unwrap();
        }
        drop(writer);
        let mut all = Vec::new();
        loop {
            let BufResult(count, buffer) = reader.read(Vec::with_capacity(3)).await;
            match count.unwrap() {
                0 => break,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(all, b"hello");
        assert_eq!(reader.read(Vec::with_capacity(3)).await.0.unwrap(), 0, "the end stays");
    });
}

#[test]
fn writing_to_a_pipe_that_nobody_reads_is_an_error() {
    each_kernel("writing_to_a_pipe_that_nobody_reads_is_an_error", async |kernel| {
        let (reader, writer) = kernel.pipe().unwrap();
        drop(reader);
        let BufResult(result, buffer) = writer.write(b"lost".to_vec()).await;
        assert_eq!((result.unwrap_err().kind(), &buffer[..]), (io::ErrorKind::BrokenPipe, &b"lost"[..]));
    });
}

#[test]
fn a_full_pipe_waits_for_its_reader() {
    each_kernel("a_full_pipe_waits_for_its_reader", async |kernel| {
        let (reader, writer) = kernel.pipe().unwrap();
        let mut sent = 0;
        loop {
            // A cancelled write says what it has written.
            match wait_for(writer.write(vec![7; 10_000]), Duration::from_millis(20)).await.0 {
                Ok(count) => sent += count,
                Err(error) if sent > 0 => break assert_eq!(error.kind(), io::ErrorKind::TimedOut),
                Err(_) => {}
            }
        }
        let mut read = 0;
        while read < sent {
            let BufResult(count, buffer) = reader.read(Vec::with_capacity(9_000)).await;
            read += count.unwrap();
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
        assert_eq!(read, sent);
        assert!(wait_for(reader.readable(), Duration::from_millis(5)).await.is_err(), "it is empty again");
        wait_for(writer.writable(), Duration::from_secs(100)).await.unwrap();
    });
}

#[test]
fn readable_says_when_there_is_something() {
    each_kernel("readable_says_when_there_is_something", async |kernel| {
        let (reader, writer) = kernel.pipe().unwrap();
        let reader = Rc::new(reader);
        let waiting = create_task({
            let reader = reader.clone();
            async move { reader.readable().await }
        });
        sleep(Duration::from_millis(2)).await.unwrap();
        assert!(!waiting.done());
        assert_eq!(writer.write(b"x".to_vec()).await.0.unwrap(), 1);
        waiting.await.unwrap();
        assert_eq!(reader.read(vec![0; 4]).await.0.unwrap(), 1, "nothing was taken");
    });
}
