//! asyncio's "TCP echo client using streams": connects to the address in the first argument; without one it brings its own
//! server.

use std::{env, io};

async fn tcp_echo_client(address: String, message: &str) -> io::Result<()> {
    let (mut reader, mut writer) = ringio::open_connection(address).await?;

    println!("Send: {message:?}");
    writer.write(message.as_bytes())?;
    writer.drain().await?;

    let data = reader.read(100).await?;
    println!("Received: {:?}", String::from_utf8_lossy(&data));
    assert_eq!(data, message, "the echo differs from the message");

    println!("Close the connection");
    writer.close();
    writer.wait_closed().await
}

fn main() -> io::Result<()> {
    ringio::run(async {
        if let Some(address) = env::args().nth(1) {
            return tcp_echo_client(address, "Hello World!").await;
        }
        let echo = async |mut reader: ringio::StreamReader, mut writer: ringio::StreamWriter| {
            let data = reader.read(100).await?;
            writer.write_owned(data)
        };
        let server = ringio::start_server(echo, "127.0.0.1:0").await?;
        tcp_echo_client(server.sockets()[0].to_string(), "Hello World!").await
    })
}
