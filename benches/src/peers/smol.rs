//! smol, on a local executor (one thread, as the others) and on its global one (a thread of its own beside the main one).

use std::{
    io,
    net::{TcpListener, TcpStream},
    rc::Rc,
};

use smol::{
    Async, LocalExecutor,
    io::{AsyncReadExt, AsyncWriteExt},
};

use crate::serve::{Role, listen};

pub(crate) fn serve_local(role: Role) -> io::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.clone().run(async move {
        let listener = Async::<TcpListener>::new(listen()?)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            executor.spawn(connection(stream, role)).detach();
        }
    }))
}

pub(crate) fn serve_global(role: Role) -> io::Result<()> {
    smol::block_on(async move {
        let listener = Async::<TcpListener>::new(listen()?)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            smol::spawn(connection(stream, role)).detach();
        }
    })
}

async fn connection(mut stream: Async<TcpStream>, role: Role) -> io::Result<()> {
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
