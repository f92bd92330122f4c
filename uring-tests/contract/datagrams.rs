//! Datagrams, over UDP and Unix sockets.

use std::{io, time::Duration};

use ringio::{BufResult, UdpSocket, UnixDatagram, create_task, internals, wait_for};

use super::{is_cancel, on_ring, turns, until};

#[test]
fn datagrams_keep_their_borders_and_their_senders() {
    on_ring(async || {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        for size in [0, 1, 1400, 60_000] {
            let BufResult(sent, buffer) = here.send_to(vec![7; size], to).await;
            assert_eq!((sent.unwrap(), buffer.len()), (size, size));
        }
        for size in [0, 1, 1400, 60_000] {
            let (datagram, sender) = there.recv().await.unwrap();
            assert_eq!((datagram, sender), (vec![7; size].into(), from));
        }
        here.connect(to).unwrap();
        here.send("a long one").await.0.unwrap();
        let BufResult(received, buffer) = there.recv_from(vec![0; 4]).await;
        assert_eq!((received.unwrap(), &buffer[..]), ((4, from), &b"a lo"[..]));
        let BufResult(too_long, _) = here.send(vec![0; 70_000]).await;
        assert!(too_long.is_err());
        assert!(UdpSocket::bind(to).unwrap_err().to_string().contains(&to.to_string()));
        assert_eq!(UdpSocket::bind("localhost:0").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn cancelled_receives_lose_no_datagram() {
    // SR10 for datagrams: what a timed-out or dropped receive gets is there for the next one, in order.
    on_ring(async || {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        here.connect(there.local_addr().unwrap()).unwrap();
        for round in 0..200u8 {
            let waited = wait_for(there.recv(), Duration::from_micros(u64::from(round % 7) * 10)).await;
            assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
            {
                let mut dropped = std::pin::pin!(there.recv());
                assert!(futures::poll!(dropped.as_mut()).is_pending());
                here.send(vec![round]).await.0.unwrap();
                turns(usize::from(round % 3)).await;
            }
            assert_eq!(there.recv().await.unwrap().0, [round][..]);
        }
        let there = std::rc::Rc::new(there);
        let waiting = there.clone();
        let task = create_task(async move { waiting.recv().await });
        turns(2).await;
        task.cancel();
        assert!(is_cancel(&task.await.unwrap_err()));
        drop((here, there));
        until(|| internals::counts().operations == 0).await;
    });
}

#[test]
fn refusals_reach_a_connected_socket_which_goes_on() {
    on_ring(async || {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        turns(3).await;
        here.connect(gone).unwrap();
        here.send("anybody?").await.0.unwrap();
        assert_eq!(here.recv().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        here.connect(there.local_addr().unwrap()).unwrap();
        there.send_to("somebody", here.local_addr().unwrap()).await.0.unwrap();
        assert_eq!(here.recv().await.unwrap().0, "somebody");
    });
}

#[test]
fn unix_datagrams_know_paths() {
    // SV2: the file goes with its socket.
    on_ring(async || {
        let path = std::env::temp_dir().join(format!("ringio-datagrams-{}", std::process::id()));
        let (here, there) = (UnixDatagram::bind(&path).unwrap(), UnixDatagram::unbound().unwrap());
        assert_eq!(here.local_path().unwrap(), Some(path.clone()));
        there.send_to("by path", &path).await.0.unwrap();
        there.connect(&path).unwrap();
        there.send("connected").await.0.unwrap();
        assert_eq!(here.recv().await.unwrap(), ("by path".into(), None));
        let BufResult(received, buffer) = here.recv_from(vec![0; 100]).await;
        assert_eq!(received.unwrap(), (9, None));
        assert_eq!(&buffer[..9], b"connected");
        let name = format!("\0ringio-datagrams-{}", std::process::id());
        let named = UnixDatagram::bind(&name).unwrap();
        named.send_to("from a name", &path).await.0.unwrap();
        assert_eq!(here.recv().await.unwrap(), ("from a name".into(), Some(name.into())));
        drop(here);
        assert!(!path.exists());
        assert!(there.send("gone").await.0.is_err());
    });
}
