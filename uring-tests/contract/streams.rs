//! Contract 8: the part of the streams that there is.

use std::{cell::RefCell, io, rc::Rc};

use ringio::{
    CancelledError, Error, IncompleteReadError, LimitOverrunError, ReportKind, create_task, open_connection,
    start_server,
};

use super::{Reports, Trace, forever, in_time, is_cancel, on_ring, pairs, turns, until};

#[test]
fn read_gives_what_there_is_and_nothing_at_the_end() {
    // SR1, SR6
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(4).await;
        assert_eq!(reader.read(0).await.unwrap(), "");
        far.write(b"hello world").unwrap();
        assert_eq!(reader.read(5).await.unwrap(), "hello");
        assert_eq!(reader.read(100).await.unwrap(), " world");
        assert!(!reader.at_eof());
        far.write(b"end").unwrap();
        far.write_eof().unwrap();
        assert_eq!(reader.readexactly(3).await.unwrap(), "end");
        assert_eq!(reader.read(1).await.unwrap(), "");
        assert!(reader.at_eof());
        assert_eq!(reader.read(1).await.unwrap(), "");
    });
}

#[test]
fn at_eof_waits_for_the_buffer_to_be_empty() {
    // SR6
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"ab").unwrap();
        far.write_eof().unwrap();
        assert_eq!(reader.readexactly(1).await.unwrap(), "a");
        assert!(!reader.at_eof());
        assert_eq!(reader.read(9).await.unwrap(), "b");
        assert_eq!(reader.read(9).await.unwrap(), "");
        assert!(reader.at_eof());
    });
}

#[test]
fn readexactly_gives_all_or_says_what_is_missing() {
    // SR2: beyond the limit, and at an early end.
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(8).await;
        let big = vec![7; 300_000];
        far.write(&big).unwrap();
        assert_eq!(reader.readexactly(0).await.unwrap(), "");
        assert_eq!(reader.readexactly(300_000).await.unwrap(), big);
        far.write(b"part").unwrap();
        far.close();
        let error = reader.readexactly(9).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(error.to_string(), "4 bytes read on a total of 9 expected bytes");
        let Error::IncompleteRead(IncompleteReadError { partial, expected }) = Error::from(error) else {
            panic!("another error")
        };
        assert_eq!((&partial[..], expected), (&b"part"[..], Some(9)));
        assert_eq!(reader.read(9).await.unwrap(), "", "the buffer is emptied");
    });
}

#[test]
fn readline_gives_lines_and_the_rest() {
    // SR5
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"one\ntw").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "one\n");
        let task = create_task(async move { reader.readline().await.map(|line| (line, reader)) });
        turns(3).await;
        assert!(!task.done());
        far.write(b"o\n\nrest").unwrap();
        let (line, mut reader) = task.await.unwrap();
        assert_eq!(line, "two\n");
        assert_eq!(reader.readline().await.unwrap(), "\n");
        far.close();
        assert_eq!(reader.readline().await.unwrap(), "rest");
        assert_eq!(reader.readline().await.unwrap(), "");
    });
}

#[test]
fn line_over_the_limit_is_dropped_and_said() {
    // SR5: found within what has come, or not; the limit does not count the separator.
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(4).await;
        far.write(b"1234\n12345\nok\n123456").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "1234\n");
        let error = reader.readline().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let Error::LimitOverrun(LimitOverrunError { consumed, found }) = Error::from(error) else {
            panic!("another error")
        };
        assert_eq!((consumed, found), (5, true));
        assert_eq!(reader.readline().await.unwrap(), "ok\n");
        let error = reader.readline().await.unwrap_err();
        let Error::LimitOverrun(LimitOverrunError { consumed, found }) = Error::from(error) else {
            panic!("another error")
        };
        assert_eq!((consumed, found), (6, false));
        far.write(b"\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "\n");
    });
}

#[test]
fn cancelled_reads_leave_everything_to_the_next() {
    // SR10: read, readexactly, readline
    on_ring(async || {
        let ((reader, _writer), (_far_reader, mut far)) = pairs::streams(64).await;
        let shared = Rc::new(RefCell::new(Some(reader)));
        far.write(b"begun").unwrap();
        for kind in 0..2 {
            let place = shared.clone();
            let task = create_task(async move {
                let mut reader = place.take().unwrap();
                let read = if kind == 0 { reader.readexactly(50).await } else { reader.readline().await };
                place.replace(Some(reader));
                read
            });
            turns(4).await;
            task.cancel();
            assert!(is_cancel(&task.await.unwrap_err()));
        }
        far.write(b" and done\n").unwrap();
        let mut reader = shared.take().unwrap();
        assert_eq!(reader.readline().await.unwrap(), "begun and done\n");
    });
}

#[test]
fn reset_is_told_after_what_had_arrived() {
    // SR7, flaw 21
    on_ring(async || {
        let ((mut reader, _writer), (far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"x12345").unwrap();
        assert_eq!(reader.readexactly(1).await.unwrap(), "x");
        drop((far, far_reader));
        assert_eq!(reader.readexactly(5).await.unwrap(), "12345");
        assert_eq!(reader.read(1).await.unwrap(), "");
    });
}

#[test]
fn drain_waits_for_a_slow_peer_from_the_high_mark_to_the_low_one() {
    // SW2
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.write(&vec![1; 60 * 1024]).unwrap();
        writer.drain().await.unwrap();
        // More than the socket buffers of both sides take.
        const SIZE: usize = 32 << 20;
        writer.write_owned(vec![2; SIZE]).unwrap();
        let task = create_task(async move {
            writer.drain().await?;
            io::Result::Ok(writer)
        });
        turns(20).await;
        assert!(!task.done(), "the kernel cannot have taken all of it");
        let mut left = SIZE + 60 * 1024;
        while left > 0 {
            left -= far_reader.read(1 << 20).await.unwrap().len();
        }
        let writer = task.await.unwrap();
        writer.drain().await.unwrap();
    });
}

#[test]
fn cancelled_drain_withdraws_nothing() {
    // SW9
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        const SIZE: usize = 32 << 20;
        writer.write_owned(vec![3; SIZE]).unwrap();
        let task = create_task(async move {
            let drained = writer.drain().await;
            writer.close();
            (drained, writer.wait_closed().await).0
        });
        turns(5).await;
        task.cancel();
        let mut received = 0;
        loop {
            let bytes = far_reader.read(1 << 20).await.unwrap();
            if bytes.is_empty() {
                break;
            }
            assert!(bytes.iter().all(|byte| *byte == 3));
            received += bytes.len();
        }
        assert_eq!(received, SIZE);
        assert!(is_cancel(&task.await.unwrap_err()));
    });
}

#[test]
fn many_drainers_at_once_are_fine() {
    // SW2 (gh-74116)
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        const SIZE: usize = 32 << 20;
        writer.write_owned(vec![4; SIZE]).unwrap();
        let writer = Rc::new(writer);
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let writer = writer.clone();
                create_task(async move { writer.drain().await })
            })
            .collect();
        turns(3).await;
        let mut left = SIZE;
        while left > 0 {
            left -= far_reader.read(1 << 20).await.unwrap().len();
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn close_sends_what_was_written_and_ends_the_reader() {
    // SW4
    on_ring(async || {
        let ((mut reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let reading = create_task(async move { reader.read(1).await });
        turns(2).await;
        const SIZE: usize = 4 << 20;
        writer.write_owned(vec![5; SIZE]).unwrap();
        writer.close();
        assert!(writer.is_closing() && writer.can_write_eof());
        assert_eq!(reading.await.unwrap(), "");
        assert_eq!(far_reader.readexactly(SIZE).await.unwrap().len(), SIZE);
        assert_eq!(far_reader.read(1).await.unwrap(), "");
        writer.wait_closed().await.unwrap();
        assert!(writer.peer_addr().is_err() && writer.local_addr().is_err());
    });
}

#[test]
fn dropped_writer_closes_after_what_was_written() {
    // SW8
    on_ring(async || {
        let ((reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        writer.write(b"bye").unwrap();
        drop((reader, writer));
        assert_eq!(far_reader.readexactly(3).await.unwrap(), "bye");
        assert_eq!(far_reader.read(1).await.unwrap(), "");
    });
}

#[test]
fn write_eof_ends_one_direction() {
    // SW5
    on_ring(async || {
        let ((mut reader, mut writer), (mut far_reader, mut far)) = pairs::streams(64).await;
        writer.write(b"question").unwrap();
        writer.write_eof().unwrap();
        assert_eq!(far_reader.readexactly(8).await.unwrap(), "question");
        assert_eq!(far_reader.read(1).await.unwrap(), "");
        far.write(b"answer").unwrap();
        assert_eq!(reader.readexactly(6).await.unwrap(), "answer");
        assert!(writer.write(b"more").is_err() && !writer.is_closing());
    });
}

#[test]
fn writes_keep_their_order_and_empty_ones_are_nothing() {
    // SW1, SW9
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let mut expected = Vec::new();
        for number in 0..500u32 {
            let text = format!("{number};");
            writer.write(b"").unwrap();
            if number % 3 == 0 {
                writer.write_owned(text.clone()).unwrap()
            } else {
                writer.write(text.as_bytes()).unwrap()
            }
            expected.extend_from_slice(text.as_bytes());
            if number % 50 == 0 {
                turns(1).await;
            }
        }
        assert_eq!(far_reader.readexactly(expected.len()).await.unwrap(), expected);
    });
}

#[test]
fn each_client_has_a_task_and_wait_closed_waits_for_the_last() {
    // SV3, SV6, SV7
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let server = start_server(
            move |mut reader: ringio::StreamReader, mut writer: ringio::StreamWriter| {
                let log = log.clone();
                async move {
                    while let Ok(line) = reader.readline().await
                        && !line.is_empty()
                    {
                        writer.write(&line)?;
                    }
                    log.add("served");
                    io::Result::Ok(())
                }
            },
            "127.0.0.1:0",
        )
        .backlog(7)
        .await
        .unwrap();
        assert!(server.is_serving());
        let address = pairs::address(&server);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (mut reader, mut writer) = open_connection(address).await.unwrap();
            writer.write(b"hi\n").unwrap();
            assert_eq!(reader.readline().await.unwrap(), "hi\n");
            clients.push((reader, writer));
        }
        server.close();
        assert!(!server.is_serving() && server.sockets().is_empty());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let server = server.clone();
                create_task(async move { server.wait_closed().await })
            })
            .collect();
        turns(3).await;
        assert!(waiters.iter().all(|waiter| !waiter.done()), "clients are still served");
        let (reader, writer) = &mut clients[0];
        writer.write(b"still\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "still\n");
        drop(clients);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(trace.take(), "served served served");
        server.wait_closed().await.unwrap();
        assert!(open_connection(address).await.is_err());
    });
}

#[test]
fn error_of_a_handler_is_reported_and_closes_its_connection() {
    // SV3
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let handler = async |_, _| Err::<(), _>(io::Error::other("the handler fails"));
            let server = start_server(handler, "127.0.0.1:0").await.unwrap();
            let (mut reader, _writer) = open_connection(pairs::address(&server)).await.unwrap();
            assert_eq!(reader.read(1).await.unwrap(), "");
            server.close();
            server.wait_closed().await.unwrap();
        });
        assert_eq!(reports.kinds(), [ReportKind::ErrorNeverRetrieved]);
    });
}

#[test]
fn cancelled_serve_forever_closes_and_does_not_wait_for_clients() {
    // SV5, D7, flaw 14
    on_ring(async || {
        let server = start_server(
            async |mut reader: ringio::StreamReader, writer: ringio::StreamWriter| {
                let _ = reader.read(1).await;
                drop(writer);
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let idle = open_connection(pairs::address(&server)).await.unwrap();
        let serving = server.clone();
        let serve = create_task(async move { serving.serve_forever().await });
        turns(3).await;
        serve.cancel();
        assert!(is_cancel(&serve.await.unwrap_err()));
        assert!(!server.is_serving());
        drop(idle);
        server.wait_closed().await.unwrap();
    });
}

#[test]
fn closed_server_ends_serve_forever_well() {
    // SV5, D7
    on_ring(async || {
        let server = start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        let serving = server.clone();
        let serve = create_task(async move { serving.serve_forever().await });
        turns(2).await;
        server.close();
        serve.await.unwrap();
    });
}

#[test]
fn names_are_looked_up_off_the_loop() {
    // OC2
    on_ring(async || {
        let server = start_server(async |_, _| {}, "localhost:0").await.unwrap();
        let port = pairs::address(&server).port();
        let others = create_task(async { turns(3).await });
        let (_reader, writer) = open_connection(("localhost", port)).await.unwrap();
        assert_eq!(writer.peer_addr().unwrap().port(), port);
        until(|| others.done()).await;
    });
}

#[test]
fn cancelled_look_up_lets_go_at_once() {
    // OC8
    on_ring(async || {
        let task = create_task(async { open_connection(("localhost", 1)).await.map(drop) });
        turns(1).await;
        task.cancel();
        let error = task.await.unwrap_err();
        assert!(is_cancel(&error) || error.kind() == io::ErrorKind::ConnectionRefused, "{error}");
        let again = create_task(forever());
        again.cancel();
        assert_eq!(again.await, Err(CancelledError));
    });
}
