//! Datagrams between processes of one machine.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;

use crate::{
    buf::{BufResult, IoBuf, IoBufMut, fill},
    executor::{Leaf, context, wait},
    op::{Datagrams, Port, SendDatagram},
    sys::{self, SocketFile},
};

/// A Unix socket for datagrams. Buffers are moved into each call and come back with its result. The socket's file, if it has
/// one, is removed when it is dropped.
///
/// ```
/// # use ringio::{BufResult, UnixDatagram};
/// # ringio::run(async {
/// let (here, there) = UnixDatagram::pair()?;
/// here.send("ping").await.0?;
/// let (datagram, from) = there.recv().await?;
/// assert_eq!((&datagram[..], from), (&b"ping"[..], None));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixDatagram {
    socket: Rc<Datagrams>,
    file: Option<SocketFile>,
}

impl UnixDatagram {
    fn new(port: &Rc<Port>, fd: OwnedFd, file: Option<SocketFile>) -> UnixDatagram {
        UnixDatagram { socket: Datagrams::new(port, fd), file }
    }

    /// A socket at `path`, where datagrams can be sent to. A socket that was left there is replaced, another file is not; a
    /// path that begins with a zero byte is a name that belongs to no file.
    ///
    /// # Errors
    /// When the path is in use, or cannot be: the message names it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let port = context::with(|runtime| runtime.port.clone());
        let fd = port.calls().hold(port.calls().unix_socket(true)?);
        let file = port.calls().bind_unix(fd.as_fd(), path.as_ref(), None)?;
        Ok(UnixDatagram::new(&port, fd.into_fd(), file))
    }

    /// A socket that nobody can send to, to send from.
    ///
    /// # Errors
    /// What socket(2) says.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn unbound() -> io::Result<UnixDatagram> {
        let port = context::with(|runtime| runtime.port.clone());
        Ok(UnixDatagram::new(&port, port.calls().unix_socket(true)?, None))
    }

    /// Two sockets that are each other's peer.
    ///
    /// # Errors
    /// What socketpair(2) says.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let port = context::with(|runtime| runtime.port.clone());
        let (here, there) = port.calls().unix_pair(true)?;
        Ok((UnixDatagram::new(&port, here, None), UnixDatagram::new(&port, there, None)))
    }

    /// From now on [`send`](UnixDatagram::send) sends to the socket at `path`.
    ///
    /// # Errors
    /// What connect(2) says; a path of more than 107 bytes.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let address = sys::unix_address(path.as_ref())?;
        self.socket.port().calls().connect_datagrams(self.socket.fd(), &address)
    }

    /// Sends a datagram to whom the socket is connected; returns how many bytes.
    ///
    /// # Errors
    /// What sendmsg(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped. A delivered cancel says that nothing was sent.
    pub async fn send<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        let send = SendDatagram::new(self.socket.clone(), None, buffer);
        let (result, buffer) = Leaf::new(self.socket.port(), send).await;
        BufResult(result, buffer)
    }

    /// Sends a datagram to the socket at `path`; returns how many bytes.
    ///
    /// # Errors
    /// What sendmsg(2) says; a path of more than 107 bytes; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped. A delivered cancel says that nothing was sent.
    pub async fn send_to<B: IoBuf>(&self, buffer: B, path: impl AsRef<Path>) -> BufResult<usize, B> {
        let to = match sys::unix_address(path.as_ref()) {
            Ok(to) => to,
            Err(error) => return BufResult(Err(error), buffer),
        };
        let send = SendDatagram::new(self.socket.clone(), Some(to), buffer);
        let (result, buffer) = Leaf::new(self.socket.port(), send).await;
        BufResult(result, buffer)
    }

    /// The next datagram, and the path of whoever sent it, if that socket has one.
    ///
    /// # Errors
    /// What recvmsg(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a datagram that arrives meanwhile is there for the next receive.
    pub async fn recv(&self) -> io::Result<(Bytes, Option<PathBuf>)> {
        let (datagram, from) = wait(|cx| self.socket.poll_take(cx.waker())).await??;
        Ok((datagram, from.and_then(|from| from.path())))
    }

    /// The next datagram, into `buffer`, and the path of whoever sent it. What does not fit is cut off.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back, and a datagram that arrives meanwhile is there for the next receive.
    pub async fn recv_from<B: IoBufMut>(&self, mut buffer: B) -> BufResult<(usize, Option<PathBuf>), B> {
        let result = self.recv().await.map(|(datagram, from)| (fill(&mut buffer, &datagram), from));
        BufResult(result, buffer)
    }

    /// The path on this side, if it is bound to one.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn local_path(&self) -> io::Result<Option<PathBuf>> {
        self.socket.port().calls().unix_local_path(self.socket.fd())
    }
}

impl Drop for UnixDatagram {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.socket.port().calls().remove_socket_file(&file);
        }
        self.socket.close();
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixDatagram").field("local", &self.local_path().ok().flatten()).finish()
    }
}
