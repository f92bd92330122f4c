//! Forwards connections: `tcp_proxy 127.0.0.1:8080 example.org:80` serves until Ctrl-C; without addresses it forwards to an
//! echo server of its own. Each direction ends by itself (a half-close is passed on), and goes as fast as its receiver.

use std::{env, io};

use ringio::{StreamReader, StreamWriter};

/// One direction, up to its end. Reading stops while the receiver does not keep up.
async fn pump(mut from: StreamReader, mut to: StreamWriter) -> io::Result<(StreamReader, StreamWriter)> {
    loop {
        let data = from.read(64 * 1024).await?;
        if data.is_empty() {
            to.write_eof()?;
            return Ok((from, to));
        }
        to.write_owned(data)?;
        to.drain().await?;
    }
}

async fn forward(target: String, reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let (far_reader, far_writer) = ringio::open_connection(target).await?;
    let there = ringio::create_task(pump(reader, far_writer));
    let back = ringio::create_task(pump(far_reader, writer));
    let (there, back) = (there.await, back.await);
    // Dropping what was not ended well closes it; the other side hears of it.
    let ((_, mut far_writer), (_, mut writer)) = (there?, back?);
    far_writer.close();
    writer.close();
    far_writer.wait_closed().await?;
    writer.wait_closed().await
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let all = reader.read_to_end().await?;
    writer.write_owned(all)?;
    writer.drain().await
}

/// The echo begins when it has heard the end: without the half-close nobody would ever say a word.
async fn try_out(address: std::net::SocketAddr) -> io::Result<()> {
    let (mut reader, mut writer) = ringio::open_connection(address).await?;
    let much: Vec<u8> = (0..8_000_000u32).map(|number| number as u8).collect();
    for piece in much.chunks(100_000) {
        writer.write(piece)?;
        writer.drain().await?;
    }
    writer.write_eof()?;
    assert!(reader.read_to_end().await? == much, "the proxy lost something");
    println!("{} bytes there and back", much.len());
    Ok(())
}

fn main() -> io::Result<()> {
    ringio::run(async {
        let proxy = |target: String| move |reader, writer| forward(target.clone(), reader, writer);
        if let (Some(address), Some(target)) = (env::args().nth(1), env::args().nth(2)) {
            return ringio::start_server(proxy(target), address).await?.serve_forever().await;
        }
        let echo = ringio::start_server(echo, "127.0.0.1:0").await?;
        let proxy = ringio::start_server(proxy(echo.sockets()[0].to_string()), "127.0.0.1:0").await?;
        try_out(proxy.sockets()[0]).await
    })
}
