//! What stands between a stream and its socket: encryption. Not here: what it does to the bytes (`streams/tls.rs`).

use std::{
    io,
    rc::Rc,
    task::{Poll, Waker},
};

use super::Socket;

/// Turns what is written into what is sent, and what is received into what is read. `outside` is the socket below it.
pub(crate) trait Layer {
    /// Where what is read waits for its reader.
    fn inside(&self) -> &Rc<Socket>;

    /// Ready when more than `have` bytes wait there, or when no more will come.
    fn poll_more_than(&self, outside: &Rc<Socket>, have: usize, waker: &Waker) -> Poll<()>;

    /// Why no more will come, when that is an error.
    fn end_of_stream(&self) -> io::Result<()>;

    /// Queues bytes, all of them or none.
    fn write(&self, outside: &Rc<Socket>, bytes: &[u8]) -> io::Result<()>;

    /// The socket is about to be closed: says the end of the stream.
    fn close(&self, outside: &Rc<Socket>);

    /// Something about it, by name.
    fn describe(&self, what: &str) -> Option<String>;

    /// The certificates of the peer, its own first.
    fn certificates(&self) -> Vec<Vec<u8>>;
}

impl Socket {
    #[inline]
    pub(crate) fn layer(&self) -> Option<&dyn Layer> {
        self.layer.get().map(|layer| &***layer)
    }
}
