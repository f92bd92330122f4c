//! Descriptor numbers are used again and ports bound again, at once; an operation on the old one never touches the new.

use std::{
    io::Write,
    net::SocketAddr,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use futures::poll;
use ringio::{BufResult, TcpListener, TcpStream, wait_for};

use super::stages::turns;
use crate::support::{
    PATIENCE, Rng, alone, each_profile,
    process::{assert_descriptors, descriptors},
    settled,
    wire::{self, connect, read_all},
};

#[test]
fn dropped_read_never_takes_the_bytes_of_the_next_descriptor() {
    // S6, lessons §3 row 16; alone, so that the numbers are ours
    alone(&dropped_read_never_takes_the_bytes_of_the_next_descriptor, || {
        let mut rng = Rng::new("dropped_read_never_takes");
        let before = descriptors();
        each_profile(|_, runner| {
            runner.run(async {
                let mut reused = 0;
                for round in 0..600 {
                    let (old, old_writer) = std::io::pipe().unwrap();
                    let number = old.as_raw_fd();
                    let old = ringio::Descriptor::new(old.into());
                    let mut read = Box::pin(old.read(vec![0; 64]));
                    assert!(poll!(&mut read).is_pending());
                    turns(round % 3).await;
                    drop(read);
                    drop(old);
                    turns(rng.below(3)).await;
                    let (new, mut new_writer) = std::io::pipe().unwrap();
                    reused += usize::from(new.as_raw_fd() == number);
                    let new = ringio::Descriptor::new(new.into());
                    new_writer.write_all(b"for the new one").unwrap();
                    turns(rng.below(3)).await;
                    let BufResult(count, buffer) = wait_for(new.read(vec![0; 64]), PATIENCE).await;
                    assert_eq!(&buffer[..count.expect("nobody else took it")], b"for the new one");
                    drop(old_writer);
                }
                eprintln!("{reused} numbers of 600 were used again");
                settled().await;
            });
        });
        assert_descriptors(&before);
    });
}

#[test]
fn dropped_connection_never_takes_the_bytes_of_the_next() {
    // S6
    alone(&dropped_connection_never_takes_the_bytes_of_the_next, || {
        let mut rng = Rng::new("dropped_connection_never_takes");
        let before = descriptors();
        each_profile(|_, runner| {
            runner.run(async {
                for round in 0..400 {
                    let (mut old, mut old_peer) = wire::tcp_pair();
                    let mut read = Box::pin(old.read(vec![0; 64]));
                    assert!(poll!(&mut read).is_pending());
                    turns(round % 3).await;
                    drop(read);
                    drop(old);
                    let _ = old_peer.write_all(b"for the old one");
                    turns(rng.below(4)).await;
                    let (mut new, mut new_peer) = wire::tcp_pair();
                    new_peer.write_all(b"for the new one").unwrap();
                    turns(rng.below(3)).await;
                    let BufResult(count, buffer) = wait_for(new.read(vec![0; 64]), PATIENCE).await;
                    assert_eq!(&buffer[..count.expect("nobody else took it")], b"for the new one");
                    wait_for(new.write_all("and back"), PATIENCE).await.0.unwrap();
                    wait_for(new.close(), PATIENCE).await.unwrap();
                    assert_eq!(read_all(new_peer), b"and back");
                    drop(old_peer);
                }
                settled().await;
            });
        });
        assert_descriptors(&before);
    });
}

#[test]
fn port_is_free_when_close_returns_a_thousand_times() {
    // L9, kernel pitfall 31. Alone: a child that another test starts has the descriptor, too, until it runs its program.
    alone(&port_is_free_when_close_returns_a_thousand_times, || {
        let port = wire::quiet_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        each_profile(|_, runner| {
            runner.run(async {
                for round in 0..1000 {
                    let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("round {round}: {error}"));
                    // An accept is in flight for most of them, and a connection for some.
                    let mut accept = Box::pin(listener.accept());
                    if round % 4 != 0 {
                        assert!(poll!(&mut accept).is_pending());
                        turns(round % 3).await;
                    }
                    let client = (round % 10 == 0).then(|| connect(address));
                    turns(round % 2).await;
                    drop(accept);
                    listener.close().await.unwrap();
                    drop(client);
                }
                settled().await;
            });
        });
    });
}

#[test]
fn peer_sees_the_end_at_once_when_a_stream_with_an_armed_receive_is_dropped() {
    // lessons §3 row 17
    each_profile(|_, runner| {
        runner.run(async {
            for armed in [false, true] {
                let (mut reader, writer, peer) = wire::stream_pair().await;
                if armed {
                    assert!(poll!(Box::pin(reader.read(64))).is_pending());
                    turns(2).await;
                }
                drop((reader, writer));
                let start = Instant::now();
                settled().await;
                assert_eq!(read_all(peer), b"");
                assert!(start.elapsed() < Duration::from_millis(500), "the end took {:?}", start.elapsed());

                let (mut stream, peer) = wire::tcp_pair();
                if armed {
                    assert!(poll!(Box::pin(stream.read(vec![0; 64]))).is_pending());
                    turns(2).await;
                }
                drop(stream);
                let start = Instant::now();
                settled().await;
                assert_eq!(read_all(peer), b"");
                assert!(start.elapsed() < Duration::from_millis(500), "the end took {:?}", start.elapsed());
            }
        });
    });
}

#[test]
fn reply_reaches_a_peer_that_still_sends() {
    // kernel pitfall 27: a close with unread bytes must not send a reset, which throws away what is still to be sent
    const REPLY: usize = 400_000;
    each_profile(|_, runner| {
        runner.run(async {
            let listener = wire::listener();
            for extra in [1, 1000, 40_000] {
                let connecting = ringio::open_connection(listener.local_addr().unwrap());
                let (mut reader, mut writer) = connecting.await.unwrap();
                let mut client = wire::accept(&listener);
                client.write_all(b"please\n").unwrap();
                // More than we will ever read.
                client.write_all(&vec![b'x'; extra]).unwrap();
                assert_eq!(wait_for(reader.readline(), PATIENCE).await.unwrap(), "please\n");
                writer.write_owned(vec![b'r'; REPLY]).unwrap();
                writer.close();
                // It has every chance to do it wrong before the client begins to read.
                let _ = wait_for(writer.wait_closed(), Duration::from_millis(30)).await;
                let reading = std::thread::spawn(move || {
                    let reply = read_all(&client);
                    let _ = client.write_all(b"still sending");
                    reply
                });
                crate::support::until("the client has its reply", || reading.is_finished()).await;
                let reply = reading.join().expect("no reset");
                assert_eq!(reply.len(), REPLY, "{extra} bytes were not read");
                drop((reader, writer));
            }
            settled().await;
        });
    });
}

#[test]
fn lingering_for_a_peer_that_sends_on_for_ever_has_a_limit() {
    // kernel pitfall 27: at most 64 KiB or one second
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, mut peer) = wire::tcp_pair();
            peer.write_all(&[b'x'; 1000]).unwrap();
            let BufResult(count, _) = wait_for(stream.read(vec![0; 10]), PATIENCE).await;
            assert_eq!(count.unwrap(), 10);
            let flood = std::thread::spawn(move || {
                let start = Instant::now();
                while peer.write_all(&[b'x'; 4096]).is_ok() {
                    assert!(start.elapsed() < PATIENCE, "the connection is never closed");
                }
            });
            let start = Instant::now();
            let _ = wait_for(stream.close(), PATIENCE).await;
            assert!(start.elapsed() < Duration::from_secs(3), "the close took {:?}", start.elapsed());
            crate::support::until("the peer is told", || flood.is_finished()).await;
            flood.join().unwrap();
            settled().await;
        });
    });
}

#[test]
fn either_side_may_end_its_half_first() {
    // kernel pitfall 26: write_eof is not close
    each_profile(|_, runner| {
        runner.run(async {
            // Ours first.
            let (mut reader, mut writer, mut peer) = wire::stream_pair().await;
            writer.write(b"question").unwrap();
            writer.write_eof().unwrap();
            let answering = std::thread::spawn(move || {
                let question = read_all(&peer);
                peer.write_all(b"answer to ").unwrap();
                peer.write_all(&question).unwrap();
            });
            assert_eq!(wait_for(reader.readexactly(18), PATIENCE).await.unwrap(), "answer to question");
            assert_eq!(wait_for(reader.read(9), PATIENCE).await.unwrap(), "");
            answering.join().unwrap();
            assert!(writer.write(b"more").is_err());
            // The peer first.
            let (mut reader, mut writer, mut peer) = wire::stream_pair().await;
            peer.write_all(b"question").unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(wait_for(reader.readexactly(8), PATIENCE).await.unwrap(), "question");
            assert_eq!(wait_for(reader.read(9), PATIENCE).await.unwrap(), "");
            writer.write(b"answer").unwrap();
            writer.close();
            wait_for(writer.wait_closed(), PATIENCE).await.unwrap();
            assert_eq!(read_all(peer), b"answer");
            // The same with an owned buffer.
            let (mut stream, mut peer) = wire::tcp_pair();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(wait_for(stream.read(vec![0; 9]), PATIENCE).await.0.unwrap(), 0);
            stream.write_all("answer").await.0.unwrap();
            stream.write_eof().unwrap();
            turns(2).await;
            assert_eq!(read_all(&mut peer), b"answer");
            drop(stream);
            settled().await;
        });
    });
}

#[test]
fn thousand_connections_opened_and_dropped_leave_no_descriptor() {
    alone(&thousand_connections_opened_and_dropped_leave_no_descriptor, || {
        let before = descriptors();
        each_profile(|_, runner| {
            runner.run(async {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                for _ in 0..1000 {
                    let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
                    drop((client.unwrap(), server.unwrap()));
                }
                listener.close().await.unwrap();
                settled().await;
            });
        });
        assert_descriptors(&before);
    });
}
