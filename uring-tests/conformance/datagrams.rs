//! Datagrams, of UDP and between processes.

use std::{io, time::Duration};

use ringio::{BufResult, UdpSocket, UnixDatagram, create_task, sleep, wait_for};

use super::{Kernel, each_kernel, soon, unix::Directory};

/// Longer than anything is on its way.
const LATER: Duration = Duration::from_millis(350);

#[test]
fn datagrams_arrive_whole_and_with_their_sender() {
    each_kernel("datagrams_arrive_whole_and_with_their_sender", async |_| {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        for size in [5, 0, 1400, 60_000] {
            assert_eq!(here.send_to(vec![size as u8; size], to).await.0.unwrap(), size);
        }
        for size in [5, 0, 1400, 60_000] {
            let (datagram, sender) = there.recv().await.unwrap();
            assert_eq!((datagram.len(), sender), (size, from));
            assert!(datagram.iter().all(|&byte| byte == size as u8));
        }
        let error = here.send_to(vec![0; 70_000], to).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EMSGSIZE));
    });
}

#[test]
fn what_does_not_fit_is_cut_off() {
    each_kernel("what_does_not_fit_is_cut_off", async |_| {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = there.local_addr().unwrap();
        here.send_to("a long one", to).await.0.unwrap();
        here.send_to("next", to).await.0.unwrap();
        let BufResult(received, buffer) = there.recv_from(vec![0; 6]).await;
        assert_eq!((received.unwrap().0, &buffer[..]), (6, &b"a long"[..]));
        assert_eq!(&there.recv().await.unwrap().0[..], b"next");
    });
}

#[test]
fn a_connected_socket_hears_its_peer_alone_and_that_it_is_gone() {
    each_kernel("a_connected_socket_hears_its_peer_alone_and_that_it_is_gone", async |_| {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = here.send("nobody").await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EDESTADDRREQ));
        let (there, stranger) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        here.connect(there.local_addr().unwrap()).unwrap();
        stranger.send_to("stranger", here.local_addr().unwrap()).await.0.unwrap();
        sleep(LATER).await.unwrap();
        there.send_to("peer", here.local_addr().unwrap()).await.0.unwrap();
        assert_eq!(&here.recv().await.unwrap().0[..], b"peer");
        drop(there);
        here.send("lost").await.0.unwrap();
        let error = wait_for(here.recv(), Duration::from_secs(100)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_port_of_udp_is_bound_once_and_not_that_of_tcp() {
    each_kernel("a_port_of_udp_is_bound_once_and_not_that_of_tcp", async |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let error = UdpSocket::bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        drop(socket);
        assert_eq!(soon(|| UdpSocket::bind(address)).await.local_addr().unwrap(), address);
        let all = UdpSocket::bind("0.0.0.0:0").unwrap();
        let (port, sender) = (all.local_addr().unwrap().port(), UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.send_to("hello", ([127, 0, 0, 1], port).into()).await.0.unwrap();
        assert_eq!(all.recv().await.unwrap().1, sender.local_addr().unwrap());
        all.send_to("hello", sender.local_addr().unwrap()).await.0.unwrap();
        assert_eq!(sender.recv().await.unwrap().1, ([127, 0, 0, 1], port).into());
    });
}

#[test]
fn datagrams_between_processes_go_by_path() {
    each_kernel("datagrams_between_processes_go_by_path", async |kernel| {
        let directory = Directory::new(kernel, "conformance-datagrams");
        let (here, there) = (directory.join("here"), directory.join("there"));
        let sender = UnixDatagram::unbound().unwrap();
        let nobody = sender.send_to("early", &there).await.0.unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);
        let error = sender.send("nobody").await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        let (one, other) = (UnixDatagram::bind(&here).unwrap(), UnixDatagram::bind(&there).unwrap());
        assert_eq!(one.local_path().unwrap(), Some(here.clone()));
        sender.send_to("unnamed", &there).await.0.unwrap();
        one.send_to("named", &there).await.0.unwrap();
        let (datagram, from) = other.recv().await.unwrap();
        assert_eq!((&datagram[..], from), (&b"unnamed"[..], None));
        let (datagram, from) = other.recv().await.unwrap();
        assert_eq!((&datagram[..], from), (&b"named"[..], Some(here)));
        one.connect(&there).unwrap();
        one.send("again").await.0.unwrap();
        assert_eq!(&other.recv().await.unwrap().0[..], b"again");
        drop(other);
        let gone = loop {
            // It is closed when the receive on it has ended.
            match one.send("lost").await.0 {
                Ok(_) => sleep(Duration::from_millis(1)).await.unwrap(),
                Err(error) => break error,
            }
        };
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_full_queue_of_datagrams_makes_the_sender_wait_and_loses_nothing() {
    each_kernel("a_full_queue_of_datagrams_makes_the_sender_wait_and_loses_nothing", async |kernel| {
        let directory = Directory::new(kernel, "conformance-queue");
        let path = directory.join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sending = create_task(async move {
            let sender = UnixDatagram::unbound()?;
            for number in 0..40_u32 {
                // Each counts, and many of them are more than Linux or the simulation holds.
                let mut datagram = number.to_ne_bytes().to_vec();
                datagram.resize(20_000, 7);
                sender.send_to(datagram, &path).await.0?;
            }
            io::Result::Ok(())
        });
        sleep(Duration::from_millis(20)).await.unwrap();
        assert!(!sending.done());
        for number in 0..40_u32 {
            let (datagram, _) = receiver.recv().await.unwrap();
            assert_eq!((datagram.len(), &datagram[..4]), (20_000, &number.to_ne_bytes()[..]));
        }
        sending.await.unwrap();
    });
}

#[test]
fn a_receive_that_gave_up_leaves_the_datagram() {
    each_kernel("a_receive_that_gave_up_leaves_the_datagram", async |_| {
        let (here, there) = UnixDatagram::pair().unwrap();
        assert!(wait_for(there.recv(), Duration::from_millis(2)).await.is_err());
        here.send("one").await.0.unwrap();
        here.send("two").await.0.unwrap();
        assert_eq!(&there.recv().await.unwrap().0[..], b"one");
        assert_eq!(&there.recv().await.unwrap().0[..], b"two");
        assert_eq!(here.local_path().unwrap(), None);
    });
}

#[test]
fn a_pair_has_no_third() {
    each_kernel("a_pair_has_no_third", async |kernel| {
        let directory = Directory::new(kernel, "conformance-third");
        let (here, there) = (directory.join("here"), directory.join("there"));
        let (one, other) = (UnixDatagram::bind(&here).unwrap(), UnixDatagram::bind(&there).unwrap());
        other.connect(&here).unwrap();
        let third = UnixDatagram::unbound().unwrap();
        let error = third.send_to("for somebody else", &there).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(third.connect(&there).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        one.send_to("from the peer", &there).await.0.unwrap();
        assert_eq!(&other.recv().await.unwrap().0[..], b"from the peer");
        assert_eq!(kernel == Kernel::Linux, there.exists());
    });
}
