//! Opening a connection.

use std::{
    future::{Future, IntoFuture},
    io,
    pin::Pin,
    rc::Rc,
};

use super::{StreamReader, StreamWriter};
use crate::{
    net::{Addresses, ToAddresses, connect},
    op::Socket,
};

/// asyncio's default for how long a line may be, in bytes.
pub(super) const LIMIT_BYTES: usize = 64 * 1024;

/// Connects to `address` (a socket address, `"host:port"` or `("host", port)`); a name is looked up on a thread of its
/// own. Await it for the two halves of the connection.
///
/// ```
/// # ringio::run(async {
/// # let echo = async |mut r: ringio::StreamReader, mut w: ringio::StreamWriter| {
/// #     while let Ok(b) = r.read(1024).await && !b.is_empty() { w.write_owned(b)?; }
/// #     std::io::Result::Ok(())
/// # };
/// # let server = ringio::start_server(echo, "127.0.0.1:0").await?;
/// # let address = server.sockets()[0];
/// let (mut reader, mut writer) = ringio::open_connection(address).limit(1024).await?;
/// writer.write(b"hello\n")?;
/// assert_eq!(reader.readline().await?, "hello\n");
/// writer.close();
/// writer.wait_closed().await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.open_connection")]
pub fn open_connection(address: impl ToAddresses) -> OpenConnection {
    OpenConnection { addresses: address.to_addresses(), limit: LIMIT_BYTES }
}

/// A connection about to be opened: await it.
///
/// # Errors
/// What the look-up or connect(2) says, naming every address that was tried; a limit of zero;
/// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
///
/// # Cancellation
/// **Nothing lost**: a connection that was made nevertheless is returned if the future still waits, else closed.
#[derive(Debug, Clone)]
#[must_use = "a connection is opened when this is awaited"]
pub struct OpenConnection {
    addresses: Addresses,
    limit: usize,
}

impl OpenConnection {
    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> OpenConnection {
        self.limit = bytes;
        self
    }
}

impl IntoFuture for OpenConnection {
    type Output = io::Result<(StreamReader, StreamWriter)>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_limit(self.limit)?;
            let socket = connect(self.addresses).await?;
            socket.set_nodelay(true)?;
            Ok(halves(socket, self.limit))
        })
    }
}

pub(super) fn halves(socket: Rc<Socket>, limit: usize) -> (StreamReader, StreamWriter) {
    (StreamReader::new(socket.clone(), limit), StreamWriter::new(socket))
}

/// OC6.
pub(super) fn check_limit(limit: usize) -> io::Result<()> {
    if limit == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "limit has to be at least 1"));
    }
    Ok(())
}
