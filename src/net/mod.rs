//! Sockets with owned buffers.

mod addresses;
mod connect;
mod listener;
mod tcp;
mod udp;
mod unix;
mod unix_datagram;

pub(crate) use crate::sys::lacks_family;
pub use addresses::{Addresses, ToAddresses};
pub use connect::{ConnectError, Family};
pub(crate) use connect::{ConnectOptions, connect};
pub(crate) use listener::BoundListener;
pub use listener::{Bind, TcpListener};
pub use tcp::TcpStream;
pub use udp::UdpSocket;
pub use unix::{BindUnix, PeerCredentials, UnixListener, UnixStream};
pub(crate) use unix::{BoundUnix, connect_unix, credentials};
pub use unix_datagram::UnixDatagram;
