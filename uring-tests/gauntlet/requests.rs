//! Requests and responses, with a client that loses patience and comes back: an answer that a timed-out read missed is
//! there for the next one.

use std::{io, time::Duration};

use ringio::{StreamReader, StreamWriter, create_task, open_connection, start_server, wait_for};

use super::{
    echo::end,
    seeds::{Run, gauntlet},
};
use crate::support::Rng;

/// Answers each line with itself, after a while that the line asks for.
async fn answer(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            return Ok(());
        }
        let text = std::str::from_utf8(&line).expect("we sent text");
        let micros = text.split(' ').nth(1).expect("two words").trim().parse().expect("a number");
        ringio::sleep(Duration::from_micros(micros)).await?;
        writer.write(&line)?;
    }
}

async fn client(address: std::net::SocketAddr, mut rng: Rng, steps: usize) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(address).await?;
    for number in 0..steps {
        let request = format!("{number} {}\n", rng.below(3000));
        writer.write(request.as_bytes())?;
        loop {
            match wait_for(reader.readline(), rng.micros(2000)).await {
                Ok(line) => break assert_eq!(line, request),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
    }
    writer.close();
    writer.wait_closed().await
}

fn workload(run: Run) {
    run.program(async {
        let server = start_server(answer, "127.0.0.1:0").await.expect("a port is free");
        let mut rng = run.rng();
        let mut clients = Vec::new();
        for _ in 0..1 + rng.below(6) {
            clients.push(create_task(client(server.sockets()[0], Rng::of(rng.next()), run.some_steps())));
        }
        for client in clients {
            let ended = client.await;
            assert!(run.may_reset() || ended.is_ok(), "{ended:?}");
        }
        end(server).await;
    });
}

#[test]
fn a_late_answer_is_there_for_the_next_read() {
    gauntlet("a_late_answer_is_there_for_the_next_read", &[], workload);
}
