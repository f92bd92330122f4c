//! Descriptors that are no sockets.

mod descriptor;

pub use descriptor::Descriptor;
