//! What programs do, in small, with chance in it. Each checks what it gets, and lets nothing run on.

use std::{cell::Cell, io, net::SocketAddr, pin::Pin, rc::Rc, time::Duration};

use futures::future::join_all;
use ringio::{
    CancelledError, Runner, StreamReader, StreamWriter, TcpListener, create_task, open_connection, sleep, start_server,
    wait_for, yield_now,
};

use crate::support::{PATIENCE, Rng, wire};

type Seeds = Rc<Cell<u64>>;
type Workload = fn(Seeds) -> Pin<Box<dyn Future<Output = ()>>>;

pub(super) const WORKLOADS: [(&str, Workload); 6] = [
    ("echo", |seeds| Box::pin(echo(seeds))),
    ("requests with timeouts", |seeds| Box::pin(requests(seeds))),
    ("proxy", |seeds| Box::pin(proxy(seeds))),
    ("cancel storm", |seeds| Box::pin(cancel_storm(seeds))),
    ("flood and quiet clients", |seeds| Box::pin(flood(seeds))),
    ("runtimes", |seeds| Box::pin(runtimes(seeds))),
];

const CLIENTS: usize = 12;

async fn send_back(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(64 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

/// Says something and wants it back; sometimes leaves in the middle.
async fn say(address: SocketAddr, seeds: Seeds) -> io::Result<()> {
    let mut rng = Rng::from(&seeds);
    let (mut reader, mut writer) = open_connection(address).await?;
    for _ in 0..rng.below(6) {
        let most = if rng.below(8) == 0 { 300_000 } else { 2000 };
        let message = rng.chunk(most);
        writer.write(&message)?;
        writer.drain().await?;
        if rng.below(12) == 0 {
            return Ok(());
        }
        assert!(reader.readexactly(message.len()).await? == message, "wrong bytes came back");
    }
    writer.write_eof()?;
    assert_eq!(reader.read(1).await?, "");
    Ok(())
}

async fn echo(seeds: Seeds) {
    let server = start_server(send_back, "127.0.0.1:0").backlog(100).await.unwrap();
    let address = server.sockets()[0];
    let clients = (0..CLIENTS).map(|_| create_task(say(address, seeds.clone())));
    for ended in join_all(clients).await {
        ended.expect("a client that ends well");
    }
    server.close();
    server.wait_closed().await.unwrap();
}

async fn answer_late(mut reader: StreamReader, mut writer: StreamWriter, seeds: Seeds) -> io::Result<()> {
    loop {
        let request = reader.readline().await?;
        if request.is_empty() {
            return Ok(());
        }
        let delay = Rng::from(&seeds).micros(800);
        sleep(delay).await?;
        writer.write(&request)?;
    }
}

/// A server that takes its time; clients that do not, and find the late answer by their next try.
async fn requests(seeds: Seeds) {
    let chance = seeds.clone();
    let answer = move |reader, writer| answer_late(reader, writer, chance.clone());
    let server = start_server(answer, "127.0.0.1:0").await.unwrap();
    let address = server.sockets()[0];
    let clients = (0..CLIENTS).map(|client| {
        let seeds = seeds.clone();
        create_task(async move {
            let (mut reader, mut writer) = open_connection(address).await?;
            for number in 0..5 {
                let request = format!("{client} {number}\n");
                writer.write(request.as_bytes())?;
                let mut limit = Rng::from(&seeds).micros(900);
                let answer = loop {
                    match wait_for(reader.readline(), limit).await {
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                            limit = limit * 2 + Duration::from_micros(10)
                        }
                        answer => break answer?,
                    }
                };
                assert_eq!(answer, request);
            }
            io::Result::Ok(())
        })
    });
    for ended in join_all(clients).await {
        ended.expect("every request is answered");
    }
    server.close();
    server.wait_closed().await.unwrap();
}

async fn pump(mut from: StreamReader, mut to: StreamWriter) -> io::Result<()> {
    loop {
        let data = from.read(32 * 1024).await?;
        if data.is_empty() {
            return to.write_eof();
        }
        to.write_owned(data)?;
        to.drain().await?;
    }
}

async fn forward(reader: StreamReader, writer: StreamWriter, behind: SocketAddr) -> io::Result<()> {
    let (there, back) = open_connection(behind).await?;
    let up = create_task(pump(reader, back));
    // What comes of either way ends the other.
    let _down = pump(there, writer).await;
    up.cancel();
    let _up = up.await;
    Ok(())
}

async fn proxy(seeds: Seeds) {
    let server = start_server(send_back, "127.0.0.1:0").await.unwrap();
    let behind = server.sockets()[0];
    let forward = move |reader, writer| forward(reader, writer, behind);
    let front = start_server(forward, "127.0.0.1:0").await.unwrap();
    let address = front.sockets()[0];
    for ended in join_all((0..CLIENTS).map(|_| create_task(say(address, seeds.clone())))).await {
        ended.expect("a client that ends well");
    }
    for server in [front, server] {
        server.close();
        server.wait_closed().await.unwrap();
    }
}

/// Waits of every kind, each cancelled at some moment.
async fn cancel_storm(seeds: Seeds) {
    let mut rng = Rng::from(&seeds);
    let (mut kept, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (input, pipe) = wire::pipe();
        tasks.push(create_task(async move { input.read(vec![0; 64]).await.0.map(drop) }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tasks.push(create_task(async move { listener.accept().await.map(drop) }));
        tasks.push(create_task(async move {
            let (mut reader, _writer) = open_connection(address).await?;
            reader.readexactly(10).await.map(drop)
        }));
        tasks.push(create_task(async { sleep(Duration::from_secs(3600)).await.map_err(io::Error::from) }));
        kept.push(pipe);
    }
    while !tasks.is_empty() {
        let task = tasks.swap_remove(rng.below(tasks.len()));
        if rng.below(3) == 0 {
            yield_now().await.unwrap();
        }
        task.cancel();
        if rng.below(2) == 0
            && let Err(error) = task.await
        {
            // The peer's end is the other thing that may have happened to it.
            assert!(ringio::cancelled(&error).is_some() || error.kind() != io::ErrorKind::TimedOut, "{error}");
        }
    }
    drop(kept);
    // Those that nobody awaited end as well.
    crate::support::until("no task is left", || ringio::all_tasks().len() <= 1).await;
}

/// One client sends and never reads; the others are served all the same.
async fn flood(seeds: Seeds) {
    let server = start_server(send_back, "127.0.0.1:0").backlog(100).await.unwrap();
    let address = server.sockets()[0];
    let flooder = create_task(async move {
        let (_reader, mut writer) = open_connection(address).await?;
        let ended = loop {
            writer.write(&[0x55; 16 * 1024])?;
            if let Err(error) = writer.drain().await {
                break error;
            }
        };
        // Nobody reads on either side: what is queued would be waited for for ever.
        writer.abort();
        Err::<(), _>(ended)
    });
    yield_now().await.unwrap();
    let quiet = (0..CLIENTS).map(|_| create_task(say(address, seeds.clone())));
    for ended in wait_for(async { io::Result::Ok(join_all(quiet).await) }, PATIENCE).await.expect("they are served") {
        ended.expect("a client that ends well");
    }
    flooder.cancel();
    let _ended = flooder.await;
    server.close();
    server.wait_closed().await.unwrap();
}

/// Runtimes on other threads, dropped with everything in flight.
async fn runtimes(_: Seeds) {
    let thread = std::thread::spawn(|| {
        let mut runner = Runner::builder()
            .handle_ctrl_c(false)
            .shutdown_timeout(Duration::ZERO)
            .error_handler(|_| ())
            .build()
            .unwrap();
        let mut kept = Vec::new();
        let reports = runner.run(async {
            for _ in 0..CLIENTS {
                let (input, pipe) = wire::pipe();
                create_task(async move { input.read(vec![0; 64]).await.0.map(drop) });
                let (mut reader, _writer, peer) = wire::stream_pair().await;
                create_task(async move { reader.read(64).await.map(drop) });
                kept.push((pipe, peer));
            }
            yield_now().await
        });
        assert_eq!(reports, Ok::<_, CancelledError>(()));
        drop(runner);
    });
    crate::support::until("the other runtime has ended", || thread.is_finished()).await;
    thread.join().unwrap();
}
