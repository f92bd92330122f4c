//! Echo: clients get back what they sent, all of it, in order, and then the end.

use std::{io, time::Duration};

use ringio::{Server, StreamReader, StreamWriter, create_task, open_connection, start_server};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

pub(super) async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(64 * 1024).await?;
        if data.is_empty() {
            writer.close();
            return writer.wait_closed().await;
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

/// Ends a server, and what its handlers still do.
pub(super) async fn end(server: Server) {
    server.close();
    server.wait_closed().await.expect("nobody cancels the main task");
}

pub(super) async fn client(server: Server, mut rng: Rng, steps: usize, bytes_max: usize) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(server.sockets()[0]).await?;
    for _ in 0..steps {
        let most = if rng.below(10) == 0 { bytes_max } else { 100 };
        let data = rng.chunk(most);
        writer.write(&data)?;
        if rng.below(3) == 0 {
            ringio::sleep(rng.micros(2000)).await?;
        }
        assert_eq!(reader.readexactly(data.len()).await?, data);
    }
    writer.write_eof()?;
    assert_eq!(reader.read(1).await?, "");
    writer.close();
    writer.wait_closed().await
}

fn workload(run: Run) {
    run.program(async {
        let server = start_server(echo, "127.0.0.1:0").await.expect("a port is free");
        let mut rng = run.rng();
        let mut clients = Vec::new();
        for _ in 0..1 + rng.below(5) {
            clients.push(create_task(client(server.clone(), Rng::of(rng.next()), run.some_steps(), run.bytes_max())));
        }
        for client in clients {
            let ended = client.await;
            assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
        }
        end(server).await;
    });
}

#[test]
fn echo_returns_every_byte() {
    gauntlet("echo_returns_every_byte", &[], workload);
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in 0..8 {
        let trace = || {
            let run = Run { seed, faults: ringio::testing::Faults::all(), steps: 10 };
            let report = run.program(async {
                let server = start_server(echo, "127.0.0.1:0").await.expect("a port is free");
                let ended = create_task(client(server.clone(), Rng::of(seed), 10, 200)).await;
                assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
                ringio::sleep(Duration::from_secs(1)).await.unwrap();
                server.close();
            });
            (report.trace_hash, report.events, report.elapsed)
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
