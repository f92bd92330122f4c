//! A proxy between clients and an echo server: four directions, two half-closes, and nobody loses a byte.

use std::{io, net::SocketAddr};

use ringio::{StreamReader, StreamWriter, create_task, open_connection, start_server};

use super::{
    echo::{client, echo, end},
    seeds::{Run, gauntlet},
};
use crate::support::Rng;

/// Copies until the end, and hands the end on. The writer comes back, because dropping it closes both directions.
async fn copy(mut from: StreamReader, mut to: StreamWriter) -> io::Result<StreamWriter> {
    loop {
        let data = from.read(4096).await?;
        if data.is_empty() {
            to.write_eof()?;
            return Ok(to);
        }
        to.write_owned(data)?;
        to.drain().await?;
    }
}

async fn relay(reader: StreamReader, writer: StreamWriter, behind: SocketAddr) -> io::Result<()> {
    let (their_reader, their_writer) = open_connection(behind).await?;
    let up = create_task(copy(reader, their_writer));
    let down = create_task(copy(their_reader, writer));
    let (up, down) = (up.await, down.await);
    for mut writer in [up?, down?] {
        writer.close();
        writer.wait_closed().await?;
    }
    Ok(())
}

fn workload(run: Run) {
    run.program(async {
        let server = start_server(echo, "127.0.0.1:0").await.expect("a port is free");
        let behind = server.sockets()[0];
        let proxy = start_server(move |reader, writer| relay(reader, writer, behind), "127.0.0.1:0");
        let proxy = proxy.await.expect("a port is free");
        let mut rng = run.rng();
        let mut clients = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let rng = Rng::of(rng.next());
            clients.push(create_task(client(proxy.clone(), rng, run.some_steps(), run.bytes_max())));
        }
        for client in clients {
            let ended = client.await;
            assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
        }
        end(proxy).await;
        end(server).await;
    });
}

#[test]
fn a_proxy_passes_every_byte_and_both_ends() {
    gauntlet("a_proxy_passes_every_byte_and_both_ends", &[], workload);
}
