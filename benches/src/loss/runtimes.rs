//! How each runtime does it. Guards: each is used as its documentation says, with what it offers against loss without a
//! second way of calling everything; tokens that are passed along by hand are not in here.

mod owned;

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use super::scenarios::{Figures, Runtime, run};
pub(super) use owned::{Compio, Monoio, TokioUring};

type Run = fn(&str, usize) -> io::Result<Figures>;

pub(super) static ALL: &[(&str, Run)] = &[
    ("ringio", run::<Ringio<false>>),
    ("ringio owned", run::<Ringio<true>>),
    ("tokio", run::<Tokio>),
    ("smol", run::<Smol>),
    ("compio", run::<Compio>),
    ("monoio", run::<Monoio>),
    ("glommio", run::<Glommio>),
    ("tokio-uring", run::<TokioUring>),
];

/// An address of its own to listen at.
fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn not_offered<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A wait with a timer beside it: whoever is first.
async fn first<T>(
    future: impl Future<Output = io::Result<T>>,
    timer: impl Future<Output = ()>,
) -> io::Result<Option<T>> {
    let timer = async {
        timer.await;
        Ok(None)
    };
    futures_lite::future::or(async { future.await.map(Some) }, timer).await
}

/// ringio: buffered streams, or connections with owned buffers.
pub(super) struct Ringio<const OWNED: bool>;

pub(super) enum Connection {
    Streams(ringio::StreamReader, ringio::StreamWriter),
    Owned(ringio::TcpStream),
}

impl<const OWNED: bool> Runtime for Ringio<OWNED> {
    type Stream = Connection;
    type Listener = ringio::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        ringio::run(future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        drop(ringio::create_task(async {
            future.await;
            Ok::<_, ringio::CancelledError>(())
        }));
    }

    async fn sleep(time: Duration) {
        // Nobody here asks why it ended: a task that was cancelled goes on with its clean-up.
        let _ended = ringio::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        match ringio::wait_for(future, limit).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            other => other.map(Some),
        }
    }

    async fn connect(address: SocketAddr) -> io::Result<Connection> {
        if OWNED {
            return ringio::TcpStream::connect(address).await.map(Connection::Owned);
        }
        let (reader, writer) = ringio::open_connection(address).await?;
        Ok(Connection::Streams(reader, writer))
    }

    async fn listen() -> io::Result<(ringio::TcpListener, SocketAddr)> {
        let listener = ringio::TcpListener::bind(anywhere())?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &ringio::TcpListener) -> io::Result<Connection> {
        listener.accept().await.map(|(stream, _)| Connection::Owned(stream))
    }

    async fn read(stream: &mut Connection, len: usize) -> io::Result<Vec<u8>> {
        match stream {
            Connection::Streams(reader, _) => reader.read(len).await.map(|bytes| bytes.to_vec()),
            Connection::Owned(stream) => {
                let ringio::BufResult(count, mut buffer) = stream.read(vec![0; len]).await;
                buffer.truncate(count?);
                Ok(buffer)
            }
        }
    }

    async fn read_exactly(stream: &mut Connection, len: usize) -> io::Result<Vec<u8>> {
        match stream {
            Connection::Streams(reader, _) => Ok(reader.readexactly(len).await?.to_vec()),
            Connection::Owned(_) => not_offered(),
        }
    }

    async fn write(stream: &mut Connection, data: Vec<u8>) -> io::Result<usize> {
        match stream {
            // What is written is taken as a whole; there is nothing to count.
            Connection::Streams(..) => not_offered(),
            Connection::Owned(stream) => stream.write(data).await.0,
        }
    }

    async fn write_all(stream: &mut Connection, data: Vec<u8>) -> io::Result<()> {
        match stream {
            Connection::Streams(_, writer) => {
                writer.write_owned(data)?;
                writer.drain().await
            }
            Connection::Owned(stream) => stream.write_all(data).await.0,
        }
    }

    async fn close(stream: Connection) {
        // What became of the last bytes, the peer says.
        let _ended = match stream {
            Connection::Streams(_, mut writer) => {
                writer.close();
                writer.wait_closed().await
            }
            Connection::Owned(stream) => stream.close().await,
        };
    }

    async fn buffer_of_a_timed_out_read(stream: &mut Connection, limit: Duration) -> &'static str {
        let buffer = vec![7; 64];
        let ringio::BufResult(_, buffer) = match stream {
            Connection::Streams(reader, _) => ringio::wait_for(reader.read_into(buffer), limit).await,
            Connection::Owned(stream) => ringio::wait_for(stream.read(buffer), limit).await,
        };
        if buffer == [7; 64] { "yes" } else { "no" }
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = ringio::create_task(async {
            body.await;
            Ok::<_, ringio::CancelledError>(())
        });
        Self::sleep(Duration::from_millis(5)).await;
        task.cancel();
        true
    }
}

pub(super) struct Tokio;

impl Runtime for Tokio {
    type Stream = tokio::net::TcpStream;
    type Listener = tokio::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(future);
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        tokio::time::timeout(limit, future).await.ok().transpose()
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        tokio::net::TcpStream::connect(address).await
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = tokio::net::TcpListener::bind(anywhere()).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        let count = tokio::io::AsyncReadExt::read(stream, &mut buffer).await?;
        buffer.truncate(count);
        Ok(buffer)
    }

    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        tokio::io::AsyncReadExt::read_exact(stream, &mut buffer).await?;
        Ok(buffer)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        tokio::io::AsyncWriteExt::write(stream, &data).await
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(stream, &data).await
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(_: &mut Self::Stream, _: Duration) -> &'static str {
        "borrowed"
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = tokio::task::spawn_local(body);
        Tokio::sleep(Duration::from_millis(5)).await;
        task.abort();
        true
    }
}

pub(super) struct Smol;

thread_local! {
    static EXECUTOR: Rc<smol::LocalExecutor<'static>> = Rc::new(smol::LocalExecutor::new());
}

impl Runtime for Smol {
    type Stream = smol::net::TcpStream;
    type Listener = smol::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let executor = EXECUTOR.with(Rc::clone);
        let done = smol::block_on(executor.run(future));
        // A runtime that is dropped: its tasks with it.
        let tasks = executor.clone();
        drop(executor);
        while tasks.try_tick() {}
        done
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        EXECUTOR.with(|executor| executor.spawn(future).detach());
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        first(future, Smol::sleep(limit)).await
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        smol::net::TcpStream::connect(address).await
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = smol::net::TcpListener::bind(anywhere()).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        let count = futures_lite::AsyncReadExt::read(stream, &mut buffer).await?;
        buffer.truncate(count);
        Ok(buffer)
    }

    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        futures_lite::AsyncReadExt::read_exact(stream, &mut buffer).await?;
        Ok(buffer)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        futures_lite::AsyncWriteExt::write(stream, &data).await
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        futures_lite::AsyncWriteExt::write_all(stream, &data).await
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(_: &mut Self::Stream, _: Duration) -> &'static str {
        "borrowed"
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = EXECUTOR.with(|executor| executor.spawn(body));
        Smol::sleep(Duration::from_millis(5)).await;
        task.cancel().await;
        true
    }
}

pub(super) struct Glommio;

impl Runtime for Glommio {
    type Stream = glommio::net::TcpStream;
    type Listener = glommio::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound);
        builder.make().expect("a runtime").run(future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(future).detach();
    }

    async fn sleep(time: Duration) {
        glommio::timer::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        first(future, Glommio::sleep(limit)).await
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        glommio::net::TcpStream::connect(address).await.map_err(io::Error::from)
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = glommio::net::TcpListener::bind(anywhere()).map_err(io::Error::from)?;
        let address = listener.local_addr().map_err(io::Error::from)?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map_err(io::Error::from)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        let count = futures_lite::AsyncReadExt::read(stream, &mut buffer).await?;
        buffer.truncate(count);
        Ok(buffer)
    }

    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        futures_lite::AsyncReadExt::read_exact(stream, &mut buffer).await?;
        Ok(buffer)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        futures_lite::AsyncWriteExt::write(stream, &data).await
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        futures_lite::AsyncWriteExt::write_all(stream, &data).await
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(_: &mut Self::Stream, _: Duration) -> &'static str {
        "borrowed"
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = glommio::spawn_local(body);
        Glommio::sleep(Duration::from_millis(5)).await;
        task.cancel().await;
        true
    }
}
