//! Counts lines with what each runtime offers for that, and says how many there were. Guards: each is given its own buffered
//! reader as it comes. (compio has none that reads lines.)

use std::{io, os::unix::process::CommandExt, process::Command};

use crate::serve::{announce, listen};

/// What was read, line ends included.
#[derive(Default)]
struct Count {
    lines: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
    }

    fn text(&self) -> String {
        format!("{} {}\n", self.lines, self.bytes)
    }
}

pub(crate) fn ringio() -> io::Result<()> {
    use ringio::{StreamReader, StreamWriter};
    let handler = async |mut reader: StreamReader, mut writer: StreamWriter| {
        let mut count = Count::default();
        loop {
            let line = reader.readline().await?;
            if line.is_empty() {
                return writer.write(count.text().as_bytes());
            }
            count.add(line.len());
        }
    };
    ringio::run(async move {
        let server = ringio::start_server(handler, "127.0.0.1:0").await?;
        announce(server.sockets()[0]);
        server.serve_forever().await
    })
}

pub(crate) fn tokio() -> io::Result<()> {
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            tokio::task::spawn_local(async move {
                let mut count = Count::default();
                let mut lines = BufReader::new(stream).lines();
                while let Some(line) = lines.next_line().await? {
                    count.add(line.len() + 1);
                }
                lines.into_inner().into_inner().write_all(count.text().as_bytes()).await
            });
        }
    })
}

pub(crate) fn monoio() -> io::Result<()> {
    use monoio::{
        io::{AsyncBufReadExt, AsyncWriteRentExt, BufReader},
        net::TcpListener,
    };
    super::monoio::builder(super::monoio::Ring::Defer).build()?.block_on(async move {
        let listener = TcpListener::from_std(listen()?)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            monoio::spawn(async move {
                let mut count = Count::default();
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                while reader.read_line(&mut line).await? > 0 {
                    count.add(line.len());
                    line.clear();
                }
                reader.into_inner().write_all(count.text().into_bytes()).await.0.map(drop)
            });
        }
    })
}

pub(crate) fn smol() -> io::Result<()> {
    use futures_lite::{AsyncBufReadExt, AsyncWriteExt, StreamExt, io::BufReader};
    use smol::{Async, LocalExecutor};
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listen()?)?;
        loop {
            let (mut stream, _peer) = listener.accept().await?;
            let counting = async move {
                let mut count = Count::default();
                let mut lines = BufReader::new(&stream).lines();
                while let Some(line) = lines.next().await {
                    count.add(line?.len() + 1);
                }
                drop(lines);
                stream.write_all(count.text().as_bytes()).await
            };
            executor.spawn(counting).detach();
        }
    }))
}

/// Becomes the interpreter: same process, same pipes, same CPU.
pub(crate) fn asyncio() -> io::Result<()> {
    let error = Command::new("python3").args(["-c", ASYNCIO]).exec();
    Err(io::Error::new(error.kind(), format!("python3: {error}")))
}

const ASYNCIO: &str = r#"
import asyncio, os, sys, threading

def answer_harness():
    for _ in sys.stdin:
        pass
    os._exit(0)

async def count(reader, writer):
    lines = size = 0
    while line := await reader.readline():
        lines += 1
        size += len(line)
    writer.write(b"%d %d\n" % (lines, size))
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(count, "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

threading.Thread(target=answer_harness, daemon=True).start()
asyncio.run(main())
"#;
