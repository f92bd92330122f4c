//! The reading half of a stream.

use std::{fmt, io, os::fd::OwnedFd, rc::Rc};

use bytes::Bytes;

use super::connection::check_limit;
use crate::{
    error::{IncompleteReadError, LimitOverrunError},
    executor::{context, wait},
    op::{Kind, Socket},
};

/// Reads from a connection, with everything that has arrived kept for the next read.
#[doc(alias = "asyncio.StreamReader")]
pub struct StreamReader {
    socket: Rc<Socket>,
    limit: usize,
}

/// What a look at the buffered bytes found.
enum Line {
    /// It was taken.
    Complete,
    /// Not yet, in so many bytes.
    Unfinished(usize),
    /// It is too long, and was dropped.
    TooLong(LimitOverrunError),
}

impl StreamReader {
    pub(super) fn new(socket: Rc<Socket>, limit: usize) -> StreamReader {
        socket.set_limit(limit);
        StreamReader { socket, limit }
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
    pub async fn read(&mut self, n: usize) -> io::Result<Bytes> {
        if n == 0 {
            return Ok(Bytes::new());
        }
        wait(|cx| self.socket.poll_more_than(0, cx.waker())).await?;
        if self.socket.buffered() == 0 {
            self.socket.end_of_stream()?;
        }
        Ok(self.socket.take(n))
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
        wait(|cx| self.socket.poll_more_than(n - 1, cx.waker())).await?;
        if self.socket.buffered() >= n {
            return Ok(self.socket.take_exactly(n));
        }
        self.socket.end_of_stream()?;
        let partial = self.socket.take_exactly(self.socket.buffered());
        Err(IncompleteReadError { partial, expected: Some(n) }.into())
    }

    /// Reads a line, with its `\n`; without one if the stream ends first, and empty at its end.
    ///
    /// # Errors
    /// [`LimitOverrunError`](crate::LimitOverrunError) for a line longer than the limit, of which what has come is
    /// dropped; why the connection ended; [`CancelledError`](crate::CancelledError). All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next read.
    #[doc(alias = "asyncio.StreamReader.readline")]
    pub async fn readline(&mut self) -> io::Result<Bytes> {
        let mut looked_at = 0;
        loop {
            let (line, found) = self.socket.take_where(|bytes| self.find_line(bytes, looked_at));
            looked_at = match found {
                Line::Complete => return Ok(line),
                Line::TooLong(error) => return Err(error.into()),
                Line::Unfinished(looked_at) => looked_at,
            };
            wait(|cx| self.socket.poll_more_than(looked_at, cx.waker())).await?;
            if self.socket.buffered() == looked_at {
                self.socket.end_of_stream()?;
                return Ok(self.socket.take_exactly(looked_at));
            }
        }
    }

    /// How many bytes to take, and why.
    fn find_line(&self, bytes: &[u8], looked_at: usize) -> (usize, Line) {
        let end = bytes[looked_at..].iter().position(|&byte| byte == b'\n').map(|at| looked_at + at);
        match end {
            Some(end) if end > self.limit => (end + 1, Line::TooLong(LimitOverrunError { consumed: end, found: true })),
            Some(end) => (end + 1, Line::Complete),
            None if bytes.len() > self.limit => {
                (bytes.len(), Line::TooLong(LimitOverrunError { consumed: bytes.len(), found: false }))
            }
            None => (0, Line::Unfinished(bytes.len())),
        }
    }

    /// Whether the stream has ended and everything was read.
    #[doc(alias = "asyncio.StreamReader.at_eof")]
    pub fn at_eof(&self) -> bool {
        self.socket.has_ended() && self.socket.buffered() == 0
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
            .field("buffered", &self.socket.buffered())
            .field("ended", &self.socket.has_ended())
            .field("limit", &self.limit)
            .finish()
    }
}
