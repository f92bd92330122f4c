//! One client floods, the others are quiet: nobody starves, whatever the pool holds.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use ringio::{Server, StreamReader, StreamWriter, create_task, open_connection, sleep, start_server};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

/// Answers lines; what comes without an end is read slowly and thrown away.
async fn serve(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let byte = reader.read(1).await?;
        if byte.is_empty() {
            return Ok(());
        }
        if &byte[..] == b"q" {
            let line = reader.readline().await?;
            writer.write(&line)?;
        } else {
            reader.read(4096).await?;
            sleep(Duration::from_micros(100)).await?;
        }
    }
}

async fn flood(server: Server, stop: Rc<Cell<bool>>, most: usize) -> io::Result<()> {
    let (_reader, mut writer) = open_connection(server.sockets()[0]).await?;
    while !stop.get() {
        writer.write_owned(vec![b'x'; most])?;
        writer.drain().await?;
        sleep(Duration::from_micros(10)).await?;
    }
    Ok(())
}

async fn be_quiet(server: Server, mut rng: Rng, steps: usize) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(server.sockets()[0]).await?;
    for number in 0..steps {
        sleep(rng.micros(1000)).await?;
        writer.write(format!("q{number}\n").as_bytes())?;
        assert_eq!(reader.readline().await?, format!("{number}\n"));
    }
    Ok(())
}

fn workload(run: Run) {
    run.program(async {
        let server = start_server(serve, "127.0.0.1:0").await.expect("a port is free");
        let mut rng = run.rng();
        let stop = Rc::new(Cell::new(false));
        let flooder = create_task(flood(server.clone(), stop.clone(), run.bytes_max()));
        let mut quiet = Vec::new();
        for _ in 0..1 + rng.below(8) {
            quiet.push(create_task(be_quiet(server.clone(), Rng::of(rng.next()), run.some_steps().min(10))));
        }
        for client in quiet {
            let ended = client.await;
            assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
        }
        stop.set(true);
        flooder.cancel();
        let _ = flooder.await;
        server.close();
    });
}

#[test]
fn quiet_clients_are_served_beside_a_flood() {
    let failed_once =
        [1_795_394_110_954_004_968, 1_795_409_292_471_559_202, 1_795_411_536_650_136_330, 1_795_411_536_655_975_153];
    gauntlet("quiet_clients_are_served_beside_a_flood", &failed_once, workload);
}
