//! Connections that are being made, and servers that are waited for.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};

use ringio::{
    Bind, BufResult, Server, StreamReader, StreamWriter, Task, TcpListener, TcpStream, create_task, open_connection,
    start_server, wait_for,
};

use super::{HOUR, Left, MOMENT, Subject, come_about, look};
use crate::contract::server::echo;

type Place = Rc<RefCell<Option<Listening>>>;

/// A listener, and those who stand in its queue.
struct Listening {
    listener: TcpListener,
    waiting: Vec<TcpStream>,
    accepting: Option<Task<TcpStream, io::Error>>,
}

impl Listening {
    async fn new(full: bool) -> (Place, SocketAddr) {
        let listener = TcpListener::bind_with("127.0.0.1:0", Bind { backlog: 1, ..Bind::default() }).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // The queue holds one more than it is said to, as on Linux.
        for _ in 0..if full { 2 } else { 0 } {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
        (Rc::new(RefCell::new(Some(Listening { listener, waiting, accepting: None }))), address)
    }

    fn accept(&mut self) {
        let listener = self.listener.clone();
        self.accepting = Some(create_task(async move { listener.accept().await.map(|(stream, _)| stream) }));
    }

    /// How many came beside those who stood in the queue. All are gone on the other side: who accepts them reads the end.
    async fn close(mut self, case: &str) -> usize {
        let before = self.waiting.len();
        self.waiting.clear();
        let mut came = Vec::new();
        if let Some(accepting) = self.accepting.take() {
            came.push(accepting.await.unwrap());
        }
        loop {
            match wait_for(self.listener.accept(), HOUR).await {
                Ok((stream, _)) => came.push(stream),
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{case}: {error}"),
            }
        }
        for stream in &mut came {
            let BufResult(read, _) = wait_for(stream.read(vec![0; 8]), HOUR).await;
            match read {
                Ok(count) => assert_eq!(count, 0, "{case}: nobody wrote anything"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{case}: it was left open"),
            }
        }
        came.len().checked_sub(before).unwrap_or_else(|| panic!("{case}: only {} of {before} came", came.len()))
    }
}

fn connecting(listening: Vec<Place>, addresses: Vec<SocketAddr>, apart: Duration) -> Subject {
    let first = listening[0].clone();
    Subject {
        wait: Box::new(move || {
            let opening = open_connection(addresses.clone()).happy_eyeballs_delay(apart);
            Box::pin(async move { opening.await.map(|_| 1) })
        }),
        give: Rc::new(move || first.borrow_mut().as_mut().expect("it is there").accept()),
        left: look(move |end| {
            let listening = listening.clone();
            async move {
                // OC8: what was made and not returned was closed, and so was what the wait itself has dropped by now.
                let mut made = 0;
                for listening in listening {
                    let listening = listening.take().expect("it ends once");
                    made += listening.close(&end.case).await;
                }
                assert!(made >= end.got as usize, "{}: {made} connections, {} returned", end.case, end.got);
            }
        }),
    }
}

/// The kernel answers by itself.
pub(super) async fn connect() -> Subject {
    let (listening, address) = Listening::new(false).await;
    connecting(vec![listening], vec![address], HOUR)
}

/// The unit is a place in the listener's queue.
pub(super) async fn connect_in_line() -> Subject {
    let (listening, address) = Listening::new(true).await;
    connecting(vec![listening], vec![address], HOUR)
}

/// The first address does not answer; the second one is tried at the moment at which the wait is ended by the clock.
pub(super) async fn connect_to_two() -> Subject {
    let (full, silent) = Listening::new(true).await;
    let (listening, address) = Listening::new(false).await;
    connecting(vec![full, listening], vec![silent, address], MOMENT)
}

/// Two attempts beside each other, both in a queue. The unit is a place in that of the second: while the first one hears
/// the cancel, the second one may have come through.
pub(super) async fn connect_to_two_in_line() -> Subject {
    let (silent, first) = Listening::new(true).await;
    let (full, second) = Listening::new(true).await;
    connecting(vec![full, silent], vec![first, second], Duration::ZERO)
}

// ---- servers

/// A server with one client.
struct Served {
    server: Server,
    client: RefCell<Option<(StreamReader, StreamWriter)>>,
}

impl Served {
    async fn new() -> Rc<Served> {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        let client = open_connection(server.sockets()[0]).await.unwrap();
        come_about("the server has its client", || server.clients() == 1).await;
        Rc::new(Served { server, client: RefCell::new(Some(client)) })
    }
}

/// The unit is a close by somebody else.
pub(super) async fn serve_forever() -> Subject {
    let served = Served::new().await;
    let (serving, closing) = (served.clone(), served.clone());
    Subject {
        wait: Box::new(move || {
            let serving = serving.clone();
            Box::pin(async move {
                match serving.server.serve_forever().await {
                    // It was closed before it came to that.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(1),
                    ended => ended.map(|()| 1),
                }
            })
        }),
        give: Rc::new(move || closing.server.close()),
        left: look(move |end| {
            let served = served.clone();
            async move {
                let Served { server, client } = &*served;
                // SV5: a cancel closes, a drop does not; neither touches the client.
                let serves = end.dropped && !end.given;
                assert_eq!(server.is_serving(), serves, "{}", end.case);
                if !serves {
                    let error = server.serve_forever().await.unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{}: {error}", end.case);
                }
                let (mut reader, mut writer) = client.take().expect("it is there");
                writer.write(b"still?").unwrap();
                assert_eq!(reader.readexactly(6).await.unwrap(), "still?", "{}", end.case);
                assert_eq!(server.clients(), 1);
                drop((reader, writer));
                if serves {
                    let serving = server.clone();
                    let again = create_task(async move { serving.serve_forever().await });
                    super::turns(2).await;
                    server.close();
                    again.await.expect("another may serve");
                }
                server.wait_closed().await.unwrap();
            }
        }),
    }
}

/// The unit is the end of the last client.
pub(super) async fn server_closed() -> Subject {
    let served = Served::new().await;
    served.server.close();
    let leaving = served.clone();
    Subject {
        wait: Box::new(move || {
            let served = served.clone();
            Box::pin(async move { Ok(served.server.wait_closed().await.map(|()| 1)?) })
        }),
        give: Rc::new(move || drop(leaving.client.take())),
        left: Left::Free,
    }
}
