//! The writing half of a stream.

use std::{fmt, io, net::SocketAddr, os::fd::OwnedFd, rc::Rc};

use bytes::Bytes;

use crate::{
    executor::{context, wait},
    op::{Kind, Segment, Socket},
};

/// Writes to a connection. What was written is sent by the runtime, in order, whatever becomes of the writer; dropping it
/// closes the connection after that.
///
/// Writing never waits: call [`drain`](StreamWriter::drain) to wait for a slow peer.
#[doc(alias = "asyncio.StreamWriter")]
pub struct StreamWriter {
    socket: Rc<Socket>,
}

/// [`StreamWriter::drain`] waits when more bytes than the high mark are queued, until there are no more than the low one.
const HIGH_BYTES: usize = 64 * 1024;
const LOW_BYTES: usize = 16 * 1024;

impl StreamWriter {
    pub(super) fn new(socket: Rc<Socket>) -> StreamWriter {
        StreamWriter { socket }
    }

    /// Writes to a descriptor that is no socket: the writing end of a pipe, a terminal. Nobody reading any more is an error of
    /// kind [`BrokenPipe`](io::ErrorKind::BrokenPipe), as soon as something is written.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[doc(alias = "asyncio.loop.connect_write_pipe")]
    #[track_caller]
    pub fn from_pipe(fd: OwnedFd) -> StreamWriter {
        let port = context::with(|runtime| runtime.port.clone());
        StreamWriter::new(Socket::of_kind(&port, Some(fd), Kind::Pipe))
    }

    /// Queues a copy of `data`. Everything written in one turn is sent together at its end.
    ///
    /// # Errors
    /// When the connection is lost or closed, and after [`write_eof`](StreamWriter::write_eof).
    #[doc(alias = "asyncio.StreamWriter.write")]
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.socket.write_copy(data)
    }

    /// Queues `data` itself, without a copy.
    ///
    /// # Errors
    /// As [`write`](StreamWriter::write).
    pub fn write_owned(&mut self, data: impl Into<Bytes>) -> io::Result<()> {
        self.socket.write(Segment::Shared(data.into()))
    }

    /// Waits for a slow peer: returns at once while at most 64 KiB are queued, else when at most 16 KiB are left.
    ///
    /// # Errors
    /// When the connection is lost; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what was written is still sent.
    #[doc(alias = "asyncio.StreamWriter.drain")]
    pub async fn drain(&self) -> io::Result<()> {
        let mut most = HIGH_BYTES;
        wait(|cx| {
            let polled = self.socket.poll_queued_at_most(most, cx.waker());
            if polled.is_pending() && most == HIGH_BYTES {
                most = LOW_BYTES;
                return self.socket.poll_queued_at_most(most, cx.waker());
            }
            polled
        })
        .await?
    }

    /// Waits until everything that was written is with the kernel.
    ///
    /// # Errors
    /// As [`drain`](StreamWriter::drain).
    ///
    /// # Cancellation
    /// **Nothing lost**: what was written is still sent.
    pub async fn flush(&self) -> io::Result<()> {
        wait(|cx| self.socket.poll_queued_at_most(0, cx.waker())).await?
    }

    /// Sends the end of the stream after what was written; reading goes on.
    ///
    /// # Errors
    /// When the connection is lost or closed.
    #[doc(alias = "asyncio.StreamWriter.write_eof")]
    pub fn write_eof(&mut self) -> io::Result<()> {
        self.socket.write_eof()
    }

    /// Whether the stream can be ended in one direction: for TCP it can.
    #[doc(alias = "asyncio.StreamWriter.can_write_eof")]
    pub fn can_write_eof(&self) -> bool {
        true
    }

    /// Begins to close the connection, in both directions; what was written is still sent. May be called again.
    #[doc(alias = "asyncio.StreamWriter.close")]
    pub fn close(&mut self) {
        self.socket.close();
    }

    /// Whether the connection is being closed.
    #[doc(alias = "asyncio.StreamWriter.is_closing")]
    pub fn is_closing(&self) -> bool {
        self.socket.is_closing()
    }

    /// Waits until the connection is closed and its descriptor gone.
    ///
    /// # Errors
    /// Why something that was written could not be sent; when [`close`](StreamWriter::close) was not called: that would
    /// wait for ever.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on, and may be waited for again.
    #[doc(alias = "asyncio.StreamWriter.wait_closed")]
    pub async fn wait_closed(&mut self) -> io::Result<()> {
        if !self.socket.is_closing() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "call close() before wait_closed()"));
        }
        wait(|cx| self.socket.poll_closed(cx.waker())).await?
    }

    /// The address on the other side.
    ///
    /// # Errors
    /// For a connection that is gone.
    #[doc(alias = "asyncio.StreamWriter.get_extra_info")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_address()
    }

    /// The address on this side.
    ///
    /// # Errors
    /// For a connection that is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("queued", &self.socket.queued())
            .field("closing", &self.is_closing())
            .finish()
    }
}
