//! HTTP by a crate that knows nothing of us: hyper, over tokio's I/O traits.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::rt::TokioIo;
use ringio::{
    CancelledError, IoStream, Server, StreamReader, StreamWriter, create_task, open_connection, start_server,
};

use super::{on_ring, pairs};

/// Where hyper's own tasks run.
#[derive(Clone)]
struct OnRing;

impl<F: Future + 'static> Executor<F> for OnRing {
    fn execute(&self, future: F) {
        create_task(async move {
            drop(future.await);
            Ok::<_, CancelledError>(())
        });
    }
}

/// The path, how many bytes came, and those.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(
        [path.as_bytes(), b" ", body.len().to_string().as_bytes(), b" ", &body].concat().into(),
    )))
}

fn io_of(reader: StreamReader, writer: StreamWriter) -> TokioIo<IoStream> {
    TokioIo::new(IoStream::new(reader, writer))
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}

fn bodies() -> impl Iterator<Item = Bytes> {
    [0, 1, 1000, 70_000, 300_000].into_iter().map(|len| (0..len).map(|at: u32| at as u8).collect())
}

fn expected(body: &[u8]) -> Vec<u8> {
    [b"/a/path ", body.len().to_string().as_bytes(), b" ", body].concat()
}

fn request(body: &Bytes) -> Request<Full<Bytes>> {
    Request::post("http://localhost/a/path").body(Full::new(body.clone())).unwrap()
}

#[test]
fn hyper_serves_and_fetches_over_streams() {
    // SW9, SR1; lessons 33: one connection for all of them, kept alive.
    on_ring(async || {
        let serve = async |reader: StreamReader, writer: StreamWriter| {
            let connection = hyper::server::conn::http1::Builder::new();
            connection.serve_connection(io_of(reader, writer), service_fn(answer)).await.map_err(other)
        };
        let server: Server = start_server(serve, "127.0.0.1:0").await.unwrap();
        let (reader, writer) = open_connection(pairs::address(&server)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io_of(reader, writer)).await.unwrap();
        let connection = create_task(async { connection.await.map_err(other) });
        for body in bodies() {
            let response = sender.send_request(request(&body)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.into_body().collect().await.unwrap().to_bytes() == expected(&body));
        }
        drop(sender);
        connection.await.unwrap();
        server.close();
        server.wait_closed().await.unwrap();
    });
}

#[test]
fn hyper_multiplexes_over_one_stream() {
    // SW9, SR10: HTTP/2, all requests at once; its flow control stands on drops and wakes of its own.
    on_ring(async || {
        let serve = async |reader: StreamReader, writer: StreamWriter| {
            let connection = hyper::server::conn::http2::Builder::new(OnRing);
            connection.serve_connection(io_of(reader, writer), service_fn(answer)).await.map_err(other)
        };
        let server: Server = start_server(serve, "127.0.0.1:0").await.unwrap();
        let (reader, writer) = open_connection(pairs::address(&server)).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(OnRing, io_of(reader, writer));
        let (sender, connection) = handshake.await.unwrap();
        let connection = create_task(async { connection.await.map_err(other) });
        let fetch = |body: Bytes| {
            let mut sender = sender.clone();
            async move {
                let response = sender.send_request(request(&body)).await.unwrap();
                let answer = response.into_body().collect().await.unwrap().to_bytes();
                assert!(answer == expected(&body));
                Ok::<_, Infallible>(())
            }
        };
        let fetched = futures::future::try_join_all(bodies().chain(bodies()).map(fetch)).await;
        fetched.unwrap();
        drop(sender);
        connection.await.unwrap();
        server.close();
        server.wait_closed().await.unwrap();
    });
}
