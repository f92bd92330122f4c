//! ringio's TcpStream with owned buffers.

use std::io;

use ringio::{BufResult, TcpListener, TcpStream};

use crate::serve::{Role, announce};

pub(crate) fn serve(role: Role) -> io::Result<()> {
    ringio::run(async move {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?);
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Dropping the handle detaches the task.
            drop(ringio::create_task(connection(stream, role)));
        }
    })
}

async fn connection(mut stream: TcpStream, role: Role) -> io::Result<()> {
    let mut buffer = vec![0; role.buffer_len()];
    match role {
        Role::Echo => loop {
            let BufResult(read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            let BufResult(written, same) = stream.write_all(filled).await;
            written?;
            buffer = same;
        },
        Role::Sink => loop {
            let BufResult(read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            buffer = filled;
        },
        Role::Source => loop {
            let BufResult(written, same) = stream.write_all(buffer).await;
            written?;
            buffer = same;
        },
    }
}
