//! Datagrams, over UDP and Unix sockets.

use std::{io, time::Duration};

use ringio::{BufResult, UdpSocket, UnixDatagram, create_task, internals, wait_for};

use super::{in_time, is_cancel, on_ring, turns, until};
use crate::support::{Rng, each_profile};

/// On every set of kernel features: one at a time, and many at a time.
fn on_each(main: impl AsyncFn(&mut Rng) + Send + 'static) {
    in_time(move || {
        let mut rng = Rng::new("datagrams");
        each_profile(|_, runner| runner.run(main(&mut rng)));
    });
}

#[test]
fn datagrams_keep_their_borders_and_their_senders() {
    on_each(async |_| {
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
    on_each(async |_| {
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
    on_each(async |_| {
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
fn none_is_lost_or_doubled_however_receives_end() {
    // SR10 for datagrams: a Unix socket drops none by itself, so each number comes once, in order, of whatever length.
    on_each(async |rng| {
        let (here, there) = UnixDatagram::pair().unwrap();
        let lens: Vec<usize> =
            (0..600).map(|_| 8 + [rng.below(8), rng.below(3000), rng.below(60_000)][rng.below(3)]).collect();
        let expected = lens.clone();
        let sending = create_task(async move {
            for (number, len) in lens.into_iter().enumerate() {
                let mut datagram = vec![number as u8; len];
                datagram[..8].copy_from_slice(&number.to_be_bytes());
                here.send(datagram).await.0?;
            }
            io::Result::Ok(here)
        });
        let mut kept = Vec::new();
        while kept.len() < expected.len() {
            match rng.below(4) {
                0 => {
                    let mut dropped = std::pin::pin!(there.recv());
                    if let std::task::Poll::Ready(datagram) = futures::poll!(dropped.as_mut()) {
                        kept.push(datagram.unwrap().0);
                    }
                }
                1 => turns(rng.below(4)).await,
                _ => {
                    if let Ok((datagram, _)) = wait_for(there.recv(), rng.micros(300)).await {
                        kept.push(datagram);
                    }
                }
            }
        }
        // Also those that were kept while buffers were used again.
        for (number, (datagram, len)) in kept.iter().zip(expected).enumerate() {
            assert_eq!((datagram.len(), &datagram[..8]), (len, &number.to_be_bytes()[..]));
            assert!(datagram[8..].iter().all(|byte| *byte == number as u8), "datagram {number} was written over");
        }
        drop((sending.await.unwrap(), there));
        until(|| internals::counts().operations == 0).await;
    });
}

#[test]
fn who_does_not_receive_holds_what_comes_in_the_kernel() {
    // SR9 for datagrams: after one receive, what nobody takes is bounded here, and the rest waits for its turn.
    on_each(async |_| {
        let (here, there) = UnixDatagram::pair().unwrap();
        here.send(vec![0; 1000]).await.0.unwrap();
        assert_eq!(there.recv().await.unwrap().0.len(), 1000);
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = sent.clone();
        let sending = create_task(async move {
            for _ in 0..2000 {
                here.send(vec![1; 1000]).await.0?;
                count.set(count.get() + 1);
            }
            io::Result::Ok(())
        });
        let mut before = usize::MAX;
        while sent.get() != before {
            before = sent.get();
            turns(100).await;
        }
        // As many as are taken ahead, a buffer each on the way, and the kernel's own queue, which is short.
        assert!(sent.get() < 1000, "{} were sent to nobody", sent.get());
        for _ in 0..2000 {
            assert_eq!(there.recv().await.unwrap().0.len(), 1000);
        }
        sending.await.unwrap();
    });
}

#[test]
fn more_sockets_than_buffers_are_served() {
    // Whoever finds no buffer starts again; and what is kept takes none from the others for ever.
    on_each(async |_| {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there: Vec<UdpSocket> = (0..150).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut kept = Vec::new();
        for round in 0..4u8 {
            for socket in &there {
                here.send_to(vec![round; 9000], socket.local_addr().unwrap()).await.0.unwrap();
            }
            let received = futures::future::join_all(there.iter().map(UdpSocket::recv)).await;
            kept.extend(received.into_iter().map(|received| received.unwrap().0));
            assert!(kept.iter().rev().take(there.len()).all(|datagram| datagram[..] == vec![round; 9000]));
        }
        for (index, datagram) in kept.iter().enumerate() {
            assert_eq!(datagram[0] as usize, index / there.len());
        }
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
        // The socket goes when the kernel has ended its receive.
        until(|| internals::counts().operations == 0).await;
        assert!(there.send("gone").await.0.is_err());
    });
}
