//! Cancel storms: every wait is cancelled, timed out or dropped at a random moment, and taken up again. No byte and no
//! connection may be lost, and what a cancelled write says of itself has to be true.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::{Either, select};
use ringio::{
    AnyTask, BufResult, Descriptor, StreamReader, TcpListener, TcpStream, cancelled, create_task, current_task, sleep,
    testing, wait_for,
};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

/// Cancels a task now and then, until it has ended.
fn pester(victim: AnyTask, mut rng: Rng) {
    create_task(async move {
        while !victim.done() {
            sleep(rng.micros(3000)).await?;
            victim.cancel();
        }
        io::Result::Ok(())
    });
}

/// Whether it was a cancel or a timeout, after which the same is tried again.
fn again(error: &io::Error) -> bool {
    if cancelled(error).is_some() {
        current_task().expect("inside of a task").uncancel();
        return true;
    }
    error.kind() == io::ErrorKind::TimedOut
}

/// Awaits, times out, or drops in the middle.
async fn roughly<T>(rng: &mut Rng, wait: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let patience = rng.micros(2000);
    if rng.below(2) == 0 {
        return wait_for(wait, patience).await;
    }
    match select(pin!(wait), pin!(sleep(patience))).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn read_roughly(mut reader: StreamReader, mut rng: Rng) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let n = 1 + rng.below(300);
        let read: io::Result<Bytes> = match rng.below(3) {
            0 => roughly(&mut rng, reader.read(n)).await,
            1 => roughly(&mut rng, reader.readline()).await,
            _ => match roughly(&mut rng, reader.readexactly(n)).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => reader_rest(&error),
                other => other,
            },
        };
        match read {
            Ok(bytes) if bytes.is_empty() => return Ok(all),
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What had come of a `readexactly` when the stream ended.
fn reader_rest(error: &io::Error) -> io::Result<Bytes> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ringio::IncompleteReadError>());
    Ok(inner.expect("the error of readexactly").partial.clone())
}

fn reading(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent = rng.chunk(run.bytes_max() * run.some_steps().min(20));
        let (reader, writer) = ringio::open_connection(address).await.unwrap();
        let accepted = match wait_for(listener.accept(), PATIENCE).await {
            Ok((stream, _)) => Some(stream),
            // Gone before it was accepted: the reset will be told to the reader.
            Err(error) if !run.may_reset() => panic!("{error}"),
            Err(_) => None,
        };
        let seeds = Cell::new(rng.next());
        let task = create_task(read_roughly(reader, Rng::from(&seeds)));
        pester(task.to_any(), Rng::from(&seeds));
        if let Some(mut stream) = accepted {
            for piece in sent.chunks(1 + rng.below(500)) {
                if stream.write_all(piece.to_vec()).await.0.is_err() {
                    break;
                }
                sleep(rng.micros(500)).await.unwrap();
            }
            let _ = stream.close().await;
        }
        match task.await {
            Ok(read) => assert!(read == sent || run.may_reset() && sent.starts_with(&read), "bytes differ"),
            Err(error) => assert!(run.may_reset(), "{error}"),
        }
        drop(writer);
    });
}

#[test]
fn cancelled_reads_lose_no_byte() {
    gauntlet("cancelled_reads_lose_no_byte", &[1_795_385_828_289_507_416], reading);
}

/// Writes with owned buffers, and counts what each write says.
async fn write_roughly(mut stream: TcpStream, mut rng: Rng, steps: usize, most: usize) -> (Vec<u8>, io::Result<()>) {
    let mut said = Vec::new();
    for _ in 0..steps {
        let data = rng.chunk(most);
        let BufResult(result, buffer) = wait_for(stream.write(data), rng.micros(2000)).await;
        match result {
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if again(&error) => {}
            Err(error) => return (said, Err(error)),
        }
    }
    if let Err(error) = stream.write_eof() {
        return (said, Err(error));
    }
    let mut rest = Vec::with_capacity(10);
    loop {
        let BufResult(result, buffer) = stream.read(rest).await;
        rest = buffer;
        match result {
            Ok(_) => return (said, Ok(())),
            Err(error) if again(&error) => {}
            Err(error) => return (said, Err(error)),
        }
    }
}

fn writing(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let seeds = Cell::new(rng.next());
        let most = run.bytes_max();
        let task = create_task({
            let rng = Rng::from(&seeds);
            async move { io::Result::Ok(write_roughly(client, rng, run.some_steps(), most).await) }
        });
        pester(task.to_any(), Rng::from(&seeds));
        let mut read = Vec::new();
        if let Ok(Ok((mut stream, _))) = wait_for(async { io::Result::Ok(listener.accept().await) }, PATIENCE).await {
            let mut buffer = Vec::with_capacity(1 + rng.below(1000));
            loop {
                let BufResult(result, back) = stream.read(buffer).await;
                buffer = back;
                match result {
                    Ok(0) => break,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                    Err(error) => break assert!(run.may_reset(), "{error}"),
                }
                sleep(rng.micros(1000)).await.unwrap();
            }
        }
        let (said, ended) = task.await.unwrap();
        assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
        assert!(read == said || run.may_reset() && said.starts_with(&read), "{} said, {} read", said.len(), read.len());
    });
}

const PATIENCE: Duration = Duration::from_secs(100);

#[test]
fn cancelled_writes_say_what_was_sent() {
    gauntlet("cancelled_writes_say_what_was_sent", &[], writing);
}

/// Says hello to whoever connects, and cannot wait for long.
async fn greet(listener: TcpListener, mut rng: Rng, done: Rc<Cell<bool>>) -> io::Result<()> {
    while !done.get() {
        match roughly(&mut rng, listener.accept()).await {
            Ok((mut stream, _)) => {
                create_task(async move {
                    let _ = stream.write_all(b"hello".to_vec()).await.0;
                    let _ = stream.close().await;
                });
            }
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn visit(address: SocketAddr, mut rng: Rng) -> io::Result<Vec<u8>> {
    let mut stream = loop {
        sleep(rng.micros(1000)).await?;
        match roughly(&mut rng, TcpStream::connect(address)).await {
            Ok(stream) => break stream,
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
    };
    let mut heard = Vec::new();
    loop {
        let BufResult(result, buffer) = stream.read(Vec::with_capacity(8)).await;
        match result {
            Ok(0) => return Ok(heard),
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error),
        }
    }
}

fn accepting(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let done = Rc::new(Cell::new(false));
        let seeds = Cell::new(rng.next());
        let greeter = create_task(greet(listener, Rng::from(&seeds), done.clone()));
        pester(greeter.to_any(), Rng::from(&seeds));
        let visitors: Vec<_> = (0..run.some_steps()).map(|_| create_task(visit(address, Rng::from(&seeds)))).collect();
        for visitor in visitors {
            match visitor.await {
                Ok(heard) => assert!(heard == b"hello" || run.may_reset(), "heard {heard:?}"),
                Err(error) => assert!(run.may_reset(), "{error}"),
            }
        }
        done.set(true);
        greeter.await.unwrap();
    });
}

#[test]
fn cancelled_accepts_and_connects_lose_no_connection() {
    gauntlet("cancelled_accepts_and_connects_lose_no_connection", &[1_795_385_797_750_638_417], accepting);
}

async fn read_pipe_roughly(reader: Descriptor, mut rng: Rng) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let buffer = Vec::with_capacity(1 + rng.below(200));
        let read = async {
            let BufResult(result, buffer) = reader.read(buffer).await;
            result.map(|count| buffer[..count].to_vec())
        };
        match roughly(&mut rng, read).await {
            Ok(bytes) if bytes.is_empty() => return Ok(all),
            Ok(bytes) => all.extend(bytes),
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn pipes(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let (reader, writer) = testing::pipe().unwrap();
        let seeds = Cell::new(rng.next());
        let task = create_task(read_pipe_roughly(reader, Rng::from(&seeds)));
        pester(task.to_any(), Rng::from(&seeds));
        let said = RefCell::new(Vec::new());
        for _ in 0..run.some_steps() {
            let BufResult(result, buffer) = wait_for(writer.write(rng.chunk(run.bytes_max())), rng.micros(2000)).await;
            match result {
                Ok(count) => said.borrow_mut().extend_from_slice(&buffer[..count]),
                Err(error) => assert!(error.kind() == io::ErrorKind::TimedOut, "{error}"),
            }
        }
        drop(writer);
        assert!(task.await.unwrap() == said.take(), "bytes of a pipe differ");
    });
}

#[test]
fn cancelled_reads_and_writes_of_pipes_lose_no_byte() {
    gauntlet("cancelled_reads_and_writes_of_pipes_lose_no_byte", &[], pipes);
}
