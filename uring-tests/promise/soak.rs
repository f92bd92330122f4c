//! All of it at once: many connections through one server, with reads, drains and whole tasks cancelled and dropped at
//! random, and every byte accounted for.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use futures::future::join_all;
use ringio::{StreamReader, StreamWriter, create_task, open_connection, start_server, wait_for};

use super::stages::{Stage, drop_at};
use crate::support::{
    PATIENCE, Rng, alone, each_profile,
    process::{assert_descriptors, descriptors},
    settled,
};

const CLIENTS: usize = 30;
const MESSAGES: usize = 12;

/// Ends what does not end soon; `None` then.
async fn hasty<T>(rng: &Rc<Cell<u64>>, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
    let mut chance = Rng::from(rng);
    let result = match chance.below(3) {
        0 => drop_at(Stage { before: chance.below(3), after: 0 }, || (), future).await,
        1 => Some(wait_for(future, chance.micros(300)).await),
        _ => Some(wait_for(future, PATIENCE).await),
    };
    match result {
        Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        other => other.transpose(),
    }
}

/// Sends back what comes.
async fn echo(mut reader: StreamReader, mut writer: StreamWriter, rng: Rc<Cell<u64>>) -> io::Result<()> {
    loop {
        let Some(data) = hasty(&rng, reader.read(20_000)).await? else { continue };
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        hasty(&rng, writer.drain()).await?;
    }
}

/// Sends messages and wants them back.
async fn client(address: SocketAddr, rng: Rc<Cell<u64>>) -> io::Result<()> {
    let (mut reader, mut writer) = loop {
        if let Some(connection) = hasty(&rng, IntoFuture::into_future(open_connection(address))).await? {
            break connection;
        }
    };
    for _ in 0..MESSAGES {
        let message = Rng::from(&rng).chunk(40_000);
        writer.write(&message)?;
        hasty(&rng, writer.drain()).await?;
        let back = loop {
            if let Some(back) = hasty(&rng, reader.readexactly(message.len())).await? {
                break back;
            }
        };
        assert!(back == message, "lost, doubled or somebody else's bytes");
    }
    writer.write_eof()?;
    loop {
        if let Some(rest) = hasty(&rng, reader.read(1)).await? {
            assert_eq!(rest, "");
            return Ok(());
        }
    }
}

#[test]
fn every_byte_is_accounted_for_under_random_cancels() {
    // lessons rows 1, 2, 3, 5 together; kernel pitfall 15
    alone(&every_byte_is_accounted_for_under_random_cancels, || {
        let mut rng = Rng::new("every_byte_is_accounted_for");
        let before = descriptors();
        each_profile(|_, runner| {
            let seeds = Rc::new(Cell::new(rng.next()));
            runner.run(async {
                let shared = seeds.clone();
                let server = start_server(move |reader, writer| echo(reader, writer, shared.clone()), "127.0.0.1:0");
                let server = server.backlog(1000).await.unwrap();
                let address = server.sockets()[0];
                let clients = (0..CLIENTS).map(|_| create_task(client(address, seeds.clone())));
                for result in join_all(clients).await {
                    result.expect("a client that ends well");
                }
                // And some that end in the middle.
                let doomed: Vec<_> = (0..CLIENTS).map(|_| create_task(client(address, seeds.clone()))).collect();
                ringio::sleep(Duration::from_millis(2)).await.unwrap();
                for task in doomed {
                    task.cancel();
                    if let Err(error) = task.await {
                        assert!(ringio::cancelled(&error).is_some(), "{error}");
                    }
                }
                server.close();
                wait_for(async { Ok::<_, ringio::Error>(server.wait_closed().await?) }, PATIENCE).await.unwrap();
                settled().await;
            });
        });
        assert_descriptors(&before);
    });
}
