//! Futures that are forgotten: their destructors never run, and nothing breaks. What a forgotten future holds is lost; what
//! the runtime holds for it is not.

use std::{io, mem::forget, pin::Pin, time::Duration};

use ringio::{BufResult, CancelledError, TcpListener, create_task, internals};

use super::{Reports, forever, in_time, leaf::begin, pairs, turns};
use crate::support::{
    alone,
    process::{assert_descriptors, descriptors},
};

/// Starts a future on the heap and forgets it.
async fn start_and_forget<F: Future>(future: F) {
    let mut future = Box::pin(future);
    begin(future.as_mut()).await;
    forget(future);
}

/// Runs `main`, which forgets things, then closes: nothing may be reported but `leaked`.
fn closes(main: impl AsyncFnOnce() + Send + 'static) {
    in_time(move || {
        let reports = Reports::default();
        let mut runner = reports.builder().shutdown_timeout(Duration::from_secs(5)).build().unwrap();
        runner.run(async {
            main().await;
            turns(3).await;
        });
        runner.close();
        assert_eq!(reports.texts(), [""; 0]);
        // The thread is free for another one.
        ringio::run(turns(2));
    });
}

#[test]
fn sleep_and_yield() {
    closes(async || {
        for _ in 0..10 {
            start_and_forget(forever()).await;
            start_and_forget(ringio::sleep(Duration::from_micros(1))).await;
            start_and_forget(ringio::yield_now()).await;
        }
    });
}

#[test]
fn task_handle() {
    closes(async || {
        let task = create_task(async { Ok::<_, CancelledError>(String::from("never taken")) });
        forget(task);
        let awaited = create_task(forever());
        start_and_forget(awaited).await;
    });
}

#[test]
fn timeout_and_wait_for() {
    closes(async || {
        start_and_forget(ringio::timeout(Duration::from_micros(1), async |_| io::Result::Ok(forever().await?))).await;
        start_and_forget(ringio::wait_for(async { io::Result::Ok(forever().await?) }, Duration::from_secs(9))).await;
        ringio::sleep(Duration::from_millis(1)).await.unwrap();
    });
}

#[test]
fn operations_of_a_pipe() {
    closes(async || {
        let (reader, writer) = pairs::pipe();
        start_and_forget(async move {
            let BufResult(read, buffer) = reader.read(vec![0; 64]).await;
            (read.is_ok(), buffer)
        })
        .await;
        writer.write("into nobody's buffer").await.0.unwrap();
        turns(3).await;
        start_and_forget(async move { writer.write(vec![1; 1 << 20]).await.0.is_ok() }).await;
    });
}

#[test]
fn reads_and_writes_of_a_connection() {
    closes(async || {
        let (mut here, mut there) = pairs::sockets().await;
        start_and_forget(async move { here.read(vec![0; 64]).await.0.is_ok() }).await;
        there.write_all("into nobody's buffer").await.0.unwrap();
        let (mut here, there) = pairs::sockets().await;
        start_and_forget(async move { here.write_all(vec![1; 8 << 20]).await.0.is_ok() }).await;
        forget(there);
        let ((mut reader, writer), far) = pairs::streams(64).await;
        start_and_forget(async move { reader.readline().await.is_ok() }).await;
        forget((writer, far));
    });
}

#[test]
fn drain_of_a_full_connection() {
    closes(async || {
        let ((_reader, mut writer), (_far_reader, _far)) = pairs::streams(64).await;
        writer.write_owned(vec![1; 8 << 20]).unwrap();
        start_and_forget(async move { writer.drain().await.is_ok() }).await;
    });
}

#[test]
fn accept_and_connect() {
    closes(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = listener.clone();
        start_and_forget(async move { accepting.accept().await.is_ok() }).await;
        start_and_forget(async move { ringio::TcpStream::connect(address).await.is_ok() }).await;
        start_and_forget(async move { ringio::open_connection(address).await.is_ok() }).await;
        turns(3).await;
        let served = ringio::start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        start_and_forget(async move { served.serve_forever().await.is_ok() }).await;
    });
}

#[test]
fn main_itself() {
    // A main that is cancelled by nobody and holds what it started when it returns.
    closes(async || {
        let mut sleep = Box::pin(forever());
        begin(Pin::new(&mut sleep)).await;
        forget(sleep);
        let (reader, _writer) = pairs::pipe();
        let mut read = Box::pin(async move { reader.read(vec![0; 8]).await.0.is_ok() });
        begin(read.as_mut()).await;
        drop(read);
    });
}

#[test]
fn descriptors_of_forgotten_operations_are_closed_with_the_runtime() {
    alone(&descriptors_of_forgotten_operations_are_closed_with_the_runtime, || {
        ringio::run(turns(1));
        let before = descriptors();
        for _ in 0..5 {
            ringio::run(async {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                // The future is forgotten, the connection it was about is the runtime's.
                start_and_forget(ringio::TcpStream::connect(address)).await;
                let (stream, _) = listener.accept().await.unwrap();
                drop(stream);
                start_and_forget(forever()).await;
                drop(create_task(forever()));
                assert!(internals::counts().operations > 0);
            });
        }
        assert_descriptors(&before);
    });
}
