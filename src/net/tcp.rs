//! TCP connections with owned buffers.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use super::{ConnectOptions, ToAddresses, connect};
use crate::{
    buf::{BufResult, IoBuf, IoBufMut},
    driver::Interest,
    executor::{Leaf, context, wait},
    op::{Ready, Send, Socket},
};

/// A TCP connection. Buffers are moved into each call and come back with its result. For buffered reading and writing see
/// [`open_connection`](crate::open_connection).
///
/// ```
/// # use ringio::{BufResult, TcpListener, TcpStream};
/// # ringio::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
/// client.write_all(b"ping").await.0?;
/// let BufResult(count, buffer) = server.read(vec![0; 16]).await;
/// assert_eq!((count?, &buffer[..]), (4, &b"ping"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct TcpStream {
    /// Given away by [`TcpStream::into_socket`] alone.
    socket: Option<Rc<Socket>>,
}

impl TcpStream {
    pub(super) fn new(socket: Rc<Socket>) -> TcpStream {
        // asyncio's default (OC6). It fails only for a connection that is gone, as the first read will say.
        let _ = socket.set_nodelay(true);
        TcpStream { socket: Some(socket) }
    }

    pub(super) fn socket(&self) -> &Rc<Socket> {
        match &self.socket {
            Some(socket) => socket,
            None => unreachable!("the socket is given away together with the stream"),
        }
    }

    /// A connection of another family.
    pub(super) fn plain(socket: Rc<Socket>) -> TcpStream {
        TcpStream { socket: Some(socket) }
    }

    /// The connection alone, for the buffered streams.
    pub(crate) fn into_socket(mut self) -> Rc<Socket> {
        match self.socket.take() {
            Some(socket) => socket,
            None => unreachable!("the socket is given away once"),
        }
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    /// What connect(2) says, naming every address that was tried; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a connection that was made nevertheless is returned if the future still waits, else closed.
    pub async fn connect(address: impl ToAddresses) -> io::Result<TcpStream> {
        Ok(TcpStream::new(connect(address.to_addresses(), ConnectOptions::default()).await?))
    }

    /// Takes over a descriptor that is connected already.
    ///
    /// # Errors
    /// When it is no stream socket.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn from_fd(fd: OwnedFd) -> io::Result<TcpStream> {
        let port = context::with(|runtime| runtime.port.clone());
        port.calls().is_stream_socket(fd.as_fd())?;
        Ok(TcpStream { socket: Some(Socket::new(&port, fd)) })
    }

    /// Reads at least one byte into `buffer`, over its content; zero at the end of the stream.
    ///
    /// # Errors
    /// What recv(2) says, after everything that had arrived was read; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back, and bytes that arrive meanwhile are there for the next read.
    pub async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
        if buffer.buf_capacity() == 0 {
            return BufResult(Ok(0), buffer);
        }
        let socket = self.socket();
        if let Err(cancelled) = wait(|cx| socket.poll_more_than(0, cx.waker())).await {
            return BufResult(Err(cancelled.into()), buffer);
        }
        if socket.buffered() == 0 {
            return BufResult(socket.end_of_stream().map(|()| 0), buffer);
        }
        let count = socket.take_into(&mut buffer);
        BufResult(Ok(count), buffer)
    }

    /// Sends some of `buffer` and returns how many bytes: mostly all of them.
    ///
    /// # Errors
    /// What send(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped; the next write begins after it. A delivered cancel says what was
    /// sent: the count, or that it was nothing.
    pub async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        let (result, buffer) = self.write_from(buffer, 0).await;
        BufResult(result, buffer)
    }

    /// Sends all of `buffer`.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    ///
    /// # Cancellation
    /// **Effect unknown**: some bytes may have been sent. The buffer comes back. For a write that a cancel does not tear
    /// apart see [`StreamWriter`](crate::StreamWriter).
    pub async fn write_all<B: IoBuf>(&mut self, mut buffer: B) -> BufResult<(), B> {
        let mut sent = 0;
        while sent < buffer.buf_len() {
            let (result, back) = self.write_from(buffer, sent).await;
            buffer = back;
            match result {
                Ok(0) => return BufResult(Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(count) => sent += count,
                Err(error) => return BufResult(Err(error), buffer),
            }
        }
        BufResult(Ok(()), buffer)
    }

    async fn write_from<B: IoBuf>(&mut self, mut buffer: B, from: usize) -> (io::Result<usize>, B) {
        let socket = self.socket();
        if buffer.buf_len() == from {
            return (Ok(0), buffer);
        }
        loop {
            let turn = match wait(|cx| socket.poll_send_turn(cx.waker())).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(error)) => return (Err(error), buffer),
                Err(cancelled) => return (Err(cancelled.into()), buffer),
            };
            let (result, back) = Leaf::new(socket.port(), Send { turn, buffer, from }).await;
            match result {
                // It is not to wait by itself, and this kernel takes that literally.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer = back,
                result => return (result, back),
            }
            let ready = Ready { owner: socket.clone(), interest: Interest::Writable };
            if let Err(error) = Leaf::new(socket.port(), ready).await {
                return (Err(error), buffer);
            }
        }
    }

    /// Sends the end of the stream, after every write that is still under way; reading goes on.
    ///
    /// # Errors
    /// When sending has failed before.
    pub fn write_eof(&mut self) -> io::Result<()> {
        self.socket().write_eof()
    }

    /// Closes the connection; what was written is still sent. Dropping the stream does the same without waiting.
    ///
    /// # Errors
    /// Why something that was written could not be sent.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on without you.
    pub async fn close(self) -> io::Result<()> {
        let socket = self.into_socket();
        socket.close();
        wait(|cx| socket.poll_closed(cx.waker())).await?
    }

    /// The address on this side.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_address()
    }

    /// The address on the other side.
    ///
    /// # Errors
    /// What getpeername(2) says, for a connection that is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_address()
    }

    /// Whether small writes are sent at once (yes, unless set otherwise) or collected by the kernel.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.socket().set_nodelay(yes)
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            socket.close();
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket();
        f.debug_struct("TcpStream")
            .field("local", &socket.local_address().ok())
            .field("peer", &socket.peer_address().ok())
            .finish()
    }
}
