//! The writing half of a stream.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    error::TimeoutError,
    executor::{context, poll_wait, wait},
    op::{Kind, Segment, Socket, WriteMarks},
    scope::CancelPoint,
};

/// Writes to a connection. What was written is sent by the runtime, in order, whatever becomes of the writer; dropping it
/// closes the connection after that, which is reported in debug mode: nobody hears then whether all of it was sent.
///
/// Writing never waits: call [`drain`](StreamWriter::drain) to wait for a slow peer.
#[doc(alias = "asyncio.StreamWriter")]
pub struct StreamWriter {
    socket: Rc<Socket>,
}

impl StreamWriter {
    pub(super) fn new(socket: Rc<Socket>) -> StreamWriter {
        StreamWriter { socket }
    }

    pub(super) fn socket(&self) -> &Rc<Socket> {
        &self.socket
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
    /// When the connection is lost or closed, and after [`write_eof`](StreamWriter::write_eof); when more would be queued
    /// than [`set_write_buffer_max`](StreamWriter::set_write_buffer_max) allows. Then nothing of `data` is queued.
    #[doc(alias = "asyncio.StreamWriter.write")]
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.check_room(data.len())?;
        self.write_through(data)
    }

    /// Queues `data` itself, without a copy.
    ///
    /// # Errors
    /// As [`write`](StreamWriter::write).
    #[inline]
    pub fn write_owned(&mut self, data: impl Into<Bytes>) -> io::Result<()> {
        let data = data.into();
        self.check_room(data.len())?;
        match self.socket.layer() {
            Some(layer) => layer.write(&self.socket, &data),
            None => self.socket.write(Segment::Shared(data)),
        }
    }

    /// Queues copies of several pieces: all of them, or none.
    ///
    /// # Errors
    /// As [`write`](StreamWriter::write).
    ///
    /// ```
    /// # ringio::run(async {
    /// # let (reader, writer) = std::io::pipe()?;
    /// # let mut writer = ringio::StreamWriter::from_pipe(writer.into());
    /// writer.writelines(["one\n", "two\n"])?;
    /// # let mut reader = ringio::StreamReader::from_pipe(reader.into(), 16)?;
    /// assert_eq!(reader.readexactly(8).await?, "one\ntwo\n");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamWriter.writelines")]
    pub fn writelines<I>(&mut self, lines: I) -> io::Result<()>
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: Clone>,
    {
        let lines = lines.into_iter();
        self.check_room(lines.clone().map(|line| line.as_ref().len()).sum())?;
        for line in lines {
            self.write_through(line.as_ref())?;
        }
        Ok(())
    }

    #[inline]
    fn write_through(&self, data: &[u8]) -> io::Result<()> {
        match self.socket.layer() {
            Some(layer) => layer.write(&self.socket, data),
            None => self.socket.write_copy(data),
        }
    }

    #[inline]
    fn check_room(&self, len: usize) -> io::Result<()> {
        let max = self.socket.write_marks().max as usize;
        if max == WriteMarks::DEFAULT.max as usize || self.socket.queued().saturating_add(len) <= max {
            return Ok(());
        }
        let queued = self.socket.queued();
        let text =
            format!("{len} bytes on top of {queued} queued ones are more than the {max} allowed; await drain() first");
        Err(io::Error::new(io::ErrorKind::WouldBlock, text))
    }

    /// Waits for a slow peer: returns at once while at most 64 KiB are queued, else when at most 16 KiB are left (see
    /// [`set_write_buffer_limits`](StreamWriter::set_write_buffer_limits)).
    ///
    /// # Errors
    /// When the connection is lost, in either direction; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what was written is still sent.
    #[doc(alias = "asyncio.StreamWriter.drain")]
    pub fn drain(&self) -> impl Future<Output = io::Result<()>> {
        Drain { socket: &self.socket, point: CancelPoint::default() }
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

    /// Queues a copy of `data`, then waits as [`drain`](StreamWriter::drain) does.
    ///
    /// # Errors
    /// Those of [`write`](StreamWriter::write), which queue nothing, and those of [`drain`](StreamWriter::drain).
    ///
    /// # Cancellation
    /// **Nothing lost**: all of `data` is queued before the wait, and is sent.
    pub async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.write(data)?;
        self.drain().await
    }

    /// How many bytes may be queued before [`drain`](StreamWriter::drain) waits, and how many when it returns: asyncio's
    /// defaults (64 KiB, or four times `low`; a quarter of `high`) where `None` is given.
    ///
    /// # Errors
    /// When `low` is larger than `high`.
    ///
    /// ```
    /// # ringio::run(async {
    /// # let mut writer = ringio::StreamWriter::from_pipe(std::io::pipe()?.1.into());
    /// writer.set_write_buffer_limits(1 << 20, None)?;
    /// assert_eq!(writer.get_write_buffer_limits(), (256 << 10, 1 << 20));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.WriteTransport.set_write_buffer_limits")]
    pub fn set_write_buffer_limits(
        &mut self,
        high: impl Into<Option<usize>>,
        low: impl Into<Option<usize>>,
    ) -> io::Result<()> {
        let (high, low) = (high.into(), low.into());
        let high = high.unwrap_or_else(|| low.map_or(WriteMarks::DEFAULT.high as usize, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            let text = format!("the low mark of {low} bytes is above the high one of {high}; choose a lower one");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let marks = self.socket.write_marks();
        self.socket.set_write_marks(WriteMarks { high: cut(high), low: cut(low), ..marks });
        Ok(())
    }

    /// The marks, low and high, in bytes.
    #[doc(alias = "asyncio.WriteTransport.get_write_buffer_limits")]
    pub fn get_write_buffer_limits(&self) -> (usize, usize) {
        let WriteMarks { high, low, .. } = self.socket.write_marks();
        (low as usize, high as usize)
    }

    /// Bytes that were written and are not with the kernel yet.
    #[doc(alias = "asyncio.WriteTransport.get_write_buffer_size")]
    pub fn get_write_buffer_size(&self) -> usize {
        self.socket.queued()
    }

    /// From now on writes that would queue more bytes than this are refused, so that a forgotten
    /// [`drain`](StreamWriter::drain) cannot eat the memory. No limit unless set.
    pub fn set_write_buffer_max(&mut self, bytes: usize) {
        self.socket.set_write_marks(WriteMarks { max: cut(bytes), ..self.socket.write_marks() });
    }

    /// Sends the end of the stream after what was written; reading goes on. A pipe is closed by it.
    ///
    /// # Errors
    /// When the connection is lost or closed; with TLS.
    #[doc(alias = "asyncio.StreamWriter.write_eof")]
    pub fn write_eof(&mut self) -> io::Result<()> {
        if !self.can_write_eof() {
            let text = "TLS has no end of one direction (can_write_eof() is false); call close()";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.socket.write_eof()
    }

    /// Whether the stream can be ended in one direction: for TCP, Unix sockets and pipes it can, with TLS it cannot.
    #[doc(alias = "asyncio.StreamWriter.can_write_eof")]
    pub fn can_write_eof(&self) -> bool {
        self.socket.layer().is_none()
    }

    /// Begins to close the connection, in both directions; what was written is still sent. May be called again.
    #[doc(alias = "asyncio.StreamWriter.close")]
    pub fn close(&mut self) {
        self.socket.close();
    }

    /// Closes the connection without sending what is still queued; the peer sees a reset.
    #[doc(alias = "asyncio.WriteTransport.abort")]
    pub fn abort(&mut self) {
        self.socket.abort();
    }

    /// Whether the connection is being closed.
    #[doc(alias = "asyncio.StreamWriter.is_closing")]
    pub fn is_closing(&self) -> bool {
        self.socket.is_closing()
    }

    /// Waits until the connection is closed and its descriptor gone. A peer that never reads can make that take for ever;
    /// see [`close_with_timeout`](StreamWriter::close_with_timeout).
    ///
    /// # Errors
    /// Why something that was written could not be sent; when [`close`](StreamWriter::close) was not called: that would
    /// wait for ever.
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on, and may be waited for again.
    #[doc(alias = "asyncio.StreamWriter.wait_closed")]
    pub async fn wait_closed(&self) -> io::Result<()> {
        if !self.socket.is_closing() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "call close() before wait_closed()"));
        }
        wait(|cx| self.socket.poll_closed(cx.waker())).await?
    }

    /// Closes the connection and waits for that; when it takes longer than `limit`, because the peer does not read, what is
    /// still queued is given up.
    ///
    /// # Errors
    /// [`TimeoutError`](crate::TimeoutError) when the time ran out, and the errors of
    /// [`wait_closed`](StreamWriter::wait_closed), inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Runs on**: the close goes on, with its limit.
    ///
    /// ```
    /// # ringio::run(async {
    /// # let mut writer = ringio::StreamWriter::from_pipe(std::io::pipe()?.1.into());
    /// writer.close_with_timeout(std::time::Duration::from_secs(5)).await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn close_with_timeout(&mut self, limit: Duration) -> io::Result<()> {
        self.socket.close();
        self.socket.abort_in(limit);
        match self.wait_closed().await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Err(TimeoutError.into()),
            closed => closed,
        }
    }

    /// The address on the other side.
    ///
    /// # Errors
    /// For a connection that is gone.
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

/// By hand: an async block would keep its arguments twice, once for each idle connection.
struct Drain<'a> {
    socket: &'a Socket,
    point: CancelPoint,
}

impl Future for Drain<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Drain { socket, point } = &mut *self;
        if !point.has_begun() {
            match socket.layer() {
                Some(layer) => layer.end_of_stream()?,
                None => socket.end_of_stream()?,
            }
        }
        poll_wait(point, cx, |cx| socket.poll_drained(cx.waker())).map(|waited| waited?)
    }
}

fn cut(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if self.socket.is_open() {
            // Without a runtime there is nobody to tell.
            let _ = context::try_with(|runtime| runtime.never_closed("a StreamWriter"));
        }
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
