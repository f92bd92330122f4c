//! The other side: threads with blocking sockets that do things at given moments. Guards: it is never the one that loses.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

type Deed = Box<dyn FnOnce() + Send>;

/// Does things on a thread of its own, each so long after it was told.
pub(super) struct Racer {
    orders: mpsc::Sender<(Duration, Deed)>,
    thread: JoinHandle<()>,
}

impl Racer {
    pub(super) fn new() -> Racer {
        let (orders, queue) = mpsc::channel::<(Duration, Deed)>();
        let thread = thread::spawn(move || {
            for (delay, deed) in queue {
                // Sleeps by far too long for a race; the last bit is waited for in a loop.
                let start = Instant::now();
                while start.elapsed() < delay {
                    thread::yield_now();
                }
                deed();
            }
        });
        Racer { orders, thread }
    }

    pub(super) fn after(&self, delay: Duration, deed: impl FnOnce() + Send + 'static) {
        self.orders.send((delay, Box::new(deed))).expect("the racing thread lives");
    }

    /// Waits until everything was done.
    pub(super) fn finish(self) {
        drop(self.orders);
        self.thread.join().expect("no deed panics");
    }
}

/// A listener whose connections hold little of what is sent to them.
pub(super) fn narrow_listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    setsockopt(&listener, sockopt::RcvBuf, &8192)?;
    Ok(listener)
}

/// Takes the connection that is there.
pub(super) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads to the end on a thread of its own.
pub(super) fn read_all(mut stream: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        // A reset ends it as well: what came before is what counts.
        let _ended = stream.read_to_end(&mut all);
        all
    })
}

/// Connects, and says a number.
pub(super) fn client(address: SocketAddr, number: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(&number.to_be_bytes()).expect("four bytes fit");
    stream
}
