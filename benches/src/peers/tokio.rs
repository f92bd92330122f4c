//! tokio, current-thread runtime and local tasks.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::{LocalSet, spawn_local},
};

use crate::serve::{Role, listen};

pub(crate) fn serve(role: Role) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            spawn_local(connection(stream, role));
        }
    })
}

/// An error ends the connection, here and in all the peers.
async fn connection(mut stream: TcpStream, role: Role) -> io::Result<()> {
    let mut buffer = vec![0; role.buffer_len()];
    match role {
        Role::Echo => loop {
            let len = stream.read(&mut buffer).await?;
            if len == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..len]).await?;
        },
        Role::Sink => while stream.read(&mut buffer).await? > 0 {},
        Role::Source => loop {
            stream.write_all(&buffer).await?;
        },
    }
    Ok(())
}
