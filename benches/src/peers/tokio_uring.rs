//! tokio-uring, as it comes.

use std::io;

use tokio_uring::{
    buf::BoundedBuf,
    net::{TcpListener, TcpStream},
};

use crate::serve::{Role, listen};

pub(crate) fn serve(role: Role) -> io::Result<()> {
    tokio_uring::start(async move {
        let listener = TcpListener::from_std(listen()?);
        loop {
            let (stream, _peer) = listener.accept().await?;
            tokio_uring::spawn(connection(stream, role));
        }
    })
}

async fn connection(stream: TcpStream, role: Role) -> io::Result<()> {
    let mut buffer = vec![0; role.buffer_len()];
    match role {
        Role::Echo => loop {
            let (read, filled) = stream.read(buffer).await;
            let len = read?;
            if len == 0 {
                return Ok(());
            }
            let (written, slice) = stream.write_all(filled.slice(..len)).await;
            written?;
            buffer = slice.into_inner();
        },
        Role::Sink => loop {
            let (read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            buffer = filled;
        },
        Role::Source => loop {
            let (written, same) = stream.write_all(buffer).await;
            written?;
            buffer = same;
        },
    }
}
