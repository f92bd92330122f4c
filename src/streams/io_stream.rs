//! Both halves as one, for the I/O traits of other crates (features `futures-io` and `tokio-io`).

use std::{
    fmt, io,
    task::{Context, Poll, ready},
};

use super::{StreamReader, StreamWriter};
use crate::{executor::poll_wait, scope::CancelPoint};

/// Reader and writer of one connection as one value, that code written for other runtimes can read and write: with the
/// feature `futures-io` it has the traits of `futures-io`, with `tokio-io` those of tokio.
///
/// What is written is queued and belongs to the runtime, as with [`StreamWriter`]: writing waits only while more than the
/// high mark is queued, flushing waits until all of it is with the kernel. A cancel ends a wait with
/// [`CancelledError`](crate::CancelledError) inside an [`io::Error`], and loses nothing.
pub struct IoStream {
    reader: StreamReader,
    writer: StreamWriter,
    reading: CancelPoint,
    writing: CancelPoint,
}

/// What one call takes at most.
const WRITE_BYTES_MAX: usize = 64 * 1024;

impl IoStream {
    /// Joins the two halves of a connection.
    pub fn new(reader: StreamReader, writer: StreamWriter) -> IoStream {
        IoStream { reader, writer, reading: CancelPoint::default(), writing: CancelPoint::default() }
    }

    /// The two halves again; what was not read is still in the reader.
    pub fn into_halves(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }

    /// The reading half.
    pub fn reader(&self) -> &StreamReader {
        &self.reader
    }

    /// The writing half.
    pub fn writer(&self) -> &StreamWriter {
        &self.writer
    }

    /// At most `most` bytes; none at the end of the stream.
    pub(super) fn poll_read_bytes(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<bytes::Bytes>> {
        let IoStream { reader, reading, .. } = self;
        let taken = ready!(poll_wait(reading, cx, |cx| reader.poll_take(most, cx.waker())));
        Poll::Ready(taken?)
    }

    pub(super) fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.writer.get_write_buffer_limits().1;
        ready!(self.poll_queued_at_most(cx, most))?;
        let len = bytes.len().min(WRITE_BYTES_MAX);
        self.writer.write(&bytes[..len])?;
        Poll::Ready(Ok(len))
    }

    /// Ready when everything is with the kernel.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_queued_at_most(cx, 0)
    }

    /// Flushes, and says the end of the stream; reading goes on, except with TLS.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flushed(cx))?;
        match self.writer.can_write_eof() {
            true => self.writer.write_eof()?,
            false => self.writer.close(),
        }
        self.poll_flushed(cx)
    }

    fn poll_queued_at_most(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        let IoStream { writer, writing, .. } = self;
        let drained = ready!(poll_wait(writing, cx, |cx| writer.socket().poll_queued_at_most(most, cx.waker())));
        Poll::Ready(drained?)
    }
}

impl fmt::Debug for IoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoStream").field("reader", &self.reader).field("writer", &self.writer).finish()
    }
}
