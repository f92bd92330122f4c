//! asyncio's "TCP echo server using streams", at the address in the first argument. Serves until Ctrl-C, or for
//! `RINGIO_ECHO_SECONDS`, which is to try it out: then on any free port.

use std::{env, io, time::Duration};

use ringio::{StreamReader, StreamWriter};

async fn handle_echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let data = reader.read(100).await?;
    let message = String::from_utf8_lossy(&data).into_owned();
    let addr = writer.peer_addr()?;

    println!("Received {message:?} from {addr:?}");

    println!("Send: {message:?}");
    writer.write(&data)?;
    writer.drain().await?;

    println!("Close the connection");
    writer.close();
    writer.wait_closed().await
}

async fn serve(address: Option<String>) -> io::Result<()> {
    let seconds = env::var("RINGIO_ECHO_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let default = if seconds.is_some() { "127.0.0.1:0" } else { "127.0.0.1:8888" };
    let address = address.unwrap_or_else(|| default.into());

    let server = ringio::start_server(handle_echo, address).await?;

    let addrs: Vec<_> = server.sockets().iter().map(ToString::to_string).collect();
    println!("Serving on {}", addrs.join(", "));

    match seconds {
        Some(seconds) => {
            let limited = ringio::wait_for(server.serve_forever(), Duration::from_secs(seconds)).await;
            limited.or_else(|error| if error.kind() == io::ErrorKind::TimedOut { Ok(()) } else { Err(error) })
        }
        None => server.serve_forever().await,
    }
}

fn main() -> io::Result<()> {
    ringio::run(serve(env::args().nth(1)))
}
