//! Sockets that are named by files, with owned buffers.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
    task::{Poll, Waker},
};

use super::{TcpStream, listener::take_connection};
use crate::{
    buf::{BufResult, IoBuf, IoBufMut},
    driver::{Calls, Held},
    error::CancelledError,
    executor::{Leaf, Note, context, wait},
    op::{Acceptor, Connect, Socket},
    sys::{self, SocketFile},
};

/// A connection to a process on this machine. Buffers are moved into each call and come back with its result. For
/// buffered reading and writing see [`open_unix_connection`](crate::open_unix_connection).
///
/// ```
/// # use ringio::{BufResult, UnixStream};
/// # ringio::run(async {
/// let (mut here, mut there) = UnixStream::pair()?;
/// here.write_all("ping").await.0?;
/// let BufResult(count, buffer) = there.read(vec![0; 16]).await;
/// assert_eq!((count?, &buffer[..]), (4, &b"ping"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixStream(TcpStream);

/// Who is on the other side of a Unix socket, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl UnixStream {
    /// Connects to the socket at `path`. A path that begins with a zero byte is a name that belongs to no file (an
    /// abstract one).
    ///
    /// # Errors
    /// What connect(2) says, naming the path; a path of more than 107 bytes; [`CancelledError`] inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a connection that was made nevertheless is returned if the future still waits, else closed.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        Ok(UnixStream(TcpStream::plain(connect_unix(path.as_ref()).await?)))
    }

    /// Two connections that are each other's peer.
    ///
    /// # Errors
    /// What socketpair(2) says.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[doc(alias = "socket.socketpair")]
    #[track_caller]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let port = context::with(|runtime| runtime.port.clone());
        let (here, there) = port.calls().unix_pair(false)?;
        let stream = |fd| UnixStream(TcpStream::plain(Socket::new(&port, fd)));
        Ok((stream(here), stream(there)))
    }

    /// Takes over a descriptor that is connected already.
    ///
    /// # Errors
    /// When it is no stream socket.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn from_fd(fd: OwnedFd) -> io::Result<UnixStream> {
        TcpStream::from_fd(fd).map(UnixStream)
    }

    /// As [`TcpStream::read`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back, and bytes that arrive meanwhile are there for the next read.
    pub async fn read<B: IoBufMut>(&mut self, buffer: B) -> BufResult<usize, B> {
        self.0.read(buffer).await
    }

    /// As [`TcpStream::write`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped; the next write begins after it. A delivered cancel says what was
    /// sent: the count, or that it was nothing.
    pub async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        self.0.write(buffer).await
    }

    /// As [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    ///
    /// # Cancellation
    /// **Effect unknown**: some bytes may have been sent. The buffer comes back.
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> BufResult<(), B> {
        self.0.write_all(buffer).await
    }

    /// As [`TcpStream::write_eof`].
    ///
    /// # Errors
    /// When sending has failed before.
    pub fn write_eof(&mut self) -> io::Result<()> {
        self.0.write_eof()
    }

    /// As [`TcpStream::close`].
    ///
    /// # Errors
    /// Why something that was written could not be sent.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on without you.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }

    /// The process on the other side: for a connection, who connected or listened.
    ///
    /// # Errors
    /// What getsockopt(2) says.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        credentials(self.0.socket())
    }

    /// The path on the other side, if it is bound to one.
    ///
    /// # Errors
    /// What getpeername(2) says.
    pub fn peer_path(&self) -> io::Result<Option<PathBuf>> {
        self.0.socket().peer_path()
    }

    /// The path on this side, if it is bound to one.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn local_path(&self) -> io::Result<Option<PathBuf>> {
        self.0.socket().local_path()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream")
            .field("local", &self.local_path().ok().flatten())
            .field("peer", &self.peer_path().ok().flatten())
            .finish()
    }
}

pub(crate) fn credentials(socket: &Rc<Socket>) -> io::Result<PeerCredentials> {
    let (pid, uid, gid) = socket.peer_credentials()?;
    Ok(PeerCredentials { pid, uid, gid })
}

pub(crate) async fn connect_unix(path: &Path) -> io::Result<Rc<Socket>> {
    let port = context::with(|runtime| runtime.port.clone());
    let address = Box::new(sys::unix_address(path)?);
    let socket = Socket::new(&port, port.calls().unix_socket(false)?);
    Leaf::new(&port, Connect { socket, address }).await.map_err(|error| {
        if crate::error::cancelled(&error).is_some() {
            return error;
        }
        io::Error::new(error.kind(), format!("cannot connect to {path:?}: {error}"))
    })
}

/// How a [`UnixListener`] listens.
#[derive(Debug, Clone, Copy)]
pub struct BindUnix {
    /// Connections that may wait in the kernel's queue; 100 unless set.
    pub backlog: u32,
    /// The permissions of the socket's file, as for chmod(2): who may write to it may connect. What the process's umask
    /// says unless set.
    pub mode: Option<u32>,
    /// Whether the socket's file is removed when the listener is closed, unless another one stands there by then: yes
    /// unless set otherwise.
    pub cleanup: bool,
}

impl Default for BindUnix {
    fn default() -> BindUnix {
        BindUnix { backlog: 100, mode: None, cleanup: true }
    }
}

/// A socket at a path, that accepts connections. Clones share it, and its queue.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringio-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let path = directory.join("socket");
/// # ringio::run(async {
/// let listener = ringio::UnixListener::bind(&path)?;
/// let client = ringio::UnixStream::connect(&path).await?;
/// let server = listener.accept().await?;
/// assert_eq!(server.peer_credentials()?.pid as u32, std::process::id());
/// # drop(client);
/// # std::io::Result::Ok(()) })?;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct UnixListener {
    handle: Rc<Handle>,
}

/// What the clones share; the last one closes the listener, whose own references do not count.
struct Handle {
    calls: Calls,
    acceptor: Rc<Acceptor>,
    path: PathBuf,
    /// Removed with the close.
    file: Option<SocketFile>,
}

impl Handle {
    fn close(&self) {
        if !self.acceptor.is_closing()
            && let Some(file) = &self.file
        {
            self.calls.remove_socket_file(file);
        }
        self.acceptor.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// A socket that is bound to a path and does not listen yet. Dropped, it removes its file again.
pub(crate) struct BoundUnix {
    calls: Calls,
    fd: Option<Held>,
    path: PathBuf,
    file: Option<SocketFile>,
    bind: BindUnix,
}

impl BoundUnix {
    pub(crate) fn bind(path: &Path, bind: BindUnix) -> io::Result<BoundUnix> {
        let calls = context::with(|runtime| runtime.port.calls().clone());
        let fd = calls.hold(calls.unix_socket(false)?);
        let file = calls.bind_unix(fd.as_fd(), path, bind.mode)?;
        Ok(BoundUnix { calls, fd: Some(fd), path: path.to_owned(), file, bind })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[track_caller]
    pub(crate) fn listen(mut self) -> io::Result<UnixListener> {
        let port = context::with(|runtime| runtime.port.clone());
        if let Some(fd) = &self.fd {
            self.calls.start_listening(fd.as_fd(), self.bind.backlog)?;
        }
        let Some(fd) = self.fd.take() else { unreachable!("it listens once") };
        let file = self.file.take().filter(|_| self.bind.cleanup);
        let path = std::mem::take(&mut self.path);
        let (calls, acceptor) = (self.calls.clone(), Acceptor::new(&port, fd.into_fd()));
        Ok(UnixListener { handle: Rc::new(Handle { calls, acceptor, path, file }) })
    }
}

impl Drop for BoundUnix {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.calls.remove_socket_file(&file);
        }
    }
}

impl UnixListener {
    /// Listens at `path`. A socket that was left there is replaced, another file is not. A path that begins with a zero
    /// byte is a name that belongs to no file.
    ///
    /// # Errors
    /// When the path is in use, or cannot be: the message names it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_with(path, BindUnix::default())
    }

    /// [`UnixListener::bind`] with settings.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind_with(path: impl AsRef<Path>, bind: BindUnix) -> io::Result<UnixListener> {
        BoundUnix::bind(path.as_ref(), bind)?.listen()
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the listener was closed; what accept(2) says; [`CancelledError`] inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a connection that arrives meanwhile is there for the next accept.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (socket, _) = take_connection(&self.handle.acceptor).await?;
        Ok(UnixStream(TcpStream::plain(socket)))
    }

    /// The path it listens at.
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Stops listening, closes connections that nobody has accepted, and removes the socket's file.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on; waiting for it again is harmless.
    pub async fn close(&self) -> Result<(), CancelledError> {
        self.handle.close();
        let _note = Note::new("UnixListener.close");
        wait(|cx| self.poll_closed(cx.waker())).await
    }

    pub(crate) fn poll_closed(&self, waker: &Waker) -> Poll<()> {
        self.handle.acceptor.poll_closed(waker)
    }

    pub(crate) fn begin_close(&self) {
        self.handle.close();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.handle.acceptor.is_closing()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener").field("path", &self.path()).finish()
    }
}

impl UnixStream {
    /// The connection alone, for the buffered streams.
    pub(crate) fn into_socket(self) -> Rc<Socket> {
        self.0.into_socket()
    }
}
