//! Peers to talk to: plain blocking sockets of the standard library, which give up after a while rather than hang.

use std::{
    io::{ErrorKind, PipeReader, PipeWriter, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc::linger,
    sys::socket::{Backlog, setsockopt, sockopt},
};
use ringio::{StreamReader, StreamWriter};

use super::PATIENCE;

/// A listener on a port of its own.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a connected socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a connected socket");
    stream.set_nodelay(true).expect("a connected socket");
    stream
}

/// Connects to somebody's listener.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("somebody listens"))
}

/// Accepts what has connected already.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().expect("a connection").0)
}

/// Two ends of a connection: one to be given to a runtime, one for the test.
pub(crate) fn pair() -> (OwnedFd, TcpStream) {
    let listener = listener();
    let ours = connect(listener.local_addr().expect("a bound socket"));
    (ours.into(), accept(&listener))
}

/// The same with a stream of the runtime's, inside one.
pub(crate) fn tcp_pair() -> (ringio::TcpStream, TcpStream) {
    let (ours, peer) = pair();
    (ringio::TcpStream::from_fd(ours).expect("a connected socket"), peer)
}

/// The same with the buffered streams.
pub(crate) async fn stream_pair() -> (StreamReader, StreamWriter, TcpStream) {
    let listener = listener();
    let (reader, writer) = ringio::open_connection(listener.local_addr().expect("bound")).await.expect("a connection");
    (reader, writer, accept(&listener))
}

/// A pipe: both ends as descriptors of the runtime's, inside one.
pub(crate) fn pipe() -> (ringio::Descriptor, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (ringio::Descriptor::new(reader.into()), writer)
}

/// The other way round: the runtime writes.
pub(crate) fn pipe_out() -> (PipeReader, ringio::Descriptor) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader, ringio::Descriptor::new(writer.into()))
}

/// From now on calls on it return at once.
pub(crate) fn nonblocking(fd: impl AsFd) {
    let flags = fcntl(&fd, FcntlArg::F_GETFL).expect("an open descriptor");
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK)).expect("an open descriptor");
}

/// Calls on it wait again.
pub(crate) fn blocking(fd: impl AsFd) {
    let flags = fcntl(&fd, FcntlArg::F_GETFL).expect("an open descriptor");
    let flags = OFlag::from_bits_truncate(flags) - OFlag::O_NONBLOCK;
    fcntl(&fd, FcntlArg::F_SETFL(flags)).expect("an open descriptor");
}

/// Writes until no more fits; returns how many bytes did.
pub(crate) fn fill(mut into: impl Write + AsFd) -> usize {
    nonblocking(&into);
    let mut filled = 0;
    let chunk = [0x55; 16 * 1024];
    let mut len = chunk.len();
    loop {
        match into.write(&chunk[..len]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock && len > 1 => len /= 2,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("filling a descriptor: {error}"),
        }
    }
    blocking(&into);
    filled
}

/// Closes so that the peer sees a reset.
pub(crate) fn reset(stream: TcpStream) {
    setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).expect("a connected socket");
    drop(stream);
}

/// Everything up to the end of the stream.
#[track_caller]
pub(crate) fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("the peer ends the stream");
    all
}

/// Exactly so many bytes.
#[track_caller]
pub(crate) fn read_exactly(mut from: impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).expect("so many bytes come");
    bytes
}

type Deed = Box<dyn FnOnce() + Send>;

/// A thread that does things a given time after it was told: to race them against something in the runtime.
pub(crate) struct Racer {
    orders: Option<mpsc::Sender<(Duration, Deed)>>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    pub(crate) fn new() -> Racer {
        let (orders, queue) = mpsc::channel::<(Duration, Deed)>();
        let thread = thread::spawn(move || {
            for (delay, deed) in queue {
                let start = Instant::now();
                while start.elapsed() < delay {
                    std::hint::spin_loop();
                }
                deed();
            }
        });
        Racer { orders: Some(orders), thread: Some(thread) }
    }

    pub(crate) fn after(&self, delay: Duration, deed: impl FnOnce() + Send + 'static) {
        let orders = self.orders.as_ref().expect("the race is not over");
        orders.send((delay, Box::new(deed))).expect("the racing thread lives");
    }

    /// Waits until everything was done.
    pub(crate) fn finish(mut self) {
        drop(self.orders.take());
        self.thread.take().expect("finished once").join().expect("no deed panics");
    }
}

/// A listener that takes no more connections: a connect to it stays on its way. The listener, and what fills it.
pub(crate) fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = listener();
    nix::sys::socket::listen(&listener, Backlog::new(0).expect("a backlog")).expect("a bound socket");
    let address = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(30)) {
        waiting.push(stream);
        assert!(waiting.len() < 64, "the listener is never full");
    }
    (listener, waiting)
}

/// A pair whose buffers hold little, so that a write soon waits.
pub(crate) fn narrow_pair() -> (OwnedFd, TcpStream) {
    let (ours, peer) = pair();
    setsockopt(&ours, sockopt::SndBuf, &4096).expect("a socket");
    setsockopt(&peer, sockopt::RcvBuf, &4096).expect("a socket");
    (ours, peer)
}

/// A port that nobody uses and the system gives to nobody: below those it hands out by itself.
pub(crate) fn quiet_port() -> u16 {
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(free).expect("a free port")
}
