//! Encrypted streams, by rustls. Its session stands between a stream and its socket (`op/layer.rs`): what arrives is
//! decrypted when somebody reads, what is written is encrypted at once and queued. There is no task in between, and what
//! is not read is not received either.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};

use super::{
    OpenConnection, OpenUnixConnection, StartServer, StartUnixServer, StreamReader, StreamWriter,
    connection::{Secure, Target},
};
use crate::{
    executor::{ErrorReport, ReportKind, context, wait},
    op::{Kind, Layer, Segment, Socket},
    task::wait_for,
};

/// How a connection is encrypted: one side of TLS, and its time limits.
///
/// The configurations are rustls's, with its defaults: TLS 1.2 and 1.3, and certificates are verified. What is to be
/// trusted, ALPN, and client certificates are set there.
///
/// ```no_run
/// # use std::sync::Arc;
/// # async fn example(roots: rustls::RootCertStore) -> std::io::Result<()> {
/// let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
/// let tls = ringio::Tls::client(Arc::new(config));
/// let (mut reader, mut writer) = ringio::open_connection("example.org:443").tls(tls).await?;
/// writer.write(b"GET / HTTP/1.0\r\n\r\n")?;
/// let page = reader.read_to_end().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[doc(alias = "ssl.SSLContext")]
pub struct Tls {
    side: Side,
    handshake: Duration,
    shutdown: Duration,
}

#[derive(Clone)]
enum Side {
    Client { config: Arc<ClientConfig>, name: Option<String> },
    Server { config: Arc<ServerConfig> },
}

/// asyncio's limits for the handshake, and for a close that waits for the peer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

impl Tls {
    /// The side that connects. The peer's certificate has to be for the host that was connected to, unless
    /// [`server_hostname`](Tls::server_hostname) says another.
    pub fn client(config: Arc<ClientConfig>) -> Tls {
        Tls { side: Side::Client { config, name: None }, handshake: HANDSHAKE_MAX, shutdown: SHUTDOWN_MAX }
    }

    /// The side that is connected to.
    pub fn server(config: Arc<ServerConfig>) -> Tls {
        Tls { side: Side::Server { config }, handshake: HANDSHAKE_MAX, shutdown: SHUTDOWN_MAX }
    }

    /// The name the peer's certificate has to be for, and the one that it is asked for (SNI). It says nothing on the side of
    /// a server.
    pub fn server_hostname(mut self, host: impl Into<String>) -> Tls {
        if let Side::Client { name, .. } = &mut self.side {
            *name = Some(host.into());
        }
        self
    }

    /// How long the handshake may take; a minute unless set.
    #[doc(alias = "ssl_handshake_timeout")]
    pub fn handshake_timeout(mut self, limit: Duration) -> Tls {
        self.handshake = limit;
        self
    }

    /// How long a close may take before what is still queued is given up; half a minute unless set.
    #[doc(alias = "ssl_shutdown_timeout")]
    pub fn shutdown_timeout(mut self, limit: Duration) -> Tls {
        self.shutdown = limit;
        self
    }

    /// OC7.
    fn or_hostname(mut self, host: Option<String>) -> Tls {
        if let Side::Client { name, .. } = &mut self.side
            && name.is_none()
        {
            *name = host;
        }
        self
    }

    fn session(&self) -> io::Result<Connection> {
        Ok(match &self.side {
            Side::Client { config, name } => {
                let name = name.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| {
                    let text = "there is no host to verify; call Tls::server_hostname(..), or configure a verifier of your own";
                    io::Error::new(io::ErrorKind::InvalidInput, text)
                })?;
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no host name")))?;
                ClientConnection::new(config.clone(), name).map_err(invalid)?.into()
            }
            Side::Server { config } => ServerConnection::new(config.clone()).map_err(invalid)?.into(),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client { .. } => "client",
            Side::Server { .. } => "server",
        };
        f.debug_struct("Tls")
            .field("side", &side)
            .field("handshake", &self.handshake)
            .field("shutdown", &self.shutdown)
            .finish()
    }
}

impl OpenConnection {
    /// Encrypts the connection. The host that is connected to is the one whose certificate is asked for, unless
    /// [`Tls::server_hostname`] says another.
    pub fn tls(mut self, tls: Tls) -> OpenConnection {
        let host = match &self.target {
            Target::Addresses(addresses, _) => addresses.host(),
            Target::Descriptor(_) => None,
        };
        let tls = tls.or_hostname(host);
        self.secure = Some(secure(tls));
        self
    }
}

impl OpenUnixConnection {
    /// Encrypts the connection. A path is no host: say whose certificate it has to be with [`Tls::server_hostname`].
    pub fn tls(mut self, tls: Tls) -> OpenUnixConnection {
        self.secure = Some(secure(tls));
        self
    }
}

impl StartServer {
    /// Encrypts every connection; the handler is called when that is agreed on. A handshake that fails goes to the runtime's
    /// error handler.
    pub fn tls(mut self, tls: Tls) -> StartServer {
        self.settings.secure = Some(secure(tls));
        self
    }
}

impl StartUnixServer {
    /// As [`StartServer::tls`].
    pub fn tls(mut self, tls: Tls) -> StartUnixServer {
        self.settings.secure = Some(secure(tls));
        self
    }
}

fn secure(tls: Tls) -> Secure {
    Rc::new(move |reader: StreamReader, mut writer: StreamWriter| {
        let tls = tls.clone();
        Box::pin(async move {
            let is_server = matches!(tls.side, Side::Server { .. });
            // Afterwards it may be gone.
            let peer = writer.peer_addr();
            let started = writer.start_tls(tls).await;
            if let Err(error) = &started
                && is_server
                && crate::error::cancelled(error).is_none()
            {
                let peer = peer.map_or_else(|_| "a peer".into(), |peer| peer.to_string());
                let message = format!("the TLS handshake with {peer} failed: {error}");
                let report = ErrorReport { kind: ReportKind::HandshakeFailed, task: None, spawned_at: None, message };
                context::with(|runtime| runtime.report(&report));
            }
            started.map(|()| (reader, writer))
        })
    })
}

impl StreamWriter {
    /// Encrypts a connection that is in use: waits until what was written is sent, then agrees with the peer; reader and
    /// writer go on. What has arrived and was not read counts as the peer's side of that.
    ///
    /// # Errors
    /// Why the peer and this side do not agree, with what rustls says inside; [`TimeoutError`](crate::TimeoutError) when it
    /// takes too long; a client without a host to verify; a connection that is encrypted already, or read from by another
    /// task. A connection whose handshake failed is closed.
    ///
    /// # Cancellation
    /// **Effect unknown**: the connection is closed, because nobody could tell how far the handshake came.
    #[doc(alias = "asyncio.StreamWriter.start_tls")]
    pub async fn start_tls(&mut self, tls: Tls) -> io::Result<()> {
        let socket = self.socket().clone();
        if socket.layer().is_some() || socket.kind() != Kind::Connection || socket.has_reader() {
            let text = "start_tls() needs a connection that is not encrypted yet and that no task reads from";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let port = context::with(|runtime| runtime.port.clone());
        let layer = Encryption::new(tls.session()?, Socket::of_kind(&port, None, Kind::Memory), tls.shutdown);
        let mut handshake = Handshake { socket: &socket, layer: Some(layer), done: false };
        let agreed = async {
            self.flush().await?;
            match &handshake.layer {
                Some(layer) => layer.shake_hands(&socket).await,
                None => Ok(()),
            }
        };
        wait_for(agreed, tls.handshake).await?;
        handshake.done = true;
        Ok(())
    }
}

/// However it ends, also when its future is dropped, the socket has the layer from then on: nobody reads the bytes of a
/// handshake as if they were data.
struct Handshake<'a> {
    socket: &'a Rc<Socket>,
    layer: Option<Encryption>,
    done: bool,
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let Some(layer) = self.layer.take() else { return };
        if !self.done {
            layer.give_up();
        }
        self.socket.set_layer(Box::new(layer));
        if !self.done {
            self.socket.close();
            // An alert may be on its way; a peer that does not take it is not waited for.
            self.socket.abort_in(Duration::from_secs(1));
        }
    }
}

/// The session of one connection.
struct Encryption {
    session: RefCell<Connection>,
    inside: Rc<Socket>,
    /// Why nothing can be decrypted any more, where the stream did not end well.
    failure: RefCell<Option<Failure>>,
    shutdown: Duration,
    closed: Cell<bool>,
}

#[derive(Clone)]
enum Failure {
    Session(rustls::Error),
    Connection(io::ErrorKind, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connection(error.kind(), error.to_string())
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Session(error) => invalid(error),
            Failure::Connection(kind, text) => io::Error::new(kind, text),
        }
    }
}

/// Decrypted at a time.
const PIECE_BYTES: usize = 16 * 1024;

impl Encryption {
    fn new(session: Connection, inside: Rc<Socket>, shutdown: Duration) -> Encryption {
        let mut session = session;
        // The socket's queue has the marks and the limits.
        session.set_buffer_limit(None);
        Encryption { session: session.into(), inside, failure: RefCell::new(None), shutdown, closed: Cell::new(false) }
    }

    async fn shake_hands(&self, outside: &Rc<Socket>) -> io::Result<()> {
        loop {
            self.send(outside)?;
            if !self.session.borrow().is_handshaking() {
                return Ok(());
            }
            wait(|cx| outside.poll_more_than(0, cx.waker())).await?;
            if outside.buffered() == 0 {
                outside.end_of_stream()?;
                let text = "the peer closed the connection in the TLS handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            self.receive(outside);
            self.failed()?;
        }
    }

    /// Decrypts all that has arrived, and puts it where its reader finds it.
    fn receive(&self, outside: &Rc<Socket>) {
        while outside.buffered() > 0 && self.failure.borrow().is_none() && !self.inside.has_ended() {
            let data = outside.take(usize::MAX);
            let decrypted = self.decrypt(&data);
            // Nothing is borrowed any more: this wakes the reader.
            match decrypted {
                Ok((pieces, ended)) => {
                    pieces.into_iter().for_each(|piece| self.inside.feed(piece));
                    if ended {
                        self.inside.feed_end(None);
                    }
                }
                Err(failure) => self.fail(failure),
            }
        }
        // Answers of the session itself: alerts, new keys. If they cannot be sent, the next write says so.
        let _ = self.send(outside);
    }

    fn decrypt(&self, mut data: &[u8]) -> Result<(Vec<Bytes>, bool), Failure> {
        let mut session = self.session.borrow_mut();
        let (mut pieces, mut ended) = (Vec::new(), false);
        while !data.is_empty() {
            session.read_tls(&mut data)?;
            let state = session.process_new_packets().map_err(Failure::Session)?;
            ended |= state.peer_has_closed();
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut piece = vec![0; left.min(PIECE_BYTES)];
                io::Read::read_exact(&mut session.reader(), &mut piece)?;
                left -= piece.len();
                pieces.push(piece.into());
            }
            if ended {
                break; // What comes behind the peer's close is none of the stream's.
            }
        }
        Ok((pieces, ended))
    }

    fn fail(&self, failure: Failure) {
        *self.failure.borrow_mut() = Some(failure);
        self.inside.feed_end(None);
    }

    /// The handshake did not come to its end: there will be no data, and no good end.
    fn give_up(&self) {
        self.closed.set(true);
        if self.failure.borrow().is_none() {
            let text = "the TLS handshake did not come to its end, so the connection was closed; open a new one";
            self.fail(Failure::Connection(io::ErrorKind::ConnectionAborted, text.into()));
        }
    }

    fn failed(&self) -> io::Result<()> {
        match &*self.failure.borrow() {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    /// Hands what the session has to send to the socket.
    fn send(&self, outside: &Rc<Socket>) -> io::Result<()> {
        let mut records = Vec::new();
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            session.write_tls(&mut records)?;
        }
        drop(session);
        outside.write(Segment::Shared(records.into()))
    }
}

impl Layer for Encryption {
    fn inside(&self) -> &Rc<Socket> {
        &self.inside
    }

    fn poll_more_than(&self, outside: &Rc<Socket>, have: usize, waker: &Waker) -> Poll<()> {
        while self.inside.buffered() <= have && !self.inside.has_ended() && !outside.is_closing() {
            ready!(outside.poll_more_than(0, waker));
            if outside.buffered() > 0 {
                self.receive(outside);
                continue;
            }
            match outside.end_of_stream() {
                Ok(()) if outside.is_closing() => {}
                Ok(()) => {
                    let text = "the peer closed the connection without ending the TLS stream; data may be missing";
                    self.fail(Failure::Connection(io::ErrorKind::UnexpectedEof, text.into()));
                }
                Err(error) => self.fail(error.into()),
            }
        }
        Poll::Ready(())
    }

    fn end_of_stream(&self) -> io::Result<()> {
        self.failed()
    }

    fn write(&self, outside: &Rc<Socket>, bytes: &[u8]) -> io::Result<()> {
        outside.check_writable()?;
        if !bytes.is_empty() {
            io::Write::write_all(&mut self.session.borrow_mut().writer(), bytes)?;
            self.send(outside)?;
        }
        Ok(())
    }

    fn close(&self, outside: &Rc<Socket>) {
        if !self.closed.replace(true) {
            self.session.borrow_mut().send_close_notify();
            // It fails for a connection that is lost, to which nothing can be said.
            let _ = self.send(outside);
            outside.abort_in(self.shutdown);
        }
    }

    fn describe(&self, what: &str) -> Option<String> {
        let session = self.session.borrow();
        Some(match what {
            "cipher" => format!("{:?}", session.negotiated_cipher_suite()?.suite()),
            "version" => format!("{:?}", session.protocol_version()?),
            "alpn" => String::from_utf8_lossy(session.alpn_protocol()?).into_owned(),
            "server_hostname" => match &*session {
                Connection::Server(server) => server.server_name()?.to_owned(),
                Connection::Client(_) => return None,
            },
            _ => return None,
        })
    }

    fn certificates(&self) -> Vec<Vec<u8>> {
        let session = self.session.borrow();
        session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
