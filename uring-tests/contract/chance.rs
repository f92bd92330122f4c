//! Streams under chance: pieces of any size, reads of every kind, cancels, drops and timeouts at every await, and ends of
//! every kind at any point. What comes out is a prefix of what went in, nothing twice; and all of it, unless the error
//! said so.

use std::{io, pin::pin, task::Poll, time::Duration};

use bytes::Bytes;
use futures::future::poll_fn;
use ringio::{
    BufResult, CancelledError, Error, StreamReader, StreamWriter, create_task, open_connection_from, sleep, wait_for,
};

use super::{in_time, on_ring, pairs};
use crate::support::{Rng, each_profile};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Close,
    HalfClose,
    Drop,
    Abort,
}

/// Writes `text` and ends; gives the writer back that is still to be closed. Where a connection `may_break`, an error ends it
/// too.
pub(crate) async fn write_all(
    mut writer: StreamWriter,
    text: Bytes,
    end: End,
    may_break: bool,
    mut rng: Rng,
) -> Result<Option<StreamWriter>, CancelledError> {
    let mut rest = &text[..];
    while !rest.is_empty() {
        let most = [10, 1000, 100_000][rng.below(3)];
        let (piece, behind) = rest.split_at((1 + rng.below(most)).min(rest.len()));
        let written = match rng.below(3) {
            0 => writer.write(piece),
            1 => writer.write_owned(piece.to_vec()),
            _ => writer.writelines(piece.chunks(1 + rng.below(50_000))),
        };
        if written.is_err() {
            assert!(end == End::Abort || may_break, "{written:?}");
            return Ok(None);
        }
        rest = behind;
        match rng.below(6) {
            0 => drop(wait_for(writer.drain(), rng.micros(200)).await),
            1 => poll_once(writer.flush()).await,
            2 => sleep(rng.micros(300)).await?,
            3 if end == End::Abort && rng.below(8) == 0 => break,
            _ => drop(writer.drain().await),
        }
    }
    match end {
        End::Drop => return Ok(None),
        End::HalfClose => assert!(writer.write_eof().is_ok() || may_break),
        End::Close => writer.close(),
        End::Abort => writer.abort(),
    }
    sleep(rng.micros(500)).await?;
    if end == End::HalfClose {
        assert!(writer.flush().await.is_ok() || may_break);
        return Ok(Some(writer));
    }
    Ok(None)
}

/// Polls a future once and drops it.
async fn poll_once<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await
}

/// Reads to the end in any way there is. What came, and the error that ended it.
pub(crate) async fn read_all(reader: &mut StreamReader, rng: &mut Rng, limit: usize) -> (Vec<u8>, Option<io::Error>) {
    let mut received = Vec::new();
    loop {
        let (most, time) = (1 + rng.below(2 * limit), rng.micros(600));
        let read = match rng.below(8) {
            0 => wait_for(reader.readexactly(most), time).await,
            1 => wait_for(reader.readline(), time).await,
            2 => wait_for(reader.readuntil([&b"ab"[..], b"c"]), time).await,
            3 => {
                let BufResult(count, buffer) = wait_for(reader.read_into(vec![0; most]), time).await;
                count.map(|count| buffer[..count].to_vec().into())
            }
            4 => {
                // A read that was begun and dropped takes nothing.
                match poll_begun(reader.readexactly(usize::MAX / 2)).await {
                    Some(error) => Err(error),
                    None => continue,
                }
            }
            _ => wait_for(reader.read(most), time).await,
        };
        match read {
            Ok(data) if data.is_empty() => return (received, None),
            Ok(data) => received.extend_from_slice(&data),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => {
                let error = Error::from(error);
                if let Error::IncompleteRead(error) = error {
                    received.extend_from_slice(&error.partial);
                    return (received, None);
                } else if let Error::LimitOverrun(_) = error {
                    // readuntil leaves it; readline drops it, and the texts below have short lines.
                    received.extend_from_slice(&reader.read(limit).await.unwrap());
                } else if reader.at_eof() {
                    return (received, Some(error.into()));
                }
                // Else what had come before is still there.
            }
        }
    }
}

/// Polls a future that cannot end well once and drops it; its error, if it has one.
async fn poll_begun(future: impl Future<Output = io::Result<Bytes>>) -> Option<io::Error> {
    let mut future = pin!(future);
    let ended = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match ended {
        Poll::Pending => None,
        Poll::Ready(read) => Some(read.unwrap_err()),
    }
}

/// Short lines, and separators all over.
pub(crate) fn text(rng: &mut Rng, len: usize) -> Bytes {
    (0..len).map(|at| if at % 500 == 499 { b'\n' } else { b"abcdefgh"[rng.below(8)] }).collect()
}

async fn one(
    (mut reader, writer): (StreamReader, StreamWriter),
    kept: impl Sized,
    rng: &mut Rng,
    limit: usize,
    ends: &[End],
) {
    let len = rng.below(400_000);
    let text = text(rng, len);
    let end = ends[rng.below(ends.len())];
    let writing = create_task(write_all(writer, text.clone(), end, false, Rng::new("the writer")));
    let (received, error) = read_all(&mut reader, rng, limit).await;
    drop(writing.await.unwrap());
    assert!(text.starts_with(&received), "{end:?}: {} bytes are no prefix of {}", received.len(), text.len());
    if end != End::Abort {
        assert!(error.is_none(), "{end:?}: {error:?}");
        assert_eq!(received.len(), text.len(), "{end:?}");
    }
    drop(kept);
}

#[test]
fn connections_give_a_prefix_and_all_of_it_unless_they_say_so() {
    // SR1-SR10, SW9, on every set of kernel features
    in_time(|| {
        let mut rng = Rng::new("connections_give_a_prefix_and_all_of_it_unless_they_say_so");
        each_profile(|_, runner| {
            let rng = &mut rng;
            runner.run(async move {
                for _ in 0..15 {
                    let limit = 600 + rng.below(30_000);
                    let ((reader, here), (far_reader, far)) = pairs::streams(limit).await;
                    one(
                        (reader, far),
                        (here, far_reader),
                        rng,
                        limit,
                        &[End::Close, End::HalfClose, End::Drop, End::Abort],
                    )
                    .await;
                }
            });
        });
    });
}

#[test]
fn unix_sockets_do_too() {
    // SR1-SR10, SW9
    let mut rng = Rng::new("unix_sockets_do_too");
    on_ring(async move || {
        for _ in 0..15 {
            let limit = 600 + rng.below(30_000);
            let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
            let (reader, kept) = open_connection_from(here.into()).limit(limit).await.unwrap();
            let (other, writer) = open_connection_from(there.into()).await.unwrap();
            one((reader, writer), (kept, other), &mut rng, limit, &[End::Close, End::HalfClose, End::Drop]).await;
        }
    });
}

#[test]
fn pipes_do_too() {
    // SR1-SR10, SW9
    let mut rng = Rng::new("pipes_do_too");
    on_ring(async move || {
        for _ in 0..15 {
            let limit = 600 + rng.below(30_000);
            let (from, to) = io::pipe().unwrap();
            let reader = StreamReader::from_pipe(from.into(), limit).unwrap();
            let writer = StreamWriter::from_pipe(to.into());
            one((reader, writer), (), &mut rng, limit, &[End::Close, End::HalfClose, End::Drop]).await;
        }
    });
}

#[test]
fn timeouts_that_have_passed_are_no_exception() {
    // SR10, L3: every read begins under a limit that has passed already.
    on_ring(async || {
        let ((mut reader, _here), (_far_reader, mut far)) = pairs::streams(1024).await;
        let mut received = Vec::new();
        let writing = create_task(async move {
            for number in 0..2000u32 {
                far.write(&number.to_be_bytes())?;
                if number % 7 == 0 {
                    sleep(Duration::from_micros(u64::from(number % 50))).await?;
                }
            }
            far.close();
            io::Result::Ok(())
        });
        while !reader.at_eof() {
            if let Ok(data) = wait_for(reader.readexactly(4), Duration::from_nanos(1)).await {
                received.push(u32::from_be_bytes(data[..].try_into().unwrap()));
            }
        }
        writing.await.unwrap();
        assert!(received.iter().copied().eq(0..2000), "{} numbers", received.len());
    });
}
