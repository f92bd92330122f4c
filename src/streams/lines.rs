//! The lines of a stream, one after the other.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;

use super::StreamReader;
use crate::{executor::poll_wait, scope::CancelPoint};

/// The lines of a stream; made by [`StreamReader::lines`]. Errors do not end it: behind a line that was too long, or a
/// cancel, it goes on.
#[must_use = "lines are read when this is asked for the next"]
pub struct Lines<'a> {
    reader: &'a mut StreamReader,
    looked_at: usize,
    point: CancelPoint,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: &'a mut StreamReader) -> Lines<'a> {
        Lines { reader, looked_at: 0, point: CancelPoint::default() }
    }

    /// The next line, with its `\n`; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`StreamReader::readline`].
    ///
    /// # Cancellation
    /// **Nothing lost**: what has arrived stays for the next line.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let line = self.reader.readline().await?;
        Ok((!line.is_empty()).then_some(line))
    }
}

impl Stream for Lines<'_> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Lines { reader, looked_at, point } = &mut *self;
        let polled = poll_wait(point, cx, |cx| reader.poll_line(looked_at, cx.waker()));
        polled.map(|line| {
            *looked_at = 0;
            match line {
                Ok(Ok(line)) if line.is_empty() => None,
                Ok(line) => Some(line),
                Err(cancelled) => Some(Err(cancelled.into())),
            }
        })
    }
}

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("reader", &self.reader).finish()
    }
}
