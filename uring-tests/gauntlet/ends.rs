//! A runtime that is closed in the middle of everything. The simulation itself looks for what is left: operations without
//! an end, descriptors without a close.

use std::{cell::Cell, io};

use ringio::{
    BufResult, StreamReader, StreamWriter, TcpStream, create_task, open_connection, sleep, start_server, testing,
};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

async fn chatter(mut reader: StreamReader, mut writer: StreamWriter, mut rng: Rng, most: usize) -> io::Result<()> {
    loop {
        writer.write(&rng.chunk(most))?;
        match rng.below(4) {
            0 => writer.drain().await?,
            1 => drop(reader.read(1 + rng.below(500)).await?),
            2 => sleep(rng.micros(500)).await?,
            _ => ringio::yield_now().await?,
        }
        if rng.below(50) == 0 {
            writer.close();
            return writer.wait_closed().await;
        }
    }
}

fn workload(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let seeds = Cell::new(rng.next());
        let most = run.bytes_max().min(2000);
        let handler_seeds = Cell::new(rng.next());
        let handler = move |reader, writer| {
            let chatter = chatter(reader, writer, Rng::from(&handler_seeds), most);
            async { drop(chatter.await) }
        };
        let server = start_server(handler, "127.0.0.1:0").await.expect("a port is free");
        let address = server.sockets()[0];
        for number in 0..run.some_steps() {
            let mut rng = Rng::from(&seeds);
            quietly(async move {
                sleep(rng.micros(2000)).await?;
                if number % 3 == 0 {
                    let mut stream = TcpStream::connect(address).await?;
                    let BufResult(result, _) = stream.write(rng.chunk(most)).await;
                    result?;
                    return stream.read(vec![0; 100]).await.0.map(drop);
                }
                let (reader, writer) = open_connection(address).await?;
                chatter(reader, writer, rng, most).await
            });
        }
        let (reader, writer) = testing::pipe().expect("a descriptor is free");
        quietly(async move { reader.read(vec![0; 10]).await.0 });
        quietly(async move { writer.write(vec![0; 1 << 20]).await.0 });
        sleep(rng.micros(5000)).await.expect("nobody cancels the main task");
        if rng.below(2) == 0 {
            server.close();
        }
    });
}

/// What a task says when its connection breaks is none of this test's business. Nor can another task look at it: one that
/// awaits it may be cancelled in the turn in which it ends, and then the error is nobody's.
fn quietly<T>(body: impl Future<Output = io::Result<T>> + 'static) {
    create_task(async move { drop(body.await) });
}

#[test]
fn nothing_is_left_when_a_runtime_ends_in_the_middle() {
    gauntlet("nothing_is_left_when_a_runtime_ends_in_the_middle", &[1_795_385_717_773_996_106], workload);
}
