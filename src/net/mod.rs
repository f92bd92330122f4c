//! Sockets with owned buffers.

mod addresses;
mod listener;
mod tcp;

pub use addresses::{Addresses, ToAddresses};
pub use listener::{Bind, TcpListener};
pub use tcp::TcpStream;
pub(crate) use tcp::connect;
