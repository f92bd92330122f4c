//! A reader that is fed by hand, to test what reads.

use std::{fmt, io, rc::Rc};

use bytes::Bytes;

use super::{StreamReader, connection::check_limit};
use crate::{
    executor::context,
    op::{Kind, Socket},
};

/// Feeds a [`StreamReader`] that has no connection; made by [`StreamReader::for_test`].
#[derive(Clone)]
pub struct Feed {
    socket: Rc<Socket>,
}

impl StreamReader {
    /// A reader without a connection, and what feeds it: to test code that reads, chunk by chunk.
    ///
    /// # Errors
    /// A limit of zero.
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// ```
    /// # ringio::run(async {
    /// let (mut reader, feed) = ringio::StreamReader::for_test(1024)?;
    /// feed.feed_data("hel");
    /// feed.feed_data("lo\nrest");
    /// feed.feed_eof();
    /// assert_eq!(reader.readline().await?, "hello\n");
    /// assert_eq!(reader.readline().await?, "rest");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn for_test(limit: usize) -> io::Result<(StreamReader, Feed)> {
        let port = context::with(|runtime| runtime.port.clone());
        check_limit(limit)?;
        let socket = Socket::of_kind(&port, None, Kind::Memory);
        Ok((StreamReader::new(socket.clone(), limit), Feed { socket }))
    }
}

impl Feed {
    /// Bytes arrive, behind those fed before.
    #[doc(alias = "asyncio.StreamReader.feed_data")]
    pub fn feed_data(&self, data: impl Into<Bytes>) {
        self.socket.feed(data.into());
    }

    /// The stream ends, well.
    #[doc(alias = "asyncio.StreamReader.feed_eof")]
    pub fn feed_eof(&self) {
        self.socket.feed_end(None);
    }

    /// The stream ends with an error: its number is kept if it is the system's, else its kind.
    #[doc(alias = "asyncio.StreamReader.set_exception")]
    pub fn set_exception(&self, error: io::Error) {
        self.socket.feed_end(Some(error));
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("unread", &self.socket.buffered()).finish()
    }
}
