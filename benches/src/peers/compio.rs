//! compio, as it comes, and with the ring flags that its builder offers.

use std::io;

use compio::{
    BufResult,
    buf::{IntoInner, IoBuf},
    driver::ProactorBuilder,
    io::{AsyncRead, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Runtime, RuntimeBuilder, spawn},
};

use crate::serve::{Role, listen};

#[derive(Clone, Copy)]
pub(crate) enum Ring {
    Default,
    /// SINGLE_ISSUER and DEFER_TASKRUN.
    Defer,
}

pub(crate) fn runtime(ring: Ring) -> io::Result<Runtime> {
    match ring {
        Ring::Default => Runtime::new(),
        Ring::Defer => {
            let mut proactor = ProactorBuilder::new();
            proactor.single_issuer(true).defer_taskrun(true);
            RuntimeBuilder::new().with_proactor(proactor).build()
        }
    }
}

pub(crate) fn serve(role: Role, ring: Ring) -> io::Result<()> {
    runtime(ring)?.block_on(async move {
        let listener = TcpListener::from_std(listen()?)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            spawn(connection(stream, role)).detach();
        }
    })
}

async fn connection(mut stream: TcpStream, role: Role) -> io::Result<()> {
    let mut buffer = vec![0; role.buffer_len()];
    match role {
        Role::Echo => loop {
            let BufResult(read, filled) = stream.read(buffer).await;
            let len = read?;
            if len == 0 {
                return Ok(());
            }
            let BufResult(written, slice) = stream.write_all(filled.slice(..len)).await;
            written?;
            buffer = slice.into_inner();
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
