//! Peers that mean no good: bounded memory, a clear error, and the others are served.

use std::{
    cell::Cell,
    io::{self, Read, Write},
    net::TcpStream,
    rc::Rc,
    thread,
    time::Duration,
};

use ringio::{Error, StreamReader, StreamWriter, open_connection, start_server, wait_for};

use super::{on_ring, pairs, until};
use crate::support::wire;

const LIMIT: usize = 4096;

/// A server of lines, each to be sent within a while.
async fn lines(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        match wait_for(reader.readline(), Duration::from_millis(200)).await {
            Ok(line) if line.is_empty() => return Ok(()),
            Ok(line) => writer.write_owned(line)?,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return writer.write(b"too long\n"),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return writer.write(b"too slow\n"),
            Err(error) => return Err(error),
        }
        writer.drain().await?;
    }
}

async fn is_served(address: std::net::SocketAddr) -> bool {
    let (mut reader, mut writer) = open_connection(address).await.unwrap();
    writer.write(b"fine\n").unwrap();
    reader.readline().await.unwrap() == "fine\n"
}

/// Runs a blocking peer beside the loop.
async fn beside<T: Send + 'static>(peer: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(peer);
    until(|| thread.is_finished()).await;
    thread.join().unwrap()
}

#[test]
fn an_endless_line_is_cut_off_at_the_limit() {
    // SR5, SR9: 64 MiB without an end of line.
    on_ring(async || {
        let server = start_server(lines, "127.0.0.1:0").limit(LIMIT).await.unwrap();
        let address = pairs::address(&server);
        let sent = beside(move || {
            let mut peer = wire::connect(address);
            let mut sent = 0;
            // The connection is closed on it, sooner or later.
            while sent < 64 << 20 {
                match peer.write(&[b'x'; 65536]) {
                    Ok(count) => sent += count,
                    Err(_) => break,
                }
            }
            sent
        })
        .await;
        assert!(sent < 64 << 20, "all of it was taken");
        assert!(is_served(address).await);
    });
}

#[test]
fn who_sends_byte_by_byte_is_held_to_the_time_limit() {
    // Slow loris: a time limit around the read ends it; what had come is not lost by the limit itself.
    on_ring(async || {
        let server = start_server(lines, "127.0.0.1:0").limit(LIMIT).await.unwrap();
        let address = pairs::address(&server);
        let answers = beside(move || {
            let mut peers: Vec<TcpStream> = (0..50).map(|_| wire::connect(address)).collect();
            peers.iter_mut().for_each(|peer| peer.write_all(b"slow").unwrap());
            let answer = |peer: &mut TcpStream| {
                let mut text = String::new();
                peer.read_to_string(&mut text).map(|_| text)
            };
            peers.iter_mut().map(answer).collect::<io::Result<Vec<_>>>()
        })
        .await;
        assert!(answers.unwrap().iter().all(|answer| answer == "too slow\n"));
        assert!(is_served(address).await);
        until(|| server.clients() == 0).await;
    });
}

#[test]
fn one_byte_at_a_time_arrives_whole() {
    // SR2, SR3: a segment of its own for every byte.
    on_ring(async || {
        let server = start_server(lines, "127.0.0.1:0").await.unwrap();
        let address = pairs::address(&server);
        let text: Vec<u8> = (0..20_000).map(|at| if at % 100 == 99 { b'\n' } else { b'a' + (at % 23) as u8 }).collect();
        let sent = text.clone();
        let received = beside(move || {
            let mut peer = wire::connect(address);
            for byte in sent.chunks(1) {
                peer.write_all(byte).unwrap();
            }
            let mut received = vec![0; sent.len()];
            peer.read_exact(&mut received).unwrap();
            received
        })
        .await;
        assert!(received == text);
    });
}

#[test]
fn connections_that_say_nothing_hold_nobody_up() {
    // SV7, SV9: thousands of half-open peers, and a shutdown that ends all the same.
    on_ring(async || {
        let idle = async |mut reader: StreamReader, _writer: StreamWriter| reader.read_to_end().await.map(drop);
        let server = start_server(idle, "127.0.0.1:0").backlog(1024).await.unwrap();
        let address = pairs::address(&server);
        let silent = beside(move || (0..2000).map(|_| wire::connect(address)).collect::<Vec<_>>()).await;
        until(|| server.clients() == silent.len()).await;
        let ended =
            wait_for(async { server.shutdown(Duration::from_millis(20)).await.map_err(Error::from) }, None).await;
        assert_eq!(ended.unwrap(), 0);
        assert_eq!(server.clients(), 0);
        drop(silent);
    });
}

#[test]
fn a_thousand_slow_readers_are_held_to_their_marks() {
    // SW2, SW3: all are written to for as long as they read a little, and none is owed more than the high mark and one write.
    const READERS: usize = 1000;
    const HIGH: usize = 16 * 1024;
    const PIECE: usize = 4096;
    on_ring(async || {
        let (waits, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (count, peak) = (waits.clone(), most.clone());
        let feed = move |_: StreamReader, mut writer: StreamWriter| {
            let (waits, most) = (count.clone(), peak.clone());
            async move {
                writer.set_write_buffer_limits(HIGH, None)?;
                while writer.write(&[7; PIECE]).is_ok() {
                    let queued = writer.get_write_buffer_size();
                    most.set(most.get().max(queued));
                    waits.set(waits.get() + usize::from(queued > HIGH));
                    if writer.drain().await.is_err() {
                        break;
                    }
                }
                io::Result::Ok(())
            }
        };
        let server = start_server(feed, "127.0.0.1:0").backlog(1024).await.unwrap();
        let address = pairs::address(&server);
        let mut peers = beside(move || (0..READERS).map(|_| wire::connect(address)).collect::<Vec<_>>()).await;
        until(|| waits.get() >= READERS).await;
        for _ in 0..3 {
            let before = waits.get();
            peers = beside(move || {
                let mut sip = vec![0; 256 * 1024];
                peers.iter_mut().for_each(|peer| peer.read_exact(&mut sip).unwrap());
                peers
            })
            .await;
            until(|| waits.get() >= before + READERS).await;
        }
        assert!(most.get() <= HIGH + PIECE, "{} bytes were queued for one", most.get());
        server.close();
        server.abort_clients();
        server.wait_closed().await.unwrap();
        drop(peers);
    });
}

#[test]
fn resets_at_any_point_are_errors_of_their_connection_alone() {
    // SR7, SW2: with a read, a write, or nothing in flight.
    on_ring(async || {
        let server = start_server(lines, "127.0.0.1:0").await.unwrap();
        let address = pairs::address(&server);
        for sent in [&b""[..], b"half a li", b"line\n", &[b'\n'; 50_000]] {
            let (_reader, mut writer) = open_connection(address).await.unwrap();
            writer.write(sent).unwrap();
            writer.flush().await.unwrap();
            writer.abort();
        }
        assert!(is_served(address).await);
        until(|| server.clients() == 0).await;
    });
}
