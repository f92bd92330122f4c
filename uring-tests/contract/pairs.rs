//! Connections to itself, for tests.

use std::{cell::RefCell, rc::Rc};

use ringio::{Descriptor, Server, StreamReader, StreamWriter, TcpListener, TcpStream};

use super::{Connection, until};

/// Two ends of one connection, as streams with the given limit on this side.
pub(crate) async fn streams(limit: usize) -> Connection {
    let accepted: Rc<RefCell<Option<(StreamReader, StreamWriter)>>> = Rc::default();
    let place = accepted.clone();
    let server = ringio::start_server(
        move |reader, writer| {
            place.replace(Some((reader, writer)));
            async {}
        },
        "127.0.0.1:0",
    )
    .await
    .unwrap();
    let here = ringio::open_connection(address(&server)).limit(limit).await.unwrap();
    until(|| accepted.borrow().is_some()).await;
    server.close();
    server.wait_closed().await.unwrap();
    let there = accepted.take().unwrap();
    (here, there)
}

/// Two ends of one connection, with owned buffers.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (there, _) = listener.accept().await.unwrap();
    (here, there)
}

/// The two ends of a pipe.
pub(crate) fn pipe() -> (Descriptor, Descriptor) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Descriptor::new(reader.into()), Descriptor::new(writer.into()))
}

pub(crate) fn address(server: &Server) -> std::net::SocketAddr {
    server.sockets()[0]
}
