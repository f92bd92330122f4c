//! A connected socket or the end of a pipe: one receiving and one sending direction, and a close that loses nothing.
//!
//! ```text
//! Open ─close→ Flushing ─all sent→ (FIN) Stopping ─receive ended─┬─ nothing unread ──────────────→ Closing ─→ Closed
//!                                                                └─ unread: Lingering ─end, 64 KiB or 1 s─↗
//! ```
//! Closing a socket with unread bytes makes the kernel send a reset, which takes our last bytes out of the peer's hands;
//! hence the lingering. A pipe has nothing to linger for: its one direction is closed, that is all.

use std::{
    cell::{Cell, OnceCell},
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use super::{Layer, Port, receive::Receiving, send::Sending};

pub(crate) struct Socket {
    pub(super) port: Rc<Port>,
    fd: Cell<Option<OwnedFd>>,
    kind: Kind,
    pub(super) phase: Cell<Phase>,
    /// Boxed twice, because most have none: so that this is one word.
    pub(super) layer: OnceCell<Box<Box<dyn Layer>>>,
    /// The close waits for the peer no more.
    hasty: Cell<bool>,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
}

// With the counts of its `Rc` and the word of the allocator that is 192 bytes: there are many idle ones.
const _: () = assert!(size_of::<Socket>() <= 168);

/// What the descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A connected socket: received from and sent to.
    Connection,
    /// One end of a pipe: read or written, in one direction.
    Pipe,
    /// None at all: what arrives is put in by hand.
    Memory,
}

/// How far the close has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Sending what was written.
    Flushing,
    /// Waiting for the kernel to end the receive.
    Stopping,
    /// Throwing away what the peer still sends.
    Lingering,
    /// That has taken too long: waiting for the kernel to end the receive, and throwing away what still comes.
    Quitting,
    /// The descriptor is being closed.
    Closing,
    Closed,
}

/// How long, and for how many bytes, a close waits for a peer that goes on sending.
const LINGER_MAX: Duration = Duration::from_secs(1);
pub(super) const LINGER_BYTES_MAX: usize = 64 * 1024;

impl Socket {
    pub(crate) fn new(port: &Rc<Port>, fd: OwnedFd) -> Rc<Socket> {
        Socket::of_kind(port, Some(fd), Kind::Connection)
    }

    pub(crate) fn of_kind(port: &Rc<Port>, fd: Option<OwnedFd>, kind: Kind) -> Rc<Socket> {
        Rc::new(Socket {
            port: port.clone(),
            fd: Cell::new(fd),
            kind,
            phase: Cell::new(Phase::Open),
            layer: OnceCell::new(),
            hasty: Cell::new(false),
            receiving: Receiving::new(),
            sending: Sending::new(),
        })
    }

    #[inline]
    pub(crate) fn port(&self) -> &Rc<Port> {
        &self.port
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// -1 once the descriptor is closed: an operation on it fails and touches nobody else's.
    #[inline]
    pub(crate) fn raw_fd(&self) -> RawFd {
        let fd = self.fd.take();
        let number = fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        self.fd.set(fd);
        number
    }

    pub(crate) fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        // Out of its place meanwhile: `call` is a system call, and nothing of the user's.
        let Some(fd) = self.fd.take() else { return Err(closed()) };
        let result = call(fd.as_fd());
        self.fd.set(Some(fd));
        result
    }

    /// Whether the peer of a unix socket is a process of this user's, or of the superuser's.
    pub(crate) fn is_same_user(&self) -> bool {
        self.with_fd(|fd| Ok(crate::sys::is_same_user(fd))).unwrap_or(false)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.with_fd(|fd| self.port.calls().local_address(fd))
    }

    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.with_fd(|fd| self.port.calls().peer_address(fd))
    }

    pub(crate) fn local_path(&self) -> io::Result<Option<PathBuf>> {
        self.with_fd(|fd| self.port.calls().unix_local_path(fd))
    }

    pub(crate) fn peer_path(&self) -> io::Result<Option<PathBuf>> {
        self.with_fd(|fd| self.port.calls().unix_peer_path(fd))
    }

    /// Process, user and group of whoever is on the other side of a Unix socket.
    pub(crate) fn peer_credentials(&self) -> io::Result<(i32, u32, u32)> {
        self.with_fd(|fd| self.port.calls().peer_credentials(fd))
    }

    pub(crate) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.with_fd(|fd| self.port.calls().set_nodelay(fd, on))
    }

    /// Says the end of the stream to the peer. It fails only for a socket that is not connected any more, to which nothing
    /// can be said.
    pub(super) fn shutdown_write(&self) {
        if self.kind == Kind::Connection {
            let _ = self.with_fd(|fd| self.port.calls().shutdown_write(fd));
        }
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() != Phase::Open
    }

    /// Neither being closed nor lost.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closing() && !self.sending.has_failed() && !self.port.is_closed()
    }

    /// Begins the close; what was written is still sent. Does nothing the second time.
    pub(crate) fn close(self: &Rc<Socket>) {
        if self.phase.get() == Phase::Open {
            if let Some(layer) = self.layer() {
                layer.close(self);
            }
            self.phase.set(Phase::Flushing);
            self.proceed_with_close();
            self.wake_reader();
        }
    }

    /// Aborts the close if it takes longer than this.
    pub(crate) fn abort_in(self: &Rc<Socket>, limit: Duration) {
        self.port.abort_in(self.clone(), limit);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase.get() == Phase::Closed
    }

    /// Closes without sending what is still to be sent, and without waiting for the peer, who sees a reset.
    pub(crate) fn abort(self: &Rc<Socket>) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        if self.kind == Kind::Connection {
            // It fails only for a socket that is not connected any more, to which nothing can be said.
            let _ = self.with_fd(|fd| self.port.calls().reset_on_close(fd));
        }
        self.hasty.set(true);
        self.stop_sending();
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Flushing);
        }
        self.stop_lingering();
        self.proceed_with_close();
        self.wake_reader();
        self.wake_senders();
    }

    pub(crate) fn poll_closed(&self, waker: &Waker) -> Poll<io::Result<()>> {
        if self.phase.get() == Phase::Closed {
            return Poll::Ready(self.sending.failure());
        }
        self.wait_for_sending(waker);
        Poll::Pending
    }

    /// Takes the close as far as it goes now. Called again whenever a direction has come to rest.
    pub(super) fn proceed_with_close(self: &Rc<Socket>) {
        loop {
            let next = match self.phase.get() {
                Phase::Flushing | Phase::Stopping | Phase::Lingering | Phase::Quitting if self.port.is_closed() => {
                    Phase::Closing
                }
                Phase::Flushing if self.is_sending() => return,
                Phase::Flushing => self.stop(),
                Phase::Stopping if self.receiving.is_armed() => return,
                Phase::Stopping if self.has_unread() => self.start_lingering(),
                Phase::Stopping => Phase::Closing,
                Phase::Lingering | Phase::Quitting if self.receiving.is_armed() => return,
                Phase::Lingering | Phase::Quitting => Phase::Closing,
                Phase::Open | Phase::Closing | Phase::Closed => return,
            };
            if self.discards() && next == Phase::Closing {
                self.release_received();
            }
            self.phase.set(next);
            if next == Phase::Closing {
                self.release();
            }
        }
    }

    /// Everything is sent: say so to the peer, and end the receive.
    fn stop(self: &Rc<Socket>) -> Phase {
        if !self.hasty.get() {
            self.shutdown_write();
        }
        self.stop_receiving();
        Phase::Stopping
    }

    fn has_unread(&self) -> bool {
        if self.receiving.has_ended() || self.sending.has_failed() || self.hasty.get() || self.kind != Kind::Connection
        {
            return false;
        }
        self.receiving.buffered() > 0 || self.with_fd(|fd| Ok(self.port.calls().has_unread(fd))).unwrap_or(false)
    }

    fn start_lingering(self: &Rc<Socket>) -> Phase {
        // First, so that the receive that starts now throws away what comes.
        self.phase.set(Phase::Lingering);
        self.discard_received();
        self.port.linger(self.clone(), LINGER_MAX);
        self.arm_receive();
        Phase::Lingering
    }

    /// Whether what comes is thrown away, as what had come was: a reader that still waits finds nothing, and no gap.
    pub(super) fn discards(&self) -> bool {
        matches!(self.phase.get(), Phase::Lingering | Phase::Quitting)
    }

    pub(super) fn is_lingering(&self) -> bool {
        self.phase.get() == Phase::Lingering
    }

    pub(super) fn stop_lingering(self: &Rc<Socket>) {
        if self.is_lingering() {
            self.hasty.set(true);
            self.phase.set(Phase::Quitting);
            self.stop_receiving();
            self.proceed_with_close();
        }
    }

    /// No operation is in flight any more: let the descriptor go (S6).
    fn release(self: &Rc<Socket>) {
        let fd = self.fd.take();
        match fd {
            Some(fd) => self.port.close(fd, Some(self.clone())),
            None => self.on_closed(),
        }
    }

    pub(super) fn on_closed(&self) {
        self.phase.set(Phase::Closed);
        self.wake_senders();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.release_received();
        if let Some(fd) = self.fd.take() {
            self.port.close(fd, None);
        }
    }
}

pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection was closed on this side")
}
