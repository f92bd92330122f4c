//! Unix sockets and datagrams: what goes between processes is neither lost nor torn nor doubled, however often a receive
//! or a send is cancelled; and with UDP, that loses, doubles and reorders, whoever asks again gets the answer.

use std::{io, time::Duration};

use ringio::{
    StreamReader, StreamWriter, UdpSocket, UnixDatagram, create_task, open_unix_connection, sleep, start_unix_server,
    wait_for,
};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

fn is_timeout<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Numbered datagrams in one direction, with a receiver and a sender that lose patience.
async fn numbered(mut rng: Rng, steps: usize, most: usize, path: String) -> io::Result<()> {
    let receiver = UnixDatagram::bind(&path)?;
    let mut sender_rng = Rng::of(rng.next());
    let sending = create_task(async move {
        let sender = UnixDatagram::unbound()?;
        sender.connect(&path)?;
        for number in 0..steps as u32 {
            let mut datagram = number.to_ne_bytes().to_vec();
            datagram.extend(vec![number as u8; sender_rng.below(most)]);
            loop {
                // A delivered cancel says that nothing was sent.
                let (patience, copy) = (sender_rng.micros(1000), datagram.clone());
                match wait_for(sender.send(copy), patience).await.0 {
                    Ok(count) => break assert_eq!(count, datagram.len()),
                    result if is_timeout(&result) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        io::Result::Ok(())
    });
    for number in 0..steps as u32 {
        let datagram = loop {
            let received = wait_for(receiver.recv(), rng.micros(1000)).await;
            if !is_timeout(&received) {
                break received?.0;
            }
        };
        assert_eq!(datagram[..4], number.to_ne_bytes(), "out of order, lost or doubled");
        assert!(datagram[4..].iter().all(|&byte| byte == number as u8), "torn");
    }
    sending.await?;
    assert!(is_timeout(&wait_for(receiver.recv(), Duration::from_secs(1)).await), "nothing is left");
    Ok(())
}

async fn answer(server: UdpSocket) -> io::Result<()> {
    loop {
        let (question, from) = server.recv().await?;
        server.send_to(question, from).await.0?;
    }
}

/// Asks until it is answered, as one does with UDP.
async fn asking(mut rng: Rng, steps: usize) -> io::Result<()> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let answering = create_task(answer(server));
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(address)?;
    for _ in 0..steps {
        let question = rng.chunk(100);
        client.send(question.clone()).await.0?;
        loop {
            match wait_for(client.recv(), Duration::from_millis(30)).await {
                // Others are late answers to what was asked twice.
                Ok((answer, from)) if answer == question => break assert_eq!(from, address),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    client.send(question.clone()).await.0?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    answering.cancel();
    drop(answering.await);
    Ok(())
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(1000).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

/// A connection through a path, read with little patience.
async fn echoed(mut rng: Rng, most: usize, path: String) -> io::Result<()> {
    let (mut reader, mut writer) = open_unix_connection(path).await?;
    let sent = rng.chunk(most);
    writer.write(&sent)?;
    writer.write_eof()?;
    let mut received = Vec::new();
    loop {
        let piece = wait_for(reader.read(1 + rng.below(500)), rng.micros(1000)).await;
        if is_timeout(&piece) {
            continue;
        }
        let piece = piece?;
        if piece.is_empty() {
            assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
            writer.close();
            return writer.wait_closed().await;
        }
        received.extend_from_slice(&piece);
    }
}

fn workload(run: Run) {
    run.program(async {
        let (mut rng, most) = (run.rng(), run.bytes_max().min(3000));
        let server = start_unix_server(echo, "/run/echo").await.expect("the path is free");
        let mut tasks = Vec::new();
        for number in 0..run.some_steps().min(12) {
            let mut rng = Rng::of(rng.next());
            let (steps, path) = (1 + rng.below(20), format!("/run/{number}"));
            tasks.push(match rng.below(4) {
                0 => create_task(asking(rng, steps)),
                1 => create_task(echoed(rng, most, "/run/echo".to_owned())),
                // A name of no file.
                2 => create_task(numbered(rng, steps, most, format!("\0{path}"))),
                _ => create_task(numbered(rng, steps, most, path)),
            });
        }
        for task in tasks {
            task.await.expect("nothing is lost");
        }
        server.close();
        server.wait_closed().await.expect("nobody cancels the main task");
        sleep(rng.micros(500)).await.expect("nobody cancels the main task");
    });
}

#[test]
fn nothing_between_processes_is_lost_or_doubled() {
    gauntlet("nothing_between_processes_is_lost_or_doubled", &[], workload);
}
