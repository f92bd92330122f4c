//! The peers whose operations take their buffer along: compio, monoio, tokio-uring.

use std::{io, net::SocketAddr, time::Duration};

use super::anywhere;
use crate::{loss::scenarios::Runtime, peers};

/// What a read brought.
fn filled(count: io::Result<usize>, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    buffer.truncate(count?);
    Ok(buffer)
}

pub(in crate::loss) struct Compio;

impl Runtime for Compio {
    type Stream = compio::net::TcpStream;
    type Listener = compio::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        peers::compio::runtime(peers::compio::Ring::Default).expect("a runtime").block_on(future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        compio::runtime::spawn(future).detach();
    }

    async fn sleep(time: Duration) {
        compio::time::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        compio::time::timeout(limit, future).await.ok().transpose()
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        compio::net::TcpStream::connect(address).await
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = compio::net::TcpListener::bind(anywhere()).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let compio::BufResult(count, buffer) = compio::io::AsyncRead::read(stream, vec![0; len]).await;
        filled(count, buffer)
    }

    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let compio::BufResult(done, buffer) = compio::io::AsyncReadExt::read_exact(stream, vec![0; len]).await;
        done.map(|_| buffer)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        compio::io::AsyncWrite::write(stream, data).await.0
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        compio::io::AsyncWriteExt::write_all(stream, data).await.0
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(stream: &mut Self::Stream, limit: Duration) -> &'static str {
        match compio::time::timeout(limit, compio::io::AsyncRead::read(stream, vec![7; 64])).await {
            Ok(compio::BufResult(_, _buffer)) => "yes",
            Err(_) => "no",
        }
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = compio::runtime::spawn(body);
        Compio::sleep(Duration::from_millis(5)).await;
        let _ended = task.cancel().await;
        true
    }
}

pub(in crate::loss) struct Monoio;

impl Runtime for Monoio {
    type Stream = monoio::net::TcpStream;
    type Listener = monoio::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let builder = peers::monoio::builder(peers::monoio::Ring::Default).enable_timer();
        builder.build().expect("a runtime").block_on(future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        monoio::spawn(future);
    }

    async fn sleep(time: Duration) {
        monoio::time::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        monoio::time::timeout(limit, future).await.ok().transpose()
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        monoio::net::TcpStream::connect(address).await
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = monoio::net::TcpListener::bind(anywhere())?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let (count, buffer) = monoio::io::AsyncReadRent::read(stream, vec![0; len]).await;
        filled(count, buffer)
    }

    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let (done, buffer) = monoio::io::AsyncReadRentExt::read_exact(stream, vec![0; len]).await;
        done.map(|_| buffer)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        monoio::io::AsyncWriteRent::write(stream, data).await.0
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        monoio::io::AsyncWriteRentExt::write_all(stream, data).await.0.map(drop)
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(stream: &mut Self::Stream, limit: Duration) -> &'static str {
        match monoio::time::timeout(limit, monoio::io::AsyncReadRent::read(stream, vec![7; 64])).await {
            Ok((_, _buffer)) => "yes",
            Err(_) => "no",
        }
    }

    async fn cancel_task(_: impl Future<Output = ()> + 'static) -> bool {
        false
    }
}

pub(in crate::loss) struct TokioUring;

impl Runtime for TokioUring {
    type Stream = tokio_uring::net::TcpStream;
    type Listener = tokio_uring::net::TcpListener;

    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        tokio_uring::start(future)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        tokio_uring::spawn(future);
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        tokio::time::timeout(limit, future).await.ok().transpose()
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        tokio_uring::net::TcpStream::connect(address).await
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = tokio_uring::net::TcpListener::bind(anywhere())?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let (count, buffer) = stream.read(vec![0; len]).await;
        filled(count, buffer)
    }

    /// There is none: as its users write it.
    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < len {
            let more = TokioUring::read(stream, len - all.len()).await?;
            if more.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            all.extend(more);
        }
        Ok(all)
    }

    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize> {
        stream.write(data).submit().await.0
    }

    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()> {
        stream.write_all(data).await.0
    }

    async fn close(stream: Self::Stream) {
        drop(stream);
    }

    async fn buffer_of_a_timed_out_read(stream: &mut Self::Stream, limit: Duration) -> &'static str {
        match tokio::time::timeout(limit, stream.read(vec![7; 64])).await {
            Ok((_, _buffer)) => "yes",
            Err(_) => "no",
        }
    }

    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool {
        let task = tokio_uring::spawn(body);
        TokioUring::sleep(Duration::from_millis(5)).await;
        task.abort();
        true
    }
}
