//! Listening for TCP connections.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use super::{TcpStream, ToAddresses};
use crate::{
    driver::Held,
    executor::{ErrorReport, Note, ReportKind, context, wait},
    op::{Acceptor, Socket, Taken},
    sys,
    task::sleep,
};

/// How a [`TcpListener`] listens.
///
/// ```
/// # ringio::run(async {
/// let listener = ringio::TcpListener::bind_with("127.0.0.1:0", ringio::Bind { backlog: 1024, ..Default::default() })?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bind {
    /// Connections that may wait in the kernel's queue; 100 unless set.
    pub backlog: u32,
    /// Several sockets may listen on the same port, and the kernel spreads connections over them.
    pub reuse_port: bool,
    /// Connections are probed while they are idle, so that a peer that is gone is noticed.
    pub keep_alive: bool,
}

impl Bind {
    fn options(self) -> sys::ListenOptions {
        sys::ListenOptions { backlog: self.backlog, reuse_port: self.reuse_port, keep_alive: self.keep_alive }
    }
}

impl Default for Bind {
    fn default() -> Bind {
        Bind { backlog: 100, reuse_port: false, keep_alive: false }
    }
}

/// A socket that accepts TCP connections. Clones share it, and its queue.
#[derive(Clone)]
pub struct TcpListener {
    handle: Rc<Handle>,
}

/// What the clones share; the last one closes the listener, whose own references do not count.
struct Handle(Rc<Acceptor>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How long accepting pauses when descriptors or memory have run out: the first time, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl TcpListener {
    fn new(acceptor: Rc<Acceptor>) -> TcpListener {
        TcpListener { handle: Rc::new(Handle(acceptor)) }
    }

    /// Listens on `address`; port 0 lets the system choose. A name is refused: looking it up could take long.
    ///
    /// # Errors
    /// When the address is in use, not this machine's, or malformed: the message names it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind(address: impl ToAddresses) -> io::Result<TcpListener> {
        TcpListener::bind_with(address, Bind::default())
    }

    /// [`TcpListener::bind`] with settings.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind_with(address: impl ToAddresses, bind: Bind) -> io::Result<TcpListener> {
        let port = context::with(|runtime| runtime.port.clone());
        let mut last = None;
        for address in address.to_addresses().known()? {
            match port.calls().listen(address, bind.options()) {
                Ok(fd) => return Ok(TcpListener::new(Acceptor::new(&port, fd))),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    /// Takes over a descriptor that listens already.
    ///
    /// # Errors
    /// When it is no stream socket.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn from_fd(fd: OwnedFd) -> io::Result<TcpListener> {
        let port = context::with(|runtime| runtime.port.clone());
        port.calls().is_stream_socket(fd.as_fd())?;
        Ok(TcpListener::new(Acceptor::new(&port, fd)))
    }

    /// The next connection and its peer. Where descriptors or memory have run out it pauses, says so once to the error
    /// handler, and goes on when it can.
    ///
    /// # Errors
    /// When the listener was closed; what accept(2) says; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a connection that arrives meanwhile is there for the next accept.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            // Without a peer it was gone before it was taken: there is nobody to talk to.
            if let (socket, Some(peer)) = take_connection(&self.handle.0).await? {
                return Ok((TcpStream::new(socket), peer));
            }
        }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When it was closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.handle.0.local_address()
    }

    /// Stops listening, and closes connections that nobody has accepted. When this returns, the port is free.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on; waiting for it again is harmless.
    pub async fn close(&self) -> Result<(), crate::error::CancelledError> {
        self.handle.0.close();
        let _note = Note::new("TcpListener.close");
        wait(|cx| self.poll_closed(cx.waker())).await
    }

    pub(crate) fn poll_closed(&self, waker: &Waker) -> Poll<()> {
        self.handle.0.poll_closed(waker)
    }

    pub(crate) fn begin_close(&self) {
        self.handle.0.close();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.handle.0.is_closing()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("address", &self.local_addr().ok()).finish()
    }
}

/// The next connection. SV8: where descriptors or memory have run out it pauses, longer and longer; the connections stay in
/// the kernel's queue meanwhile.
pub(super) async fn take_connection(acceptor: &Rc<Acceptor>) -> io::Result<(Rc<Socket>, Option<SocketAddr>)> {
    let mut pause = PAUSE;
    loop {
        match wait(|cx| acceptor.poll_take(cx.waker())).await?? {
            Taken::Connection(socket, peer) => return Ok((socket, peer)),
            Taken::Exhausted(error) => {
                if pause == PAUSE {
                    report_pause(&error);
                }
                sleep(pause).await?;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// A socket that is bound and does not listen yet: connections are refused until it does.
pub(crate) struct BoundListener {
    fd: Held,
    backlog: u32,
}

impl BoundListener {
    pub(crate) fn bind(address: SocketAddr, bind: Bind) -> io::Result<BoundListener> {
        let calls = context::with(|runtime| runtime.port.calls().clone());
        let fd = calls.bind_to_listen(address, bind.options())?;
        Ok(BoundListener { fd: calls.hold(fd), backlog: bind.backlog })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.calls().local_address(self.fd.as_fd())
    }

    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.fd.calls().start_listening(self.fd.as_fd(), self.backlog)?;
        TcpListener::from_fd(self.fd.into_fd())
    }
}

fn report_pause(error: &io::Error) {
    let message = format!("accepting pauses: {error}; raise the limit (`ulimit -n`) or close connections");
    let report = ErrorReport { kind: ReportKind::AcceptPaused, task: None, spawned_at: None, message };
    context::with(|runtime| runtime.report(&report));
}
