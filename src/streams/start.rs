//! Starting a server.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    path::{Path, PathBuf},
    pin::Pin,
};

use super::{
    Server, StreamReader, StreamWriter,
    connection::{LIMIT_BYTES, Secure, check_limit},
    server::{Listening, Place, Start, starter},
};
use crate::{
    error::Outcome,
    net::{Addresses, Bind, BindUnix, BoundListener, BoundUnix, TcpListener, ToAddresses, lacks_family},
};

/// Listens on `address` and calls `handler` with the two halves of every connection, each call in a task of its own, which
/// belongs to the server. An error of a handler closes its connection and goes to the runtime's error handler.
///
/// An address may be a name, or a list: the server listens on everything it stands for. `("", port)` are all interfaces,
/// of IPv4 and IPv6.
///
/// ```
/// # ringio::run(async {
/// let server = ringio::start_server(
///     async |mut reader: ringio::StreamReader, mut writer: ringio::StreamWriter| {
///         let line = reader.readline().await?;
///         writer.write(&line)
///     },
///     "127.0.0.1:0",
/// )
/// .backlog(1024)
/// .await?;
/// let (mut reader, mut writer) = ringio::open_connection(server.sockets()[0]).await?;
/// writer.write(b"hello\n")?;
/// assert_eq!(reader.readline().await?, "hello\n");
/// server.close();
/// server.wait_closed().await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.start_server")]
pub fn start_server<H, F>(handler: H, address: impl ToAddresses) -> StartServer
where
    H: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    StartServer { addresses: address.to_addresses(), bind: Bind::default(), settings: Settings::new(starter(handler)) }
}

/// Listens at a path, as [`start_server`] does on an address. A socket that was left at the path is replaced, another file
/// is not; a path that begins with a zero byte is a name that belongs to no file.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringio-doc-server-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let path = directory.join("socket");
/// # ringio::run(async {
/// let server = ringio::start_unix_server(
///     async |_reader, mut writer: ringio::StreamWriter| writer.write(b"hello\n"),
///     &path,
/// )
/// .mode(0o600)
/// .await?;
/// let (mut reader, _writer) = ringio::open_unix_connection(&path).await?;
/// assert_eq!(reader.readline().await?, "hello\n");
/// server.close();
/// assert!(!path.exists());
/// # std::io::Result::Ok(()) })?;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "asyncio.start_unix_server")]
pub fn start_unix_server<H, F>(handler: H, path: impl AsRef<Path>) -> StartUnixServer
where
    H: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    let path = path.as_ref().to_owned();
    StartUnixServer { path, bind: BindUnix::default(), settings: Settings::new(starter(handler)) }
}

/// What both kinds have.
pub(super) struct Settings {
    start: Start,
    pub(super) secure: Option<Secure>,
    limit: usize,
    serving: bool,
}

impl Settings {
    fn new(start: Start) -> Settings {
        Settings { start, secure: None, limit: LIMIT_BYTES, serving: true }
    }

    fn start(self, places: Vec<Place>) -> io::Result<Server> {
        let server = Server::new(places, self.start, self.secure, self.limit);
        if self.serving {
            server.start_serving()?;
        }
        Ok(server)
    }
}

/// A server about to be started: await it.
///
/// # Errors
/// When an address is in use or not this machine's: the message names it; a limit of zero;
/// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
///
/// # Cancellation
/// **Nothing lost**: nothing was started yet.
#[must_use = "a server is started when this is awaited"]
pub struct StartServer {
    addresses: Addresses,
    bind: Bind,
    pub(super) settings: Settings,
}

impl StartServer {
    /// Connections that may wait in the kernel's queue; 100 unless set.
    pub fn backlog(mut self, connections: u32) -> StartServer {
        self.bind.backlog = connections;
        self
    }

    /// Whether several sockets may listen on the same port.
    pub fn reuse_port(mut self, yes: bool) -> StartServer {
        self.bind.reuse_port = yes;
        self
    }

    /// Whether idle connections are probed, so that a peer that is gone is noticed.
    pub fn keep_alive(mut self, yes: bool) -> StartServer {
        self.bind.keep_alive = yes;
        self
    }

    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> StartServer {
        self.settings.limit = bytes;
        self
    }

    /// Whether the server accepts connections at once (yes, unless set otherwise), or refuses them until
    /// [`Server::start_serving`] or [`Server::serve_forever`].
    pub fn start_serving(mut self, yes: bool) -> StartServer {
        self.settings.serving = yes;
        self
    }

    async fn start(self) -> io::Result<Server> {
        check_limit(self.settings.limit)?;
        let mut addresses = Vec::new();
        for address in self.addresses.resolve().await? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let (mut places, mut lacking) = (Vec::new(), None);
        for &address in &addresses {
            let place = match self.settings.serving {
                true => {
                    TcpListener::bind_with(address, self.bind).map(|listener| Place::Idle(Listening::Tcp(listener)))
                }
                false => BoundListener::bind(address, self.bind).map(Place::Bound),
            };
            match place {
                Ok(place) => places.push(place),
                // A machine without IPv6 still serves the IPv4 half of a name.
                Err(error) if addresses.len() > 1 && lacks_family(&error) => lacking = Some(error),
                Err(error) => return Err(error),
            }
        }
        match lacking {
            Some(error) if places.is_empty() => Err(error),
            Some(_) | None => self.settings.start(places),
        }
    }
}

impl IntoFuture for StartServer {
    type Output = io::Result<Server>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Server>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for StartServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartServer").field("addresses", &self.addresses).field("bind", &self.bind).finish()
    }
}

/// A server of a Unix socket about to be started: await it.
///
/// # Errors
/// When the path is in use, or cannot be: the message names it; a limit of zero.
///
/// # Cancellation
/// **Nothing lost**: nothing was started yet.
#[must_use = "a server is started when this is awaited"]
pub struct StartUnixServer {
    path: PathBuf,
    bind: BindUnix,
    pub(super) settings: Settings,
}

impl StartUnixServer {
    /// Connections that may wait in the kernel's queue; 100 unless set.
    pub fn backlog(mut self, connections: u32) -> StartUnixServer {
        self.bind.backlog = connections;
        self
    }

    /// The permissions of the socket's file, as for chmod(2); what the process's umask says unless set.
    pub fn mode(mut self, mode: u32) -> StartUnixServer {
        self.bind.mode = Some(mode);
        self
    }

    /// Whether the socket's file is removed when the server is closed: yes unless set otherwise.
    pub fn cleanup_socket(mut self, yes: bool) -> StartUnixServer {
        self.bind.cleanup = yes;
        self
    }

    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> StartUnixServer {
        self.settings.limit = bytes;
        self
    }

    /// As [`StartServer::start_serving`].
    pub fn start_serving(mut self, yes: bool) -> StartUnixServer {
        self.settings.serving = yes;
        self
    }

    fn start(self) -> io::Result<Server> {
        check_limit(self.settings.limit)?;
        let bound = BoundUnix::bind(&self.path, self.bind)?;
        self.settings.start(vec![Place::UnixBound(bound)])
    }
}

impl IntoFuture for StartUnixServer {
    type Output = io::Result<Server>;
    type IntoFuture = std::future::Ready<io::Result<Server>>;

    fn into_future(self) -> Self::IntoFuture {
        std::future::ready(self.start())
    }
}

impl fmt::Debug for StartUnixServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartUnixServer").field("path", &self.path).field("bind", &self.bind).finish()
    }
}
