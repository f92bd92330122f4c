//! The reading half of a stream.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::{Lines, Separators, connection::check_limit, separators::Looked};
use crate::{
    buf::{BufResult, IoBufMut},
    error::{IncompleteReadError, LimitOverrunError},
    executor::{context, poll_wait, wait},
    op::{Kind, Socket},
    scope::CancelPoint,
};

/// Reads from a connection, with everything that has arrived kept for the next read.
#[doc(alias = "asyncio.StreamReader")]
pub struct StreamReader {
    socket: Rc<Socket>,
}

impl StreamReader {
    pub(super) fn new(socket: Rc<Socket>, limit: usize) -> StreamReader {
        socket.set_limit(limit);
        StreamReader { socket }
    }

    /// Reads from a descriptor that is no socket: the reading end of a pipe, a terminal. `limit` is how long a line may be,
    /// in bytes. The descriptor is closed when the reader is dropped.
    ///
    /// # Errors
    /// A limit of zero.
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// ```
    /// # use ringio::{StreamReader, StreamWriter};
    /// # ringio::run(async {
    /// let (reader, writer) = std::io::pipe()?;
    /// let (mut reader, mut writer) = (StreamReader::from_pipe(reader.into(), 1024)?, StreamWriter::from_pipe(writer.into()));
    /// writer.write(b"hello\n")?;
    /// assert_eq!(reader.readline().await?, "hello\n");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.loop.connect_read_pipe")]
    #[track_caller]
    pub fn from_pipe(fd: OwnedFd, limit: usize) -> io::Result<StreamReader> {
        let port = context::with(|runtime| runtime.port.clone());
        check_limit(limit)?;
        Ok(StreamReader::new(Socket::of_kind(&port, Some(fd), Kind::Pipe), limit))
    }

    /// Reads what there is, at least one byte and at most `n`; empty at the end of the stream, and for an `n` of zero.
    ///
    /// # Errors
    /// Why the connection ended, after all that had arrived was read; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what arrives meanwhile is there for the next read.
    ///
    /// ```
    /// # ringio::run(async {
    /// # let server = ringio::start_server(async |_, mut w: ringio::StreamWriter| w.write(b"hello"), "127.0.0.1:0").await?;
    /// # let address = server.sockets()[0];
    /// let (mut reader, _writer) = ringio::open_connection(address).await?;
    /// assert_eq!(reader.read(4).await?, "hell");
    /// assert_eq!(reader.read(100).await?, "o");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamReader.read")]
    pub fn read(&mut self, n: usize) -> impl Future<Output = io::Result<Bytes>> {
        Read { reader: self, most: n, point: CancelPoint::default() }
    }

    /// Reads exactly `n` bytes, however many the limit is.
    ///
    /// # Errors
    /// [`IncompleteReadError`](crate::IncompleteReadError) with what had come when the stream ended before; why the
    /// connection ended; [`CancelledError`](crate::CancelledError). All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next read.
    #[doc(alias = "asyncio.StreamReader.readexactly")]
    pub async fn readexactly(&mut self, n: usize) -> io::Result<Bytes> {
        if n == 0 {
            return Ok(Bytes::new());
        }
        wait(|cx| self.poll_more_than(n - 1, cx.waker())).await?;
        if self.buffer().buffered() >= n {
            return Ok(self.buffer().take_exactly(n));
        }
        self.end_of_stream()?;
        let partial = self.buffer().take_exactly(self.buffer().buffered());
        Err(IncompleteReadError { partial, expected: Some(n) }.into())
    }

    /// Reads until the stream ends, however many bytes the limit is.
    ///
    /// # Errors
    /// Why the connection ended, if it did not end well: what had arrived stays for the next read;
    /// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next read.
    ///
    /// ```
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(16)?;
    /// feed.feed_data("all that ");
    /// feed.feed_data("comes");
    /// feed.feed_eof();
    /// assert_eq!(reader.read_to_end().await?, "all that comes");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamReader.read")]
    pub async fn read_to_end(&mut self) -> io::Result<Bytes> {
        wait(|cx| self.poll_more_than(usize::MAX, cx.waker())).await?;
        self.end_of_stream()?;
        Ok(self.buffer().take_exactly(self.buffer().buffered()))
    }

    /// Reads at least one byte into `buffer`, over its content; zero at the end of the stream.
    ///
    /// # Errors
    /// As [`read`](StreamReader::read).
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back, and what arrives meanwhile is there for the next read.
    ///
    /// ```
    /// # use ringio::BufResult;
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(16)?;
    /// feed.feed_data("hello");
    /// let BufResult(count, buffer) = reader.read_into(Vec::with_capacity(4)).await;
    /// assert_eq!((count?, &buffer[..]), (4, &b"hell"[..]));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn read_into<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
        if buffer.buf_capacity() == 0 {
            return BufResult(Ok(0), buffer);
        }
        if let Err(cancelled) = wait(|cx| self.poll_more_than(0, cx.waker())).await {
            return BufResult(Err(cancelled.into()), buffer);
        }
        if self.buffer().buffered() == 0 {
            return BufResult(self.end_of_stream().map(|()| 0), buffer);
        }
        let count = self.buffer().take_into(&mut buffer);
        BufResult(Ok(count), buffer)
    }

    /// Reads a line, with its `\n`; without one if the stream ends first, and empty at its end.
    ///
    /// # Errors
    /// [`LimitOverrunError`](crate::LimitOverrunError) for a line longer than the limit, of which what has come is
    /// dropped: if its end was not `found`, [`skip_line`](StreamReader::skip_line) drops the rest. Why the connection
    /// ended; [`CancelledError`](crate::CancelledError). All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next read.
    #[doc(alias = "asyncio.StreamReader.readline")]
    pub async fn readline(&mut self) -> io::Result<Bytes> {
        if context::spend()
            && let Some(line) = self.buffer().take_up_to(b'\n', self.socket.limit())
        {
            return Ok(line);
        }
        let mut looked_at = 0;
        wait(|cx| self.poll_line(&mut looked_at, cx.waker())).await?
    }

    /// `looked_at` is how much of what is buffered is known to hold no end of a line.
    pub(super) fn poll_line(&self, looked_at: &mut usize, waker: &Waker) -> Poll<io::Result<Bytes>> {
        loop {
            if let Some(line) = self.buffer().take_across(b'\n', self.socket.limit(), *looked_at) {
                return Poll::Ready(Ok(line));
            }
            let (line, found) = self.buffer().take_where(|bytes| find_line(bytes, *looked_at, self.socket.limit()));
            *looked_at = match found {
                Looked::Found => return Poll::Ready(Ok(line)),
                Looked::TooLong(error) => return Poll::Ready(Err(error.into())),
                Looked::Unfinished(looked_at) => looked_at,
            };
            ready!(self.poll_more_than(*looked_at, waker));
            // A close of ours may have thrown away what was looked at.
            let have = self.buffer().buffered();
            if have <= *looked_at {
                self.end_of_stream()?;
                return Poll::Ready(Ok(self.buffer().take_exactly(have)));
            }
        }
    }

    /// Drops everything up to the next `\n`, and it; returns how many bytes that were. To go on behind a line that
    /// was too long.
    ///
    /// # Errors
    /// Why the connection ended; [`CancelledError`](crate::CancelledError). All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what comes behind the line; the line may be skipped on with another call.
    ///
    /// ```
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(4)?;
    /// feed.feed_data("much too ");
    /// assert!(reader.readline().await.is_err());
    /// feed.feed_data("long\nfine\n");
    /// assert_eq!(reader.skip_line().await?, 5);
    /// assert_eq!(reader.readline().await?, "fine\n");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn skip_line(&mut self) -> io::Result<usize> {
        let mut dropped = 0;
        wait(|cx| {
            loop {
                let (skipped, ended) = self.buffer().take_where(|bytes| match memchr::memchr(b'\n', bytes) {
                    Some(end) => (end + 1, true),
                    None => (bytes.len(), false),
                });
                dropped += skipped.len();
                if ended {
                    return Poll::Ready(Ok(dropped));
                }
                ready!(self.poll_more_than(0, cx.waker()));
                if self.buffer().buffered() == 0 {
                    return Poll::Ready(self.end_of_stream().map(|()| dropped));
                }
            }
        })
        .await?
    }

    /// Reads up to and including a separator, or the first of several: the one that ends first.
    ///
    /// # Errors
    /// [`LimitOverrunError`](crate::LimitOverrunError) when more bytes than the limit stand before the separator, which
    /// all stay for the next read; [`IncompleteReadError`](crate::IncompleteReadError) with what had come when the stream
    /// ended before; an empty separator, or none; why the connection ended; [`CancelledError`](crate::CancelledError).
    /// All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next read.
    ///
    /// ```
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(64)?;
    /// feed.feed_data("key: value; next\r\n\r\nbody");
    /// assert_eq!(reader.readuntil(b"; ").await?, "key: value; ");
    /// assert_eq!(reader.readuntil(["\n\n", "\r\n\r\n"]).await?, "next\r\n\r\n");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamReader.readuntil")]
    pub async fn readuntil(&mut self, separators: impl Separators) -> io::Result<Bytes> {
        let lengths = super::separators::lengths(&separators)?;
        let mut looked_at = 0;
        wait(|cx| {
            loop {
                let (found, looked) = self.buffer().take_where(|bytes| {
                    super::separators::look(bytes, &separators, lengths, looked_at, self.socket.limit())
                });
                match looked {
                    Looked::Found => return Poll::Ready(Ok(found)),
                    Looked::TooLong(error) => return Poll::Ready(Err(error.into())),
                    Looked::Unfinished(next) => looked_at = next,
                }
                let have = self.buffer().buffered();
                ready!(self.poll_more_than(have, cx.waker()));
                if self.buffer().buffered() == have {
                    self.end_of_stream()?;
                    let partial = self.buffer().take_exactly(have);
                    return Poll::Ready(Err(IncompleteReadError { partial, expected: None }.into()));
                }
            }
        })
        .await?
    }

    /// The lines, one after the other, until the stream ends: [`next`](Lines::next), or as a stream of the `futures`
    /// crates.
    ///
    /// ```
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(64)?;
    /// feed.feed_data("one\ntwo\n");
    /// feed.feed_eof();
    /// let mut lines = reader.lines();
    /// while let Some(line) = lines.next().await? {
    ///     assert_eq!(line.len(), 4);
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamReader.__aiter__")]
    pub fn lines(&mut self) -> Lines<'_> {
        Lines::new(self)
    }

    /// Whether the stream has ended and everything was read.
    #[doc(alias = "asyncio.StreamReader.at_eof")]
    pub fn at_eof(&self) -> bool {
        (self.buffer().has_ended() || self.socket.is_closing()) && self.buffer().buffered() == 0
    }

    /// Where what can be read waits.
    #[inline]
    fn buffer(&self) -> &Rc<Socket> {
        match self.socket.layer() {
            Some(layer) => layer.inside(),
            None => &self.socket,
        }
    }

    #[inline]
    pub(super) fn poll_more_than(&self, have: usize, waker: &Waker) -> Poll<()> {
        match self.socket.layer() {
            Some(layer) => layer.poll_more_than(&self.socket, have, waker),
            None => self.socket.poll_more_than(have, waker),
        }
    }

    pub(super) fn end_of_stream(&self) -> io::Result<()> {
        match self.socket.layer() {
            Some(layer) => layer.end_of_stream(),
            None => self.socket.end_of_stream(),
        }
    }

    /// Takes what is there, at most `most` bytes; nothing at the end of the stream.
    pub(super) fn poll_take(&self, most: usize, waker: &Waker) -> Poll<io::Result<Bytes>> {
        ready!(self.poll_more_than(0, waker));
        if self.buffer().buffered() == 0 {
            self.end_of_stream()?;
        }
        Poll::Ready(Ok(self.buffer().take(most)))
    }
}

/// By hand: an async block would keep its arguments twice, once for each idle connection.
struct Read<'a> {
    reader: &'a StreamReader,
    most: usize,
    point: CancelPoint,
}

impl Future for Read<'_> {
    type Output = io::Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Read { reader, most, point } = &mut *self;
        if *most == 0 {
            return Poll::Ready(Ok(Bytes::new()));
        }
        poll_wait(point, cx, |cx| reader.poll_take(*most, cx.waker())).map(|waited| waited?)
    }
}

/// SR5. How many bytes to take, and why.
fn find_line(bytes: &[u8], looked_at: usize, limit: usize) -> (usize, Looked) {
    match memchr::memchr(b'\n', bytes.get(looked_at..).unwrap_or_default()).map(|at| looked_at + at) {
        Some(end) if end > limit => (end + 1, Looked::TooLong(LimitOverrunError { consumed: end, found: true })),
        Some(end) => (end + 1, Looked::Found),
        None if bytes.len() > limit => {
            (bytes.len(), Looked::TooLong(LimitOverrunError { consumed: bytes.len(), found: false }))
        }
        None => (0, Looked::Unfinished(bytes.len())),
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        // A connection is closed by its writer; a pipe has none on this side.
        if self.socket.kind() == Kind::Pipe {
            self.socket.close();
        }
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("buffered", &self.buffer().buffered())
            .field("ended", &self.buffer().has_ended())
            .field("limit", &self.socket.limit())
            .finish()
    }
}
