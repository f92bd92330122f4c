//! Opening a connection.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use super::{StreamReader, StreamWriter};
use crate::{
    net::{Addresses, ConnectOptions, Family, TcpStream, ToAddresses, connect, connect_unix},
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
    OpenConnection::to(Target::Addresses(address.to_addresses(), ConnectOptions::default()))
}

/// Takes over a socket that is connected already, in blocking mode or not. Await it for the two halves.
///
/// ```
/// # ringio::run(async {
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let (_reader, mut writer) = ringio::open_connection_from(here.into()).await?;
/// let (mut reader, _writer) = ringio::open_connection_from(there.into()).await?;
/// writer.write(b"hello\n")?;
/// assert_eq!(reader.readline().await?, "hello\n");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.open_connection")]
pub fn open_connection_from(fd: OwnedFd) -> OpenConnection {
    OpenConnection::to(Target::Descriptor(fd))
}

/// Connects to the Unix socket at `path`; a path that begins with a zero byte is a name that belongs to no file. Await it
/// for the two halves of the connection.
#[doc(alias = "asyncio.open_unix_connection")]
pub fn open_unix_connection(path: impl AsRef<Path>) -> OpenUnixConnection {
    OpenUnixConnection { path: path.as_ref().to_owned(), limit: LIMIT_BYTES, secure: None }
}

/// A connection about to be opened: await it.
///
/// # Errors
/// What the look-up or connect(2) says: a [`ConnectError`](crate::ConnectError) inside, which names every address that was
/// tried; a limit of zero; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
///
/// # Cancellation
/// **Nothing lost**: a connection that was made nevertheless is returned if the future still waits, else closed.
#[must_use = "a connection is opened when this is awaited"]
pub struct OpenConnection {
    pub(super) target: Target,
    limit: usize,
    pub(super) secure: Option<Secure>,
}

/// Encrypts a new connection.
pub(super) type Secure = Rc<dyn Fn(StreamReader, StreamWriter) -> Opening>;

type Opening = Pin<Box<dyn Future<Output = io::Result<(StreamReader, StreamWriter)>>>>;

#[derive(Debug)]
pub(super) enum Target {
    Addresses(Addresses, ConnectOptions),
    Descriptor(OwnedFd),
}

impl OpenConnection {
    fn to(target: Target) -> OpenConnection {
        OpenConnection { target, limit: LIMIT_BYTES, secure: None }
    }

    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> OpenConnection {
        self.limit = bytes;
        self
    }

    /// Only addresses of this family.
    pub fn family(self, family: Family) -> OpenConnection {
        self.with_options(|options| options.family = Some(family))
    }

    /// The address to connect from; where it is a name or a list, the first that can be bound and is of the right family.
    pub fn local_addr(self, address: impl ToAddresses) -> OpenConnection {
        self.with_options(|options| options.local = Some(address.to_addresses()))
    }

    /// Happy eyeballs (RFC 8305): how long an address is tried alone before the next one is tried beside it; a quarter of a
    /// second is usual. Unless set, the next one is tried when one has failed.
    pub fn happy_eyeballs_delay(self, delay: Duration) -> OpenConnection {
        self.with_options(|options| options.stagger = Some(delay))
    }

    /// How many addresses of the first family come first when the families are mixed; zero keeps the order of the look-up.
    /// One with [`happy_eyeballs_delay`](OpenConnection::happy_eyeballs_delay), else zero, unless set.
    pub fn interleave(self, first: usize) -> OpenConnection {
        self.with_options(|options| options.interleave = Some(first))
    }

    /// They say nothing about a socket that is connected already.
    fn with_options(mut self, change: impl FnOnce(&mut ConnectOptions)) -> OpenConnection {
        if let Target::Addresses(_, options) = &mut self.target {
            change(options);
        }
        self
    }

    async fn open(self) -> io::Result<(StreamReader, StreamWriter)> {
        check_limit(self.limit)?;
        let socket = match self.target {
            Target::Addresses(addresses, options) => {
                let socket = connect(addresses, options).await?;
                socket.set_nodelay(true)?;
                socket
            }
            Target::Descriptor(fd) => {
                let stream = TcpStream::from_fd(fd)?;
                // Another family has nothing like it.
                let _ = stream.set_nodelay(true);
                stream.into_socket()
            }
        };
        let (reader, writer) = halves(socket, self.limit);
        match self.secure {
            Some(secure) => secure(reader, writer).await,
            None => Ok((reader, writer)),
        }
    }
}

impl IntoFuture for OpenConnection {
    type Output = io::Result<(StreamReader, StreamWriter)>;
    type IntoFuture = Opening;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for OpenConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenConnection").field("target", &self.target).field("limit", &self.limit).finish()
    }
}

/// A connection to a Unix socket about to be opened: await it.
///
/// # Errors
/// What connect(2) says, naming the path; a limit of zero; [`CancelledError`](crate::CancelledError) inside an
/// [`io::Error`].
///
/// # Cancellation
/// **Nothing lost**: a connection that was made nevertheless is returned if the future still waits, else closed.
#[derive(Clone)]
#[must_use = "a connection is opened when this is awaited"]
pub struct OpenUnixConnection {
    path: PathBuf,
    limit: usize,
    pub(super) secure: Option<Secure>,
}

impl OpenUnixConnection {
    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> OpenUnixConnection {
        self.limit = bytes;
        self
    }
}

impl IntoFuture for OpenUnixConnection {
    type Output = io::Result<(StreamReader, StreamWriter)>;
    type IntoFuture = Opening;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_limit(self.limit)?;
            let (reader, writer) = halves(connect_unix(&self.path).await?, self.limit);
            match self.secure {
                Some(secure) => secure(reader, writer).await,
                None => Ok((reader, writer)),
            }
        })
    }
}

impl fmt::Debug for OpenUnixConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenUnixConnection").field("path", &self.path).field("limit", &self.limit).finish()
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
