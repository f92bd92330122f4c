//! Contract 8, start_server and Server.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt};
use ringio::{
    CancelledError, ExtraInfo, Server, StreamReader, StreamWriter, create_task, open_connection, start_server, wait_for,
};

use super::{Reports, Trace, forever, in_time, is_cancel, on_ring, pairs, stubborn, turns, until};

pub(super) async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
    }
}

async fn is_served(address: SocketAddr) -> bool {
    let Ok((mut reader, mut writer)) = open_connection(address).await else { return false };
    writer.write(b"x").unwrap();
    reader.read(1).await.unwrap() == "x"
}

#[test]
fn several_addresses_are_served_each_once() {
    // SV1: port 0 picks for each; what is named twice is listened on once.
    on_ring(async || {
        let server = start_server(echo, ["127.0.0.1:0", "127.0.0.2:0"]).await.unwrap();
        let sockets = server.sockets();
        assert_eq!(sockets.len(), 2);
        for address in sockets {
            assert!(is_served(address).await);
        }
        let port = crate::support::wire::quiet_port();
        let twice = (&["127.0.0.1", "127.0.0.1", "localhost"][..], port);
        let server = start_server(echo, twice).await.unwrap();
        let sockets = server.sockets();
        assert_eq!(sockets.iter().filter(|address| address.is_ipv4()).count(), 1, "{sockets:?}");
    });
}

#[test]
fn an_empty_host_is_all_interfaces_of_both_families() {
    // SV1: one socket for each family, which do not get in each other's way; a family this machine lacks is skipped.
    on_ring(async || {
        let port = pairs::address(&start_server(echo, "127.0.0.1:0").await.unwrap()).port() ^ 1;
        let Ok(server) = start_server(echo, ("", port)).await else {
            eprintln!("SKIPPED: port {port} is in use");
            return;
        };
        assert!(is_served(([127, 0, 0, 1], port).into()).await);
        if server.sockets().iter().any(SocketAddr::is_ipv6) {
            assert!(is_served(format!("[::1]:{port}").parse().unwrap()).await);
        } else {
            eprintln!("SKIPPED: no IPv6 here");
        }
        assert_eq!(server.sockets().iter().filter(|address| address.is_ipv4()).count(), 1);
    });
}

#[test]
fn a_bind_that_fails_names_its_address_and_closes_the_others() {
    // SV1
    on_ring(async || {
        let taken = start_server(echo, "127.0.0.1:0").await.unwrap();
        let taken = pairs::address(&taken);
        let free: SocketAddr = ([127, 0, 0, 3], taken.port()).into();
        let error = start_server(echo, vec![free, taken]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        until(|| std::net::TcpListener::bind(free).is_ok()).await;
        assert!(start_server(echo, Vec::<SocketAddr>::new()).await.is_err());
        assert_eq!(start_server(echo, "127.0.0.1:0").limit(0).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn options_reach_the_sockets() {
    // SV1: reuse_port and keep_alive, both off unless asked for.
    on_ring(async || {
        let first = start_server(echo, "127.0.0.1:0").reuse_port(true).await.unwrap();
        let second = start_server(echo, pairs::address(&first)).reuse_port(true).await.unwrap();
        assert_eq!(first.sockets(), second.sockets());
        assert!(start_server(echo, pairs::address(&first)).await.is_err());
        for keep_alive in [false, true] {
            let seen: Rc<RefCell<Option<bool>>> = Rc::default();
            let place = seen.clone();
            let handler = move |_: StreamReader, writer: StreamWriter| {
                let Some(ExtraInfo::Descriptor(fd)) = writer.get_extra_info("socket") else { panic!("a socket") };
                // SAFETY: the writer keeps the descriptor open.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                assert!(getsockopt(&fd, sockopt::TcpNoDelay).unwrap());
                place.replace(getsockopt(&fd, sockopt::KeepAlive).ok());
                async {}
            };
            let server = start_server(handler, "127.0.0.1:0").keep_alive(keep_alive).await.unwrap();
            let _client = open_connection(pairs::address(&server)).await.unwrap();
            until(|| seen.borrow().is_some()).await;
            assert_eq!(seen.take(), Some(keep_alive));
        }
    });
}

#[test]
fn handler_tasks_belong_to_the_server() {
    // SV3: listed while they run; a cancelled one closes its connection without a report.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let server = start_server(echo, "127.0.0.1:0").await.unwrap();
            let (mut reader, _writer) = open_connection(pairs::address(&server)).await.unwrap();
            let (mut other, mut other_writer) = open_connection(pairs::address(&server)).await.unwrap();
            until(|| server.clients() == 2).await;
            let tasks = server.tasks();
            assert_eq!(tasks.len(), 2);
            assert!(tasks.iter().all(|task| !task.done()));
            tasks[0].cancel();
            until(|| server.clients() == 1).await;
            other_writer.write(b"still").unwrap();
            let served = [reader.read(1), other.read(5)];
            let (mut ended, mut alive) = (0, 0);
            for read in futures::future::join_all(served).await {
                match &read.unwrap()[..] {
                    b"" => ended += 1,
                    b"still" => alive += 1,
                    text => panic!("{text:?}"),
                }
            }
            assert_eq!((ended, alive), (1, 1));
        });
        assert_eq!(reports.kinds(), []);
    });
}

#[test]
fn a_server_that_does_not_serve_yet_refuses_and_then_serves() {
    // SV4
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").start_serving(false).await.unwrap();
        let address = pairs::address(&server);
        assert!(!server.is_serving());
        assert_eq!(open_connection(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        server.start_serving().unwrap();
        server.start_serving().unwrap();
        assert!(server.is_serving() && is_served(address).await);
        assert_eq!(server.sockets(), [address]);
        server.close();
        server.close();
        assert!(!server.is_serving() && server.sockets().is_empty());
        assert!(server.start_serving().is_err());
        // Never served at all.
        let server = start_server(echo, "127.0.0.1:0").start_serving(false).await.unwrap();
        let address = pairs::address(&server);
        server.close();
        server.wait_closed().await.unwrap();
        drop(std::net::TcpListener::bind(address).unwrap());
    });
}

#[test]
fn serve_forever_starts_serves_once_at_a_time_and_not_when_closed() {
    // SV5
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").start_serving(false).await.unwrap();
        let serving = server.clone();
        let serve = create_task(async move { serving.serve_forever().await });
        until(|| server.is_serving()).await;
        assert!(is_served(pairs::address(&server)).await);
        assert_eq!(server.serve_forever().await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        server.close();
        serve.await.unwrap();
        assert_eq!(server.serve_forever().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        // A dropped one does not count.
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        {
            let mut dropped = std::pin::pin!(server.serve_forever());
            assert!(futures::poll!(dropped.as_mut()).is_pending());
        }
        let timed_out = wait_for(server.serve_forever(), Duration::from_millis(1)).await;
        assert_eq!(timed_out.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

/// A server whose handler writes more than the peer takes, and then runs `rest`.
async fn stuffed(rest: impl AsyncFn() + Copy + 'static) -> (Server, StreamReader, StreamWriter) {
    let server = start_server(
        move |_reader: StreamReader, mut writer: StreamWriter| async move {
            writer.write_owned(vec![7; SIZE])?;
            let closed = writer.drain().await;
            rest().await;
            closed
        },
        "127.0.0.1:0",
    )
    .await
    .unwrap();
    let (reader, writer) = open_connection(pairs::address(&server)).await.unwrap();
    until(|| server.clients() == 1).await;
    turns(5).await;
    (server, reader, writer)
}

const SIZE: usize = 32 << 20;

#[test]
fn close_clients_flushes() {
    // SV6
    on_ring(async || {
        let (server, mut reader, _writer) = stuffed(async || {}).await;
        server.close_clients();
        assert_eq!(reader.read_to_end().await.unwrap().len(), SIZE);
        server.close();
        server.wait_closed().await.unwrap();
    });
}

#[test]
fn abort_clients_drops_what_was_not_sent() {
    // SV6
    on_ring(async || {
        let (server, mut reader, _writer) = stuffed(async || {}).await;
        server.abort_clients();
        server.close();
        server.wait_closed().await.unwrap();
        assert_eq!(reader.read_to_end().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn wait_closed_waits_for_both_in_either_order() {
    // SV7
    on_ring(async || {
        let trace = Trace::default();
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let (_reader, writer) = open_connection(pairs::address(&server)).await.unwrap();
        until(|| server.clients() == 1).await;
        let waiting = |name: &'static str| {
            let (server, trace) = (server.clone(), trace.clone());
            create_task(async move {
                server.wait_closed().await?;
                trace.add(name);
                Ok::<_, CancelledError>(())
            })
        };
        let first = waiting("first");
        drop(writer);
        until(|| server.clients() == 0).await;
        turns(3).await;
        assert_eq!(trace.take(), "", "it is not closed yet");
        server.close();
        waiting("second").await.unwrap();
        first.await.unwrap();
        assert_eq!(trace.take(), "first second");
    });
}

#[test]
fn shutdown_lets_handlers_finish() {
    // SV7
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let (mut reader, mut writer) = open_connection(pairs::address(&server)).await.unwrap();
        writer.write(b"last").unwrap();
        writer.write_eof().unwrap();
        until(|| server.clients() == 1).await;
        assert_eq!(server.shutdown(Duration::from_secs(20)).await, Ok(0));
        assert_eq!(reader.read_to_end().await.unwrap(), "last");
        assert_eq!(server.shutdown(Duration::ZERO).await, Ok(0), "again, at once");
    });
}

#[test]
fn shutdown_closes_idle_clients_and_aborts_stuck_ones() {
    // SV7, flaw 14 (gh-104344, gh-113538)
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let (mut reader, _writer) = open_connection(pairs::address(&server)).await.unwrap();
        until(|| server.clients() == 1).await;
        assert_eq!(server.shutdown(Duration::from_millis(50)).await, Ok(0), "the handler reads the end");
        assert_eq!(reader.read(1).await.unwrap(), "");
        let (server, mut reader, _writer) = stuffed(async || {}).await;
        assert_eq!(server.shutdown(Duration::from_millis(50)).await, Ok(1));
        assert_eq!(server.clients(), 0);
        assert_eq!(reader.read_to_end().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn shutdown_ends_although_a_handler_does_not() {
    // SV7: one that waits for something else is cancelled, and one that swallows that does not hold the shutdown up.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(Some(Duration::from_millis(50))).build().unwrap();
        runner.run(async {
            let (server, _reader, _writer) = stuffed(async || assert!(forever().await.is_err())).await;
            assert_eq!(server.shutdown(Duration::from_millis(10)).await, Ok(1));
            assert_eq!(server.clients(), 0);
            let (server, _reader, _writer) = stuffed(async || stubborn().await).await;
            let began = Instant::now();
            assert_eq!(server.shutdown(Duration::from_millis(10)).await, Ok(1));
            assert!(began.elapsed() >= Duration::from_secs(1), "its clean-up has a second");
            assert_eq!(server.clients(), 1);
        });
        runner.close();
    });
}

#[test]
fn cancelled_shutdown_leaves_the_server_closed() {
    // SV7
    on_ring(async || {
        let (server, _reader, _writer) = stuffed(async || {}).await;
        let ending = server.clone();
        let task = create_task(async move { ending.shutdown(Duration::from_secs(60)).await });
        turns(3).await;
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        assert!(!server.is_serving() && server.clients() == 1);
        let closed = server.clone();
        let task = create_task(async move { closed.serve_forever().await });
        assert!(!is_cancel(&task.await.unwrap_err()));
    });
}
