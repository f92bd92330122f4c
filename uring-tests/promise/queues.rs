//! Queues of almost nothing: no operation, no completion and no cancel is lost in them.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use ringio::{BufResult, Runner, StreamReader, StreamWriter, TcpListener, cancelled, create_task, internals, wait_for};

use super::stages::turns;
use crate::support::{
    PATIENCE, PROFILES,
    process::descriptors,
    settled,
    wire::{connect, pipe, stream_pair},
};

/// Two entries to submit, four to complete; each profile.
fn each_tiny(mut test: impl FnMut(&mut Runner)) {
    for profile in PROFILES {
        let builder = Runner::builder().queue_sizes(2, 4).profile(profile).handle_ctrl_c(false);
        let mut runner = builder.build().expect("the smallest ring");
        let queues = runner.driver_report().unwrap().queues;
        assert!(queues.0 <= 4 && queues.1 <= 8, "the kernel made the queues larger: {queues:?}");
        test(&mut runner);
        runner.close();
    }
}

#[test]
fn ten_thousand_operations_fit_through_tiny_queues() {
    // lessons §3 rows 10 and 11; L11
    each_tiny(|runner| {
        runner.run(async {
            let mut nops: FuturesUnordered<_> = (0..10_000).map(|_| internals::nop()).collect();
            let mut ended = 0;
            while let Some(result) = nops.next().await {
                result.unwrap();
                ended += 1;
            }
            assert_eq!(ended, 10_000);
            let pipes: Vec<_> = (0..100).map(|_| pipe()).collect();
            for round in 0..50u8 {
                let reads = pipes.iter().map(|(reader, _)| reader.read(vec![0; 8]));
                let feed = async {
                    turns(usize::from(round % 3)).await;
                    for (_, writer) in &pipes {
                        (&*writer).write_all(&[round]).unwrap();
                    }
                };
                let (all, ()) = futures::join!(join_all(reads), feed);
                for BufResult(count, buffer) in all {
                    assert_eq!(&buffer[..count.unwrap()], [round]);
                }
            }
            settled().await;
        });
    });
}

#[test]
fn every_cancel_gets_through_tiny_queues() {
    // S5: a cancel that finds the queue full is kept
    each_tiny(|runner| {
        runner.run(async {
            let pipes: Vec<_> = (0..300).map(|_| pipe()).collect();
            let mut kept = Vec::new();
            let tasks: Vec<_> = pipes
                .into_iter()
                .map(|(reader, writer)| {
                    kept.push(writer);
                    create_task(async move { Ok::<_, ringio::Error>(reader.read(vec![0; 8]).await.0) })
                })
                .collect();
            turns(3).await;
            let start = Instant::now();
            assert!(tasks.iter().all(|task| task.cancel()));
            for task in tasks {
                let error = wait_for(task, PATIENCE).await.expect("it ends").unwrap_err();
                assert!(cancelled(&error).is_some(), "{error}");
            }
            assert!(start.elapsed() < Duration::from_secs(5), "the cancels took {:?}", start.elapsed());
            settled().await;
            assert!(internals::counts().operations == 0 && !descriptors().is_empty());
        });
    });
}

#[test]
fn dropped_operations_end_in_tiny_queues() {
    // S5
    each_tiny(|runner| {
        runner.run(async {
            let pipes: Vec<_> = (0..300).map(|_| pipe()).collect();
            let mut reads: Vec<_> = pipes.iter().map(|(reader, _)| Box::pin(reader.read(vec![0; 8]))).collect();
            for read in &mut reads {
                assert!(futures::poll!(read).is_pending());
            }
            drop(reads);
            settled().await;
        });
    });
}

#[test]
fn completions_come_through_while_a_task_never_rests() {
    // kernel pitfalls 1 and 7: what hides behind a full queue comes out only when the kernel is entered
    each_tiny(|runner| {
        runner.run(async {
            let pipes: Vec<_> = (0..100).map(|_| pipe()).collect();
            let ended = Rc::new(Cell::new(0));
            let mut writers = Vec::new();
            for (reader, writer) in pipes {
                let ended = ended.clone();
                create_task(async move {
                    let result = reader.read(vec![0; 8]).await.0;
                    ended.set(ended.get() + 1);
                    result.map(|_| drop(reader))
                });
                writers.push(writer);
            }
            turns(3).await;
            for mut writer in writers {
                writer.write_all(b"all at once").unwrap();
            }
            let start = Instant::now();
            while ended.get() < 100 {
                turns(1).await;
                assert!(start.elapsed() < PATIENCE, "{} of 100 have ended; {:?}", ended.get(), internals::counts());
            }
            settled().await;
        });
    });
}

#[test]
fn burst_of_messages_overflows_nothing_away() {
    // kernel pitfalls 1 and 2: an overflow ends a multishot without an error
    each_tiny(|runner| {
        runner.run(async {
            let mut connections = Vec::new();
            for _ in 0..20 {
                connections.push(stream_pair().await);
            }
            let mut sent = Vec::new();
            for number in 0..200u16 {
                sent.extend_from_slice(&number.to_be_bytes());
                for (reader, _, peer) in &mut connections {
                    peer.write_all(&number.to_be_bytes()).unwrap();
                    if number == 0 {
                        // From here on the receive is armed and nobody reads.
                        assert!(wait_for(reader.readexactly(3), Duration::from_micros(1)).await.is_err());
                    }
                }
                if number % 16 == 0 {
                    turns(1).await;
                }
            }
            for (reader, _, _) in &mut connections {
                assert_eq!(wait_for(reader.readexactly(400), PATIENCE).await.unwrap(), sent);
            }
            drop(connections);
            settled().await;
        });
    });
}

#[test]
fn burst_of_connections_overflows_none_away() {
    // kernel pitfall 2, for accept
    each_tiny(|runner| {
        runner.run(async {
            let served = Rc::new(RefCell::new(Vec::new()));
            let seen = served.clone();
            let handler = move |mut reader: StreamReader, mut writer: StreamWriter| {
                let seen = seen.clone();
                async move {
                    let number = reader.readexactly(2).await?;
                    seen.borrow_mut().push(u16::from_be_bytes([number[0], number[1]]));
                    writer.write(b"served")
                }
            };
            let server = ringio::start_server(handler, "127.0.0.1:0").backlog(1024).await.unwrap();
            let address = server.sockets()[0];
            let mut clients = Vec::new();
            for number in 0..200u16 {
                let mut client = connect(address);
                client.write_all(&number.to_be_bytes()).unwrap();
                clients.push(client);
            }
            crate::support::until("all are served", || served.borrow().len() == 200).await;
            served.borrow_mut().sort_unstable();
            assert!(served.borrow().iter().copied().eq(0..200));
            server.close();
            wait_for(async { Ok::<_, ringio::Error>(server.wait_closed().await?) }, PATIENCE).await.unwrap();
            settled().await;
            for client in clients {
                assert_eq!(crate::support::wire::read_all(client), b"served");
            }
            assert!(TcpListener::bind(address).is_ok());
        });
    });
}
