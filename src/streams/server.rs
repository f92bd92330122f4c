//! Serving connections: a task for each, which belongs to the server.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use slab::Slab;

use super::{
    StreamReader, StreamWriter,
    connection::{Secure, halves},
};
use crate::{
    error::{CancelledError, Outcome, cancelled},
    executor::{Note, wait},
    net::{BoundListener, BoundUnix, TcpListener, UnixListener, UnixStream},
    op::{Socket, Waiters},
    task::{AnyTask, create_task, sleep},
};

/// A running server. Clones share it; it serves until it is closed, also when every handle was dropped.
#[doc(alias = "asyncio.Server")]
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

struct Shared {
    places: RefCell<Vec<Place>>,
    /// For good.
    closed: Cell<bool>,
    /// Listeners whose close the kernel still works on.
    closing: RefCell<Vec<Listening>>,
    clients: RefCell<Slab<Client>>,
    serving_forever: Cell<bool>,
    waiters: Waiters,
    start: Start,
    secure: Option<Secure>,
    limit: usize,
}

/// Where a server listens, or will.
pub(super) enum Place {
    Bound(BoundListener),
    UnixBound(BoundUnix),
    /// Nobody accepts yet.
    Idle(Listening),
    Serving(Listening),
}

/// A place where connections are accepted.
#[derive(Clone)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Starts the task of one connection.
pub(super) type Start = Box<dyn Fn(StreamReader, StreamWriter, Seat, Option<&Secure>) -> AnyTask>;

/// A connection that is being served.
struct Client {
    socket: Rc<Socket>,
    task: Option<AnyTask>,
}

/// The place of a connection among its server's clients, given back when the handler has ended.
pub(super) struct Seat {
    shared: Rc<Shared>,
    number: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let client = self.shared.clients.borrow_mut().remove(self.number);
        if self.shared.clients.borrow().is_empty() {
            self.shared.waiters.wake_all();
        }
        drop(client);
    }
}

pin_project! {
    /// The future of one connection. Not an async block, which would have room for the handler's future twice.
    struct Served<F> {
        #[pin]
        handled: F,
        _seat: Seat,
    }
}

impl<F: Future> Future for Served<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().handled.poll(cx)
    }
}

/// What starts the tasks that call `handler`.
pub(super) fn starter<H, F>(handler: H) -> Start
where
    H: Fn(StreamReader, StreamWriter) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    let handler = Rc::new(handler);
    Box::new(move |reader, writer, seat, secure| match secure {
        None => create_task(Served { handled: handler(reader, writer), _seat: seat }).to_any(),
        Some(secure) => {
            let (secured, handler) = (secure(reader, writer), handler.clone());
            let handled = async move {
                match secured.await {
                    Ok((reader, writer)) => handler(reader, writer).await.into_result().map(drop),
                    // It was reported, and the connection is closed.
                    Err(_) => Ok(()),
                }
            };
            create_task(Served { handled, _seat: seat }).to_any()
        }
    })
}

/// How long [`Server::shutdown`] waits for handlers whose connections it has aborted.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// How often it cancels them in that time.
const LAST_ROUNDS: u32 = 4;

impl Server {
    pub(super) fn new(places: Vec<Place>, start: Start, secure: Option<Secure>, limit: usize) -> Server {
        let shared = Shared {
            places: RefCell::new(places),
            closed: Cell::new(false),
            closing: RefCell::default(),
            clients: RefCell::default(),
            serving_forever: Cell::new(false),
            waiters: Waiters::default(),
            start,
            secure,
            limit,
        };
        Server { shared: Rc::new(shared) }
    }

    /// The internet addresses it listens on; none once it is closed.
    #[doc(alias = "asyncio.Server.sockets")]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.shared.places.borrow().iter().filter_map(|place| place.address()).collect()
    }

    /// The paths of the Unix sockets it listens at; none once it is closed.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.shared.places.borrow().iter().filter_map(|place| place.path()).collect()
    }

    /// Whether it accepts connections.
    #[doc(alias = "asyncio.Server.is_serving")]
    pub fn is_serving(&self) -> bool {
        self.shared.places.borrow().iter().any(Place::is_serving)
    }

    /// How many connections are being served.
    pub fn clients(&self) -> usize {
        self.shared.clients.borrow().len()
    }

    /// The tasks of the connections that are being served.
    pub fn tasks(&self) -> Vec<AnyTask> {
        self.shared.clients.borrow().iter().filter_map(|(_, client)| client.task.clone()).collect()
    }

    /// Starts to accept, after [`start_serving(false)`](super::StartServer::start_serving); does nothing when it does so
    /// already.
    ///
    /// # Errors
    /// When the server is closed; what listen(2) says.
    #[doc(alias = "asyncio.Server.start_serving")]
    pub fn start_serving(&self) -> io::Result<()> {
        if self.shared.closed.get() {
            return Err(closed());
        }
        let places = self.shared.places.take();
        let mut serving = Vec::with_capacity(places.len());
        let mut failed = None;
        for place in places {
            match place.serve(&self.shared) {
                Ok(place) => serving.push(place),
                Err(error) => failed = Some(error),
            }
        }
        self.shared.places.replace(serving);
        match failed {
            Some(error) => {
                self.close();
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Stops accepting. Connections that are being served go on.
    #[doc(alias = "asyncio.Server.close")]
    pub fn close(&self) {
        self.shared.closed.set(true);
        let places = self.shared.places.take();
        let closing: Vec<_> = places.into_iter().filter_map(Place::begin_close).collect();
        self.shared.closing.borrow_mut().extend(closing);
        self.shared.waiters.wake_all();
    }

    /// Starts to accept where it does not yet, and waits until the server is closed.
    ///
    /// # Errors
    /// When it is closed already, or somebody else waits like this; [`CancelledError`](crate::CancelledError) inside an
    /// [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the server is closed; connections that are being served go on.
    #[doc(alias = "asyncio.Server.serve_forever")]
    pub async fn serve_forever(&self) -> io::Result<()> {
        if self.shared.closed.get() {
            return Err(closed());
        }
        if self.shared.serving_forever.replace(true) {
            let text = "serve_forever() is awaited already; await wait_closed() here";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // Also when this future is dropped, another may serve.
        let _serving = Serving(&self.shared);
        self.start_serving()?;
        let _note = Note::new("Server.serve_forever");
        let closed = wait(|cx| self.shared.poll_until(cx.waker(), || self.shared.closed.get())).await;
        if closed.is_err() {
            self.close();
        }
        Ok(closed?)
    }

    /// Waits until the server is closed, its ports are free, and the last of its connections has been served.
    ///
    /// # Errors
    /// When cancelled.
    ///
    /// # Cancellation
    /// **Nothing lost**: it may be waited for again.
    #[doc(alias = "asyncio.Server.wait_closed")]
    pub async fn wait_closed(&self) -> Result<(), CancelledError> {
        let _note = Note::new("Server.wait_closed");
        wait(|cx| {
            ready!(self.shared.poll_until(cx.waker(), || self.shared.closed.get() && self.clients() == 0));
            self.shared.poll_listeners_closed(cx.waker())
        })
        .await
    }

    /// Closes every connection that is being served; what was written is still sent. Their handlers read the end of the
    /// stream.
    #[doc(alias = "asyncio.Server.close_clients")]
    pub fn close_clients(&self) {
        self.each_client(|socket| socket.close());
    }

    /// Closes every connection that is being served at once; what was not sent yet is dropped, and the peers see a reset.
    #[doc(alias = "asyncio.Server.abort_clients")]
    pub fn abort_clients(&self) {
        self.each_client(|socket| socket.abort());
    }

    fn each_client(&self, act: impl Fn(&Rc<Socket>)) {
        let sockets: Vec<_> = self.shared.clients.borrow().iter().map(|(_, client)| client.socket.clone()).collect();
        sockets.iter().for_each(act);
    }

    /// Ends the server, and always in time: stops accepting, and waits half of `grace` for the handlers to end by
    /// themselves; closes the connections that are left, and waits the other half; aborts what is left then, cancels the
    /// handlers, and waits a second at most for their clean-up. Returns how many connections had to be aborted.
    ///
    /// # Errors
    /// When cancelled.
    ///
    /// # Cancellation
    /// **Runs on**: the server stays closed; what was not closed yet is served on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # ringio::run(async {
    /// let server = ringio::start_server(async |mut reader: ringio::StreamReader, _writer| {
    ///     reader.read(1).await.map(drop)
    /// }, "127.0.0.1:0").await?;
    /// let idle = ringio::open_connection(server.sockets()[0]).await?;
    /// assert_eq!(server.shutdown(Duration::from_millis(20)).await?, 0);
    /// # drop(idle);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn shutdown(&self, grace: Duration) -> Result<usize, CancelledError> {
        self.close();
        if self.wait_for_clients(grace / 2).await? {
            return Ok(0);
        }
        self.close_clients();
        if self.wait_for_clients(grace / 2).await? {
            return Ok(0);
        }
        let aborted = self.clients();
        self.abort_clients();
        for _ in 0..LAST_ROUNDS {
            // A handler may swallow one: its clean-up is cancelled as well, in time.
            for task in self.tasks() {
                task.cancel();
            }
            if self.wait_for_clients(LAST_WAIT / LAST_ROUNDS).await? {
                break;
            }
        }
        Ok(aborted)
    }

    /// Whether the last client went in time.
    async fn wait_for_clients(&self, limit: Duration) -> Result<bool, CancelledError> {
        let mut time = std::pin::pin!(sleep(limit));
        let _note = Note::new("Server.shutdown");
        wait(|cx| {
            if self.clients() == 0 {
                return Poll::Ready(Ok(true));
            }
            self.shared.waiters.add(cx.waker());
            time.as_mut().poll(cx).map(|slept| slept.map(|()| false))
        })
        .await?
    }
}

/// While somebody awaits `serve_forever`.
struct Serving<'a>(&'a Shared);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving_forever.set(false);
    }
}

impl Shared {
    fn poll_listeners_closed(&self, waker: &Waker) -> Poll<()> {
        let mut closing = self.closing.borrow_mut();
        closing.retain(|listener| listener.poll_closed(waker).is_pending());
        if closing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_until(&self, waker: &Waker, done: impl FnOnce() -> bool) -> Poll<()> {
        if done() {
            return Poll::Ready(());
        }
        self.waiters.add(waker);
        Poll::Pending
    }

    fn serve(self: &Rc<Shared>, socket: Rc<Socket>) {
        let number = self.clients.borrow_mut().insert(Client { socket: socket.clone(), task: None });
        let seat = Seat { shared: self.clone(), number };
        let (reader, writer) = halves(socket, self.limit);
        let task = (self.start)(reader, writer, seat, self.secure.as_ref());
        // Tasks begin in the next turn, so the seat is still taken.
        if let Some(client) = self.clients.borrow_mut().get_mut(number) {
            client.task = Some(task);
        }
    }
}

impl Place {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Place::Bound(bound) => bound.local_addr().ok(),
            Place::Idle(Listening::Tcp(listener)) | Place::Serving(Listening::Tcp(listener)) => {
                listener.local_addr().ok()
            }
            Place::UnixBound(_) | Place::Idle(Listening::Unix(_)) | Place::Serving(Listening::Unix(_)) => None,
        }
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Place::UnixBound(bound) => Some(bound.path().to_owned()),
            Place::Idle(Listening::Unix(listener)) | Place::Serving(Listening::Unix(listener)) => {
                Some(listener.path().to_owned())
            }
            Place::Bound(_) | Place::Idle(Listening::Tcp(_)) | Place::Serving(Listening::Tcp(_)) => None,
        }
    }

    fn is_serving(&self) -> bool {
        matches!(self, Place::Serving(_))
    }

    /// Starts to accept, unless that is going on already.
    fn serve(self, shared: &Rc<Shared>) -> io::Result<Place> {
        let listening = match self {
            Place::Bound(bound) => Listening::Tcp(bound.listen()?),
            Place::UnixBound(bound) => Listening::Unix(bound.listen()?),
            Place::Idle(listening) => listening,
            Place::Serving(_) => return Ok(self),
        };
        create_task(accept_all(listening.clone(), shared.clone()));
        Ok(Place::Serving(listening))
    }

    /// What the kernel still works on.
    fn begin_close(self) -> Option<Listening> {
        let listening = match self {
            Place::Idle(listening) | Place::Serving(listening) => listening,
            // Closed by being dropped.
            Place::Bound(_) | Place::UnixBound(_) => return None,
        };
        match &listening {
            Listening::Tcp(listener) => listener.begin_close(),
            Listening::Unix(listener) => listener.begin_close(),
        }
        Some(listening)
    }
}

impl Listening {
    async fn accept(&self) -> io::Result<Rc<Socket>> {
        match self {
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, _)| stream.into_socket()),
            Listening::Unix(listener) => listener.accept().await.map(UnixStream::into_socket),
        }
    }

    fn poll_closed(&self, waker: &Waker) -> Poll<()> {
        match self {
            Listening::Tcp(listener) => listener.poll_closed(waker),
            Listening::Unix(listener) => listener.poll_closed(waker),
        }
    }

    fn is_closing(&self) -> bool {
        match self {
            Listening::Tcp(listener) => listener.is_closing(),
            Listening::Unix(listener) => listener.is_closing(),
        }
    }
}

/// Serves one listener until it is closed, or its task cancelled.
async fn accept_all(listener: Listening, shared: Rc<Shared>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok(socket) => shared.serve(socket),
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

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the server is closed; start a new one")
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sockets", &self.sockets())
            .field("paths", &self.paths())
            .field("clients", &self.clients())
            .finish()
    }
}
