//! asyncio's "Register an open socket to wait for data using streams".

use std::{io, io::Write, os::unix::net::UnixStream};

async fn wait_for_data() -> io::Result<()> {
    // Create a pair of connected sockets.
    let (rsock, mut wsock) = UnixStream::pair()?;

    // Register the open socket to wait for data.
    let (mut reader, mut writer) = ringio::open_connection_from(rsock.into()).await?;

    // Simulate the reception of data from the network
    let sending = ringio::create_task(async move { wsock.write_all(b"abc") });

    // Wait for data
    let data = reader.read(100).await?;

    // Got data, we are done: close the socket
    println!("Received: {:?}", String::from_utf8_lossy(&data));
    assert_eq!(data, "abc");
    writer.close();

    // Close the second socket
    sending.await?;
    writer.wait_closed().await
}

fn main() -> io::Result<()> {
    ringio::run(wait_for_data())
}
