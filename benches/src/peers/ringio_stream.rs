//! ringio's streams: asyncio's StreamReader and StreamWriter.

use std::io;

use ringio::{StreamReader, StreamWriter};

use crate::serve::{BULK_LEN, Role, announce};

pub(crate) fn serve(role: Role) -> io::Result<()> {
    ringio::run(async move {
        let handler = move |reader, writer| connection(reader, writer, role);
        let server = ringio::start_server(handler, "127.0.0.1:0").backlog(4096).await?;
        announce(server.sockets()[0]);
        server.serve_forever().await
    })
}

async fn connection(mut reader: StreamReader, mut writer: StreamWriter, role: Role) -> io::Result<()> {
    match role {
        Role::Echo => loop {
            let bytes = reader.read(64 * 1024).await?;
            if bytes.is_empty() {
                return Ok(());
            }
            writer.write_owned(bytes)?;
            writer.drain().await?;
        },
        Role::Sink => while !reader.read(BULK_LEN).await?.is_empty() {},
        Role::Source => {
            let bytes = vec![0; BULK_LEN];
            loop {
                writer.write(&bytes)?;
                writer.drain().await?;
            }
        }
    }
    Ok(())
}
