//! monoio on its io_uring driver, as it comes, and with DEFER_TASKRUN.

use std::io;

use monoio::{
    IoUringDriver, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::{TcpListener, TcpStream},
    spawn,
};

use crate::serve::{Role, listen};

#[derive(Clone, Copy)]
pub(crate) enum Ring {
    Default,
    /// SINGLE_ISSUER and DEFER_TASKRUN.
    Defer,
}

pub(crate) fn builder(ring: Ring) -> RuntimeBuilder<IoUringDriver> {
    let builder = RuntimeBuilder::<IoUringDriver>::new();
    match ring {
        Ring::Default => builder,
        Ring::Defer => {
            let mut flags = monoio_io_uring::IoUring::builder();
            flags.setup_single_issuer().setup_defer_taskrun();
            builder.uring_builder(flags)
        }
    }
}

pub(crate) fn serve(role: Role, ring: Ring) -> io::Result<()> {
    builder(ring).build()?.block_on(async move {
        let listener = TcpListener::from_std(listen()?)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            spawn(connection(stream, role));
        }
    })
}

async fn connection(mut stream: TcpStream, role: Role) -> io::Result<()> {
    let mut buffer = vec![0; role.buffer_len()];
    match role {
        Role::Echo => loop {
            let (read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            let (written, same) = stream.write_all(filled).await;
            written?;
            buffer = same;
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
