//! Contract 8, StreamWriter.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use ringio::{StreamWriter, create_task, sleep, wait_for};

use super::{is_cancel, on_ring, pairs, turns, until};

/// More than the socket buffers of both sides take.
const SIZE: usize = 32 << 20;

#[test]
fn writelines_writes_all_pieces_in_order() {
    // SW1
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.writelines(["one\n", "", "two\n"]).unwrap();
        writer.writelines(vec![b"three".to_vec(), b"\n".to_vec()]).unwrap();
        writer.writelines::<[&str; 0]>([]).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            assert_eq!(far_reader.readline().await.unwrap(), line);
        }
    });
}

#[test]
fn writing_after_close_or_loss_is_an_error_at_once() {
    // SW1, SW2, flaw 13
    on_ring(async || {
        let ((_reader, mut writer), _far) = pairs::streams(64).await;
        writer.write_eof().unwrap();
        writer.write_eof().unwrap();
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        writer.close();
        writer.close();
        for error in [
            writer.write(b"x").unwrap_err(),
            writer.write_owned("x").unwrap_err(),
            writer.writelines(["x"]).unwrap_err(),
            writer.write_all(b"x").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
        }
        let ((_reader, mut writer), (far_reader, mut far)) = pairs::streams(64).await;
        far.abort();
        drop((far, far_reader));
        // The peer is gone: what is written says so, at the latest when it was sent.
        until(|| writer.write(b"x").is_err()).await;
        assert!(writer.drain().await.is_err() && writer.flush().await.is_err());
    });
}

#[test]
fn drain_raises_what_the_reader_saw() {
    // SW2
    on_ring(async || {
        let ((mut reader, writer), (far_reader, mut far)) = pairs::streams(64).await;
        far.abort();
        drop((far, far_reader));
        assert_eq!(reader.read(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(writer.drain().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn marks_can_be_moved() {
    // SW2
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        assert_eq!(writer.get_write_buffer_limits(), (16 << 10, 64 << 10));
        writer.set_write_buffer_limits(None, 100).unwrap();
        assert_eq!(writer.get_write_buffer_limits(), (100, 400));
        assert!(writer.set_write_buffer_limits(99, 100).is_err());
        assert_eq!(writer.get_write_buffer_limits(), (100, 400));
        writer.set_write_buffer_limits(SIZE, SIZE).unwrap();
        writer.write_owned(vec![1; SIZE]).unwrap();
        wait_for(writer.drain(), Duration::from_secs(20)).await.unwrap();
        writer.set_write_buffer_limits(0, None).unwrap();
        let task = create_task(async move {
            writer.drain().await?;
            io::Result::Ok(writer)
        });
        turns(5).await;
        assert!(!task.done());
        assert_eq!(far_reader.readexactly(SIZE).await.unwrap().len(), SIZE);
        assert_eq!(task.await.unwrap().get_write_buffer_size(), 0);
    });
}

#[test]
fn a_hard_cap_refuses_what_a_forgotten_drain_would_pile_up() {
    // SW3, flaw 12
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        const CAP: usize = 100_000;
        writer.set_write_buffer_max(CAP);
        let mut written = 0;
        let error = loop {
            match writer.write(&[1; 30_000]) {
                Ok(()) => written += 30_000,
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), written), (io::ErrorKind::WouldBlock, 90_000));
        assert!(writer.writelines([&[1; 6_000][..], &[1; 6_000]]).is_err(), "all or none");
        writer.write_owned(vec![1; 10_000]).unwrap();
        assert_eq!(writer.get_write_buffer_size(), CAP);
        assert_eq!(far_reader.readexactly(CAP).await.unwrap().len(), CAP);
        writer.write(b"again").unwrap();
    });
}

#[test]
fn flush_waits_for_the_last_byte_and_write_all_for_the_peer() {
    // SW3
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.write(&[2; 1000]).unwrap();
        assert_eq!(writer.get_write_buffer_size(), 1000);
        writer.flush().await.unwrap();
        assert_eq!(writer.get_write_buffer_size(), 0);
        let task = create_task(async move {
            let written = writer.write_all(&vec![2; SIZE]).await;
            writer.close();
            written
        });
        turns(5).await;
        assert!(!task.done(), "the peer is slow");
        task.cancel();
        assert!(is_cancel(&task.await.unwrap_err()));
        assert_eq!(far_reader.read_to_end().await.unwrap().len(), SIZE + 1000, "all of it was queued");
    });
}

#[test]
fn a_loop_over_a_full_buffer_lets_others_run() {
    // S4, flaw 12: write and drain under the high mark, and reads of what is there.
    on_ring(async || {
        let ((_reader, mut writer), _far) = pairs::streams(64).await;
        let other = create_task(async { turns(3).await });
        let mut rounds = 0;
        while !other.done() {
            writer.drain().await.unwrap();
            rounds += 1;
            assert!(rounds < 100_000, "nobody else runs");
        }
        writer.write(b"").unwrap();
    });
}

#[test]
fn cancelled_wait_closed_harms_nobody_else() {
    // SW4, flaw 20
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        writer.write_owned(vec![3; SIZE]).unwrap();
        writer.close();
        assert!(writer.is_closing());
        let writer = Rc::new(writer);
        let wait = |writer: &Rc<StreamWriter>| {
            let writer = writer.clone();
            create_task(async move { writer.wait_closed().await })
        };
        let (first, second) = (wait(&writer), wait(&writer));
        turns(3).await;
        first.cancel();
        assert!(is_cancel(&first.await.unwrap_err()));
        turns(2).await;
        assert!(!second.done());
        assert_eq!(far_reader.read_to_end().await.unwrap().len(), SIZE);
        second.await.unwrap();
        writer.wait_closed().await.unwrap();
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn close_with_timeout_ends_although_the_peer_never_reads() {
    // SW4 (gh-83939), flaw 12
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.write_owned(vec![4; SIZE]).unwrap();
        let began = Instant::now();
        let error = writer.close_with_timeout(Duration::from_millis(30)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_millis(30));
        assert!(writer.local_addr().is_err(), "the descriptor is gone");
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let error = loop {
            match far_reader.read(1 << 20).await {
                Ok(data) => assert!(!data.is_empty(), "a torn stream does not end well"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.write(b"in time").unwrap();
        writer.close_with_timeout(Duration::from_secs(20)).await.unwrap();
        assert_eq!(far_reader.read_to_end().await.unwrap(), "in time");
    });
}

#[test]
fn abort_drops_what_is_queued_and_resets() {
    // SV6: what abort_clients does to one connection.
    on_ring(async || {
        let ((mut reader, mut writer), (mut far_reader, far)) = pairs::streams(64).await;
        let reading = create_task(async move { reader.read(1).await });
        turns(2).await;
        writer.write_owned(vec![5; SIZE]).unwrap();
        turns(3).await;
        writer.abort();
        writer.abort();
        assert!(writer.is_closing());
        assert_eq!(reading.await.unwrap(), "", "the reader is told");
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let torn = far_reader.read_to_end().await.unwrap_err();
        assert_eq!(torn.kind(), io::ErrorKind::ConnectionReset);
        drop(far);
        // With nothing queued it is no error.
        let ((_reader, mut writer), _far) = pairs::streams(64).await;
        writer.abort();
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn abort_while_lingering_ends_the_lingering() {
    // SW4: closing with unread data lingers for a second; an abort does not.
    on_ring(async || {
        let ((mut reader, mut writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"unread").unwrap();
        assert_eq!(reader.readexactly(1).await.unwrap(), "u");
        writer.write(b"last words").unwrap();
        writer.close();
        turns(5).await;
        writer.abort();
        wait_for(writer.wait_closed(), Duration::from_millis(900)).await.unwrap();
    });
}

#[test]
fn lingering_for_a_peer_that_stays_ends_by_itself() {
    // SW4: a peer that neither reads nor closes holds a close up for a second, not for ever.
    on_ring(async || {
        let ((mut reader, mut writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"unread").unwrap();
        assert_eq!(reader.readexactly(1).await.unwrap(), "u");
        writer.close();
        wait_for(writer.wait_closed(), Duration::from_secs(20)).await.unwrap();
    });
}

#[test]
fn small_writes_into_a_full_socket_arrive_when_the_peer_reads() {
    // SW9: each is sent at the end of its turn, and nobody waits for it.
    on_ring(async || {
        let ((_reader, mut writer), (mut far, _far_writer)) = pairs::streams(1 << 20).await;
        let piece = [b'p'; 1000];
        let mut written = 0;
        // The far reader is not reading, and stops the kernel's buffers from emptying: then this side's queue grows.
        while writer.get_write_buffer_size() < 10 * piece.len() {
            writer.write(&piece).unwrap();
            written += piece.len();
            turns(2).await;
        }
        let read = create_task(async move { far.readexactly(written).await });
        let read = wait_for(read, Duration::from_secs(20)).await.unwrap();
        assert!(read.iter().all(|byte| *byte == b'p'));
        wait_for(writer.flush(), Duration::from_secs(20)).await.unwrap();
    });
}

#[test]
fn many_slow_readers_are_held_to_their_marks() {
    // SW2, SW3: what writers queue for peers that do not read is bounded by their marks.
    on_ring(async || {
        const WRITERS: usize = 200;
        let mut ends = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..WRITERS {
            let ((reader, mut writer), far) = pairs::streams(64).await;
            writer.set_write_buffer_limits(8 << 10, 1 << 10).unwrap();
            ends.push((reader, far));
            tasks.push(create_task(async move {
                let piece = bytes::Bytes::from(vec![6; 4 << 10]);
                loop {
                    writer.write_owned(piece.clone())?;
                    assert!(writer.get_write_buffer_size() <= 12 << 10, "above the mark");
                    if let Err(error) = writer.drain().await {
                        writer.abort();
                        return Err::<(), _>(error);
                    }
                }
            }));
        }
        sleep(Duration::from_millis(200)).await.unwrap();
        for task in tasks {
            assert!(!task.done());
            task.cancel();
            assert!(is_cancel(&task.await.unwrap_err()));
        }
    });
}
