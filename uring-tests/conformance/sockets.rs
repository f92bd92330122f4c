//! TCP.

use std::{io, net::SocketAddr, time::Duration};

use ringio::{BufResult, TcpListener, TcpStream, create_task, open_connection, sleep, start_server, wait_for};

use super::{each_kernel, echo, soon};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    listener.close().await.unwrap();
    (client, server)
}

/// Everything up to the end, or up to an error.
async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    loop {
        let BufResult(result, buffer) = stream.read(Vec::with_capacity(4096)).await;
        match result {
            Ok(0) => return (all, Ok(())),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Err(error)),
        }
    }
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    each_kernel("connecting_where_nobody_listens_is_refused", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.close().await.unwrap();
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn an_address_is_listened_on_once_and_free_after_the_close() {
    each_kernel("an_address_is_listened_on_once_and_free_after_the_close", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        listener.close().await.unwrap();
        assert_eq!(soon(|| TcpListener::bind(address)).await.local_addr().unwrap(), address);
    });
}

#[test]
fn both_ends_agree_on_their_addresses() {
    each_kernel("both_ends_agree_on_their_addresses", async |_| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("SKIPPED: this machine has no {address}");
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(server.peer_addr().unwrap(), peer);
            assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
        }
    });
}

#[test]
fn a_listener_on_all_addresses_is_reached_by_loopback() {
    each_kernel("a_listener_on_all_addresses_is_reached_by_loopback", async |_| {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn what_was_sent_before_the_accept_is_there_after_it() {
    each_kernel("what_was_sent_before_the_accept_is_there_after_it", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_eof().unwrap();
        let mut early = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let writing = create_task(async move {
            early.write_all(b"early".to_vec()).await.0?;
            early.close().await
        });
        let (mut first, _) = listener.accept().await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        assert_eq!(read_all(&mut first).await.0, b"");
        assert_eq!(read_all(&mut second).await.0, b"early");
        drop((first, second));
        writing.await.unwrap();
    });
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    each_kernel("the_end_of_one_direction_leaves_the_other_open", async |_| {
        let (mut client, mut server) = pair().await;
        client.write_all(b"question".to_vec()).await.0.unwrap();
        client.write_eof().unwrap();
        let (question, ended) = read_all(&mut server).await;
        assert_eq!((&question[..], ended.is_ok()), (&b"question"[..], true));
        server.write_all(b"answer".to_vec()).await.0.unwrap();
        server.close().await.unwrap();
        assert_eq!(read_all(&mut client).await.0, b"answer");
    });
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_writing() {
    each_kernel("a_peer_that_is_gone_is_noticed_by_writing", async |_| {
        let (mut client, server) = pair().await;
        server.close().await.unwrap();
        let error = loop {
            match client.write_all(vec![1; 1000]).await.0 {
                Ok(()) => sleep(Duration::from_millis(1)).await.unwrap(),
                Err(error) => break error,
            }
        };
        let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    });
}

#[test]
fn a_connection_that_nobody_accepted_breaks_off_with_its_listener() {
    each_kernel("a_connection_that_nobody_accepted_breaks_off_with_its_listener", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        listener.close().await.unwrap();
        let (read, _) = wait_for(async { io::Result::Ok(read_all(&mut client).await) }, Duration::from_secs(100))
            .await
            .expect("it ends");
        assert_eq!(read, b"");
    });
}

#[test]
fn what_came_before_a_reset_is_read_before_the_error() {
    each_kernel("what_came_before_a_reset_is_read_before_the_error", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_reader, mut writer) = open_connection(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        writer.write(b"!").unwrap();
        writer.flush().await.unwrap();
        // Longer than anything is on its way.
        sleep(Duration::from_millis(350)).await.unwrap();
        writer.abort();
        let (read, ended) = read_all(&mut server).await;
        assert_eq!(read, b"!");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_long_write_waits_for_the_reader_and_loses_nothing() {
    each_kernel("a_long_write_waits_for_the_reader_and_loses_nothing", async |kernel| {
        // More than both sockets hold.
        let len = if kernel == super::Kernel::Linux { 16 << 20 } else { 600_000 };
        let (mut client, mut server) = pair().await;
        let writing = create_task(async move {
            let sent: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            client.write_all(sent).await.0
        });
        sleep(Duration::from_millis(20)).await.unwrap();
        assert!(!writing.done());
        let (read, _) = read_all(&mut server).await;
        assert_eq!(read.len(), len);
        assert!(read.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
        writing.await.unwrap();
    });
}

#[test]
fn a_timed_out_read_gives_the_buffer_back_and_leaves_the_bytes() {
    each_kernel("a_timed_out_read_gives_the_buffer_back_and_leaves_the_bytes", async |_| {
        let (mut client, mut server) = pair().await;
        let BufResult(result, buffer) = wait_for(server.read(vec![0; 7]), Duration::from_millis(5)).await;
        assert_eq!((result.unwrap_err().kind(), buffer.len()), (io::ErrorKind::TimedOut, 7));
        client.write_all(b"later".to_vec()).await.0.unwrap();
        client.close().await.unwrap();
        assert_eq!(read_all(&mut server).await.0, b"later");
    });
}

#[test]
fn a_server_that_does_not_serve_yet_has_an_address_and_refuses() {
    // SV1
    each_kernel("a_server_that_does_not_serve_yet_has_an_address_and_refuses", async |_| {
        let server = start_server(echo, "127.0.0.1:0").start_serving(false).await.unwrap();
        let address = server.sockets()[0];
        assert_eq!(open_connection(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        server.start_serving().unwrap();
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (mut reader, mut writer) = open_connection(address).await.unwrap();
        writer.write(b"hello").unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), "hello");
        drop((reader, writer));
        server.close();
        server.wait_closed().await.unwrap();
        let idle = start_server(echo, address).start_serving(false).await.unwrap();
        idle.close();
        idle.wait_closed().await.unwrap();
        soon(|| TcpListener::bind(address)).await.close().await.unwrap();
    });
}

#[test]
fn a_connection_comes_from_where_it_was_told_to() {
    // OC5
    each_kernel("a_connection_comes_from_where_it_was_told_to", async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = open_connection(address).local_addr(address).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(&address.to_string()), "{taken}");
        let (reader, writer) = open_connection(address).local_addr("127.0.0.2:0").await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), std::net::Ipv4Addr::new(127, 0, 0, 2));
        drop((reader, writer, server));
        listener.close().await.unwrap();
    });
}
