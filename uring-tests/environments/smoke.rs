//! A little of everything that a runtime does, through the public API alone: what has to work wherever anything does.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::mpsc,
    time::Duration,
};

use ringio::{
    BufResult, Descriptor, Runner, StreamReader, StreamWriter, TcpListener, TcpStream, create_task, open_connection,
    sleep, start_server, timeout, wait_for, yield_now,
};

/// Longer than anything here takes, wherever it runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs all of it in a runtime, `rounds` times.
pub(crate) fn run(runner: &mut Runner, rounds: usize) {
    for _ in 0..rounds {
        let done = runner.run(async { timeout(PATIENCE, async |_| everything().await).await });
        done.expect("everything works, and ends");
    }
}

/// The same in a runtime of its own, with the usual settings; returns the profile it got.
pub(crate) fn works() -> &'static str {
    let mut runner = Runner::new().expect("a runtime can start here");
    let report = runner.driver_report().expect("it is not closed");
    run(&mut runner, 2);
    runner.close();
    report.profile
}

async fn everything() -> io::Result<()> {
    tasks().await?;
    streams().await?;
    owned_buffers().await?;
    cancelled_read().await?;
    pipes().await?;
    woken_from_elsewhere().await
}

/// Tasks in order, timers, a cancel.
async fn tasks() -> io::Result<()> {
    let sum = create_task(async {
        let mut sum = 0;
        for number in 0..10 {
            yield_now().await?;
            sum += number;
        }
        Ok::<_, ringio::CancelledError>(sum)
    });
    sleep(Duration::from_millis(2)).await?;
    let endless = create_task(sleep(Duration::from_secs(3600)));
    yield_now().await?;
    endless.cancel();
    assert_eq!((sum.await, endless.await), (Ok(45), Err(ringio::CancelledError)));
    Ok(())
}

/// Sends back what comes.
async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(32 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write(&data)?;
        writer.drain().await?;
    }
}

async fn client(address: SocketAddr, fill: u8) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(address).await?;
    let message = vec![fill; 300_000];
    writer.write(&message)?;
    writer.write_eof()?;
    let back = reader.readexactly(message.len()).await?;
    assert!(back == message, "wrong bytes came back");
    assert_eq!(reader.read(1).await?, "");
    writer.close();
    writer.wait_closed().await
}

/// A server and its clients, with more than the buffers of a socket hold.
async fn streams() -> io::Result<()> {
    let server = start_server(echo, "127.0.0.1:0").await?;
    let address = server.sockets()[0];
    for task in [create_task(client(address, 1)), create_task(client(address, 2))] {
        task.await?;
    }
    server.close();
    server.wait_closed().await?;
    Ok(())
}

/// A connection with owned buffers.
async fn owned_buffers() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accepting = create_task(async move { listener.accept().await });
    let mut client = TcpStream::connect(address).await?;
    let (mut server, _) = accepting.await?;
    client.write_all("owned").await.0?;
    let BufResult(count, buffer) = server.read(vec![0; 64]).await;
    assert_eq!(&buffer[..count?], b"owned");
    Ok(())
}

/// A read that times out leaves the bytes to the next one.
async fn cancelled_read() -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let (mut reader, _writer) = open_connection(listener.local_addr()?).await?;
    let (mut peer, _) = listener.accept()?;
    peer.write_all(b"abc")?;
    let short = wait_for(reader.readexactly(5), Duration::from_millis(5)).await;
    assert_eq!(short.expect_err("five bytes never came").kind(), io::ErrorKind::TimedOut);
    peer.write_all(b"de")?;
    assert_eq!(reader.readexactly(5).await?, "abcde");
    Ok(())
}

/// A pipe that is read before there is anything in it.
async fn pipes() -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (Descriptor::new(reader.into()), Descriptor::new(writer.into()));
    let reading = create_task(async move { reader.read(vec![0; 64]).await.0 });
    yield_now().await?;
    writer.write("through a pipe").await.0?;
    assert_eq!(reading.await?, 14);
    Ok(())
}

/// Another thread has something for a loop that sleeps.
async fn woken_from_elsewhere() -> io::Result<()> {
    let (start, started) = mpsc::channel();
    let (send, receive) = futures::channel::oneshot::channel();
    let thread = std::thread::spawn(move || {
        started.recv().expect("it is started");
        send.send(7).expect("somebody waits");
    });
    let waiting = create_task(async move { Ok::<_, ringio::CancelledError>(receive.await) });
    yield_now().await?;
    start.send(()).expect("the thread waits");
    assert_eq!(waiting.await?, Ok(7));
    thread.join().expect("it does not panic");
    Ok(())
}
