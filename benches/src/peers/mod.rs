//! The same three servers on every runtime, as its own users would write them: one thread, one task per connection,
//! a 16 KiB buffer, read then write all, TCP_NODELAY. Guards: no peer is handicapped, none is tuned beyond its
//! documented options.

pub(crate) mod compio;
pub(crate) mod corrupt;
pub(crate) mod glommio;
pub(crate) mod lines;
pub(crate) mod monoio;
pub(crate) mod ringio_owned;
pub(crate) mod ringio_stream;
pub(crate) mod smol;
pub(crate) mod tokio;
pub(crate) mod tokio_uring;
