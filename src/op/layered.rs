//! Putting a layer between a stream and its socket.

use super::{Layer, Socket};

impl Socket {
    /// From now on everything passes through `layer`.
    ///
    /// # Panics
    /// When there is one already: a bug of the caller's.
    pub(crate) fn set_layer(&self, layer: Box<dyn Layer>) {
        assert!(self.layer.set(Box::new(layer)).is_ok(), "a socket has one layer");
    }

    /// Whether a read is waited for.
    pub(crate) fn has_reader(&self) -> bool {
        self.receiving.is_wanted()
    }
}
