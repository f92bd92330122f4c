//! Contract 8, open_connection.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};
use ringio::{
    ConnectError, ExtraInfo, Family, StreamReader, StreamWriter, create_task, internals, open_connection,
    open_connection_from, start_server, wait_for,
};

use super::{is_cancel, on_ring, pairs, turns, until};
use crate::support::wire;

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let data = reader.read_to_end().await?;
    writer.write_owned(data)
}

/// An address that refuses.
fn closed() -> SocketAddr {
    ([127, 0, 0, 1], wire::quiet_port()).into()
}

#[track_caller]
fn causes(error: &io::Error) -> &ConnectError {
    error.get_ref().and_then(|error| error.downcast_ref()).expect("a ConnectError")
}

#[test]
fn adopted_sockets_work_in_either_blocking_mode() {
    // OC1; lessons 18
    on_ring(async || {
        for blocking in [true, false] {
            let (ours, peer) = wire::pair();
            if blocking {
                wire::blocking(&ours)
            } else {
                wire::nonblocking(&ours)
            }
            let (mut reader, mut writer) = open_connection_from(ours).limit(1024).await.unwrap();
            let (mut far_reader, mut far) = open_connection_from(peer.into()).await.unwrap();
            writer.write_owned(vec![1; 8 << 20]).unwrap();
            writer.write_eof().unwrap();
            assert_eq!(far_reader.read_to_end().await.unwrap().len(), 8 << 20);
            let waiting = create_task(async move { reader.readline().await });
            turns(3).await;
            far.write(b"line\n").unwrap();
            assert_eq!(waiting.await.unwrap(), "line\n");
        }
    });
}

#[test]
fn what_is_no_stream_socket_is_refused() {
    // OC1
    on_ring(async || {
        let pipe: OwnedFd = io::pipe().unwrap().0.into();
        let datagrams: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        for fd in [pipe, datagrams] {
            assert_eq!(open_connection_from(fd).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(open_connection(closed()).limit(0).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn addresses_are_tried_in_order_and_the_sockets_of_failures_closed() {
    // OC2
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let good = pairs::address(&server);
        let (_reader, writer) = open_connection(vec![closed(), good]).await.unwrap();
        assert_eq!(writer.get_extra_info("peername"), Some(ExtraInfo::Address(good)));
        let Some(ExtraInfo::Descriptor(fd)) = writer.get_extra_info("socket") else { panic!("a socket") };
        // SAFETY: the writer keeps the descriptor open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        assert!(getsockopt(&fd.as_fd(), sockopt::TcpNoDelay).unwrap(), "OC6");
        let text = format!("127.0.0.1:{}", good.port());
        drop(open_connection([&closed().to_string()[..], &text]).await.unwrap());
        assert!(open_connection(Vec::<SocketAddr>::new()).await.is_err());
    });
}

#[test]
fn every_failure_is_named() {
    // OC3
    on_ring(async || {
        let (one, other) = (closed(), SocketAddr::from(([127, 0, 0, 2], closed().port())));
        let error = open_connection(vec![one, other]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let failed: Vec<_> = causes(&error).failures().iter().map(|(address, _)| *address).collect();
        assert_eq!(failed, [one, other]);
        for address in failed {
            assert!(error.to_string().contains(&format!("{address}: ")), "{error}");
        }
    });
}

#[test]
fn happy_eyeballs_do_not_wait_for_a_silent_address() {
    // OC4: the winner ends the other attempt.
    on_ring(async || {
        let (silent, _full) = wire::full_listener();
        let silent = silent.local_addr().unwrap();
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let good = pairs::address(&server);
        let connecting = open_connection(vec![silent, good]).happy_eyeballs_delay(Duration::from_millis(5));
        let (mut reader, mut writer) = wait_for(connecting.into_future(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(writer.peer_addr().unwrap(), good);
        writer.write(b"hi").unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), "hi");
        // Without the delay it does wait.
        let connecting = open_connection(vec![silent, good]).into_future();
        let waited = wait_for(connecting, Duration::from_millis(100)).await;
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        server.close();
        drop((reader, writer));
        until(|| internals::counts().operations == 0).await;
    });
}

#[test]
fn happy_eyeballs_go_on_at_once_when_one_fails() {
    // OC4: an hour's delay is not waited for behind a failure; the loser of a race is closed.
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let good = pairs::address(&server);
        let hour = Duration::from_secs(3600);
        let connecting = open_connection(vec![closed(), closed(), good]).happy_eyeballs_delay(hour).interleave(2);
        drop(connecting.await.unwrap());
        let error = open_connection(vec![closed(), closed()]).happy_eyeballs_delay(hour).await.unwrap_err();
        assert_eq!(causes(&error).failures().len(), 2);
        // Both at once: one is kept, the other closed.
        for _ in 0..20 {
            let both = open_connection(vec![good, good]).happy_eyeballs_delay(Duration::ZERO);
            drop(both.await.unwrap());
        }
        until(|| server.clients() == 0).await;
    });
}

#[test]
fn cancelled_connects_leak_nothing() {
    // OC8, C10
    on_ring(async || {
        let (silent, _full) = wire::full_listener();
        let silent = silent.local_addr().unwrap();
        for delay in [None, Some(Duration::from_millis(1))] {
            let task = create_task(async move {
                let connecting = open_connection(vec![silent, silent, silent]);
                match delay {
                    Some(delay) => connecting.happy_eyeballs_delay(delay).await.map(drop),
                    None => connecting.await.map(drop),
                }
            });
            turns(5).await;
            task.cancel();
            assert!(is_cancel(&task.await.unwrap_err()));
            until(|| internals::counts().operations == 0).await;
        }
    });
}

#[test]
fn local_address_is_bound_before_connecting() {
    // OC5
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let good = pairs::address(&server);
        let local = ["[::1]:0", "127.0.0.5:0"];
        let (_reader, writer) = open_connection(good).local_addr(local).await.unwrap();
        assert_eq!(writer.local_addr().unwrap().ip(), std::net::Ipv4Addr::new(127, 0, 0, 5));
        let error = open_connection(good).local_addr("[::1]:0").await.unwrap_err();
        assert!(error.to_string().contains("no local address is IPv4"), "{error}");
        let taken = SocketAddr::from(([127, 0, 0, 1], good.port()));
        let error = open_connection(good).local_addr(taken).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cannot bind to the local address {taken}")), "{error}");
    });
}

#[test]
fn family_narrows_the_addresses() {
    // OC2
    on_ring(async || {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let good = pairs::address(&server);
        let addresses = vec!["[::1]:1".parse().unwrap(), good];
        let (_reader, writer) = open_connection(addresses.clone()).family(Family::Inet).await.unwrap();
        assert_eq!(writer.peer_addr().unwrap(), good);
        let error = open_connection(good).family(Family::Inet6).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("IPv6")), (io::ErrorKind::NotFound, true));
    });
}
