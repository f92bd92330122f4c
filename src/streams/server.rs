//! Serving connections: a task for each.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, IntoFuture},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;

use super::{
    StreamReader, StreamWriter,
    connection::{LIMIT_BYTES, check_limit, halves},
};
use crate::{
    error::{CancelledError, Outcome, cancelled},
    executor::wait,
    net::{Addresses, Bind, TcpListener, TcpStream, ToAddresses},
    op::Waiters,
    task::create_task,
};

/// Listens on `address` and calls `handler` with the two halves of every connection, each call in a task of its own. An
/// error of a handler closes its connection and goes to the runtime's error handler.
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
    let start = move |stream: TcpStream, limit, client: Client| {
        let (reader, writer) = halves(stream.into_socket(), limit);
        create_task(Served { handled: handler(reader, writer), _client: client });
    };
    StartServer { start: Box::new(start), addresses: address.to_addresses(), bind: Bind::default(), limit: LIMIT_BYTES }
}

pin_project! {
    /// The future of one connection. Not an async block, which would have room for the handler's future twice.
    struct Served<F> {
        #[pin]
        handled: F,
        _client: Client,
    }
}

impl<F: Future> Future for Served<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().handled.poll(cx)
    }
}

/// Starts the task of one connection.
type Start = Box<dyn Fn(TcpStream, usize, Client)>;

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
    start: Start,
    addresses: Addresses,
    bind: Bind,
    limit: usize,
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

    /// How long a line may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> StartServer {
        self.limit = bytes;
        self
    }
}

impl fmt::Debug for StartServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartServer").field("addresses", &self.addresses).field("bind", &self.bind).finish()
    }
}

impl IntoFuture for StartServer {
    type Output = io::Result<Server>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Server>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_limit(self.limit)?;
            let addresses = self.addresses.resolve().await?;
            let listeners = addresses.into_iter().map(|address| TcpListener::bind_with(address, self.bind));
            Ok(Server::start(listeners.collect::<io::Result<_>>()?, self.start, self.limit))
        })
    }
}

/// A running server. Clones share it; it serves until it is closed, also when every handle was dropped.
#[doc(alias = "asyncio.Server")]
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

struct Shared {
    listeners: RefCell<Vec<TcpListener>>,
    clients: Cell<usize>,
    serving_forever: Cell<bool>,
    waiters: Waiters,
}

/// A connection that is being served.
struct Client(Rc<Shared>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.clients.set(self.0.clients.get() - 1);
        if self.0.clients.get() == 0 {
            self.0.waiters.wake_all();
        }
    }
}

impl Server {
    fn start(listeners: Vec<TcpListener>, start: Start, limit: usize) -> Server {
        let shared = Rc::new(Shared {
            listeners: RefCell::new(listeners.clone()),
            clients: Cell::new(0),
            serving_forever: Cell::new(false),
            waiters: Waiters::default(),
        });
        let start = Rc::new(start);
        for listener in listeners {
            let (shared, start) = (shared.clone(), start.clone());
            create_task(accept_all(listener, shared, start, limit));
        }
        Server { shared }
    }

    /// The addresses it listens on; none once it is closed.
    #[doc(alias = "asyncio.Server.sockets")]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.shared.listeners.borrow().iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Whether it accepts connections.
    #[doc(alias = "asyncio.Server.is_serving")]
    pub fn is_serving(&self) -> bool {
        !self.shared.listeners.borrow().is_empty()
    }

    /// Stops accepting. Connections that are being served go on.
    #[doc(alias = "asyncio.Server.close")]
    pub fn close(&self) {
        let listeners = self.shared.listeners.take();
        for listener in &listeners {
            listener.begin_close();
        }
        self.shared.waiters.wake_all();
    }

    /// Waits until the server is closed.
    ///
    /// # Errors
    /// When it is closed already, or somebody else waits like this; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the server is closed; connections that are being served go on.
    #[doc(alias = "asyncio.Server.serve_forever")]
    pub async fn serve_forever(&self) -> io::Result<()> {
        if !self.is_serving() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the server is closed; start a new one"));
        }
        if self.shared.serving_forever.replace(true) {
            let text = "serve_forever() is awaited already; await wait_closed() here";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let closed = wait(|cx| self.shared.poll_until(cx.waker(), || !self.is_serving())).await;
        self.shared.serving_forever.set(false);
        if closed.is_err() {
            self.close();
        }
        Ok(closed?)
    }

    /// Waits until the server is closed and the last of its connections has been served.
    ///
    /// # Errors
    /// When cancelled.
    ///
    /// # Cancellation
    /// **Nothing lost**: it may be waited for again.
    #[doc(alias = "asyncio.Server.wait_closed")]
    pub async fn wait_closed(&self) -> Result<(), CancelledError> {
        wait(|cx| self.shared.poll_until(cx.waker(), || !self.is_serving() && self.shared.clients.get() == 0)).await
    }
}

impl Shared {
    fn poll_until(&self, waker: &Waker, done: impl FnOnce() -> bool) -> Poll<()> {
        if done() {
            return Poll::Ready(());
        }
        self.waiters.add(waker);
        Poll::Pending
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("sockets", &self.sockets()).field("clients", &self.shared.clients.get()).finish()
    }
}

/// Serves one listener until it is closed, or its task cancelled.
async fn accept_all(listener: TcpListener, shared: Rc<Shared>, start: Rc<Start>, limit: usize) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.clients.set(shared.clients.get() + 1);
                start(stream, limit, Client(shared.clone()));
            }
            Err(_) if listener.is_closing() => return Ok(()),
            Err(error) if cancelled(&error).is_some() => return Err(error),
            // A listener that fails for good serves nobody: say so, to whoever waits and to the error handler.
            Err(error) => {
                Server { shared }.close();
                return Err(error);
            }
        }
    }
}
