//! glommio, unbound: the process is pinned already.

use std::{
    io,
    os::fd::{FromRawFd, IntoRawFd},
};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{
    LocalExecutorBuilder, Placement,
    net::{TcpListener, TcpStream},
    spawn_local,
};

use crate::serve::{Role, listen};

pub(crate) fn serve(role: Role) -> io::Result<()> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(io::Error::from)?;
    executor.run(async move {
        // SAFETY: the descriptor is owned by nothing else.
        let listener = unsafe { TcpListener::from_raw_fd(listen()?.into_raw_fd()) };
        loop {
            let stream = listener.accept().await.map_err(io::Error::from)?;
            spawn_local(connection(stream, role)).detach();
        }
    })
}

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
