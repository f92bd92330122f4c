//! An accept or a connect that is cancelled or dropped loses no connection and no descriptor.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::mpsc,
    time::Duration,
};

use futures::{FutureExt, select_biased};
use ringio::{Bind, TcpListener, TcpStream, cancelled, sleep, wait_for};

use super::stages::{cancel_at, drop_at, stages};
use crate::support::{
    PATIENCE, Rng, alone, each_profile,
    process::{assert_descriptors, descriptors},
    settled,
    wire::{self, Racer, connect, full_listener, read_exactly},
};

const ROUNDS: usize = 300;

/// Reads the number that a client has sent.
async fn number_of(mut client: TcpStream) -> u32 {
    let buffer = wait_for(client.read(vec![0; 4]), PATIENCE).await;
    assert_eq!(buffer.0.expect("a client says its number"), 4);
    u32::from_be_bytes(buffer.1.try_into().expect("four bytes"))
}

fn call(address: SocketAddr, number: u32) -> std::net::TcpStream {
    let mut client = connect(address);
    client.write_all(&number.to_be_bytes()).expect("the listener holds the connection");
    client
}

#[test]
fn accept_under_a_racing_timeout_or_select_loses_no_client() {
    // lessons row 3, with its descriptors
    alone(&accept_under_a_racing_timeout_or_select_loses_no_client, || {
        let mut rng = Rng::new("accept_under_a_racing_timeout_or_select");
        let before = descriptors();
        each_profile(|_, runner| {
            runner.run(async {
                // The last clients come while nobody accepts.
                let bind = Bind { backlog: 1024, ..Bind::default() };
                let listener = TcpListener::bind_with("127.0.0.1:0", bind).unwrap();
                let address = listener.local_addr().unwrap();
                let (racer, (told, clients)) = (Racer::new(), mpsc::channel());
                let mut seen = Vec::new();
                for number in 0..ROUNDS {
                    let told = told.clone();
                    racer.after(rng.micros(200), move || told.send(call(address, number as u32)).unwrap());
                    let accepted = if number % 2 == 0 {
                        wait_for(listener.accept(), rng.micros(200)).await.ok()
                    } else {
                        select_biased! {
                            _ = sleep(rng.micros(200)).fuse() => None,
                            accepted = Box::pin(listener.accept()).fuse() => Some(accepted.unwrap()),
                        }
                    };
                    if let Some((client, _)) = accepted {
                        seen.push(number_of(client).await);
                    }
                }
                racer.finish();
                eprintln!("{} clients came late", ROUNDS - seen.len());
                while seen.len() < ROUNDS {
                    let (client, _) = wait_for(listener.accept(), PATIENCE).await.expect("no client is lost");
                    seen.push(number_of(client).await);
                }
                assert!(seen.is_sorted() && seen.iter().copied().eq(0..ROUNDS as u32), "lost or doubled: {seen:?}");
                drop(told);
                assert_eq!(clients.iter().count(), ROUNDS);
                listener.close().await.unwrap();
                settled().await;
            });
        });
        assert_descriptors(&before);
    });
}

#[test]
fn accept_ended_at_any_stage_leaves_the_connection_to_the_next() {
    // L6, C10
    each_profile(|_, runner| {
        runner.run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            for stage in stages() {
                let mut client = None;
                assert!(drop_at(stage, || client = Some(call(address, 7)), listener.accept()).await.is_none());
                let (accepted, peer) = wait_for(listener.accept(), PATIENCE).await.unwrap();
                assert_eq!(Some(peer), client.and_then(|client| client.local_addr().ok()), "{stage:?}");
                assert_eq!(number_of(accepted).await, 7);

                let mut client = None;
                let shared = listener.clone();
                let body = async move { shared.accept().await };
                let accepted = match cancel_at(stage, || client = Some(call(address, 8)), body).await {
                    Ok((accepted, _)) => accepted,
                    Err(error) => {
                        assert!(cancelled(&error).is_some(), "{error}");
                        wait_for(listener.accept(), PATIENCE).await.unwrap().0
                    }
                };
                assert_eq!(number_of(accepted).await, 8, "{stage:?}");
            }
            listener.close().await.unwrap();
            settled().await;
        });
    });
}

#[test]
fn connections_nobody_accepted_are_closed_with_their_listener() {
    // S4; multishot backlog
    alone(&connections_nobody_accepted_are_closed_with_their_listener, || {
        let before = descriptors();
        each_profile(|_, runner| {
            let mut clients = runner.run(async {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let clients: Vec<_> = (0..40).map(|number| call(address, number)).collect();
                let (first, _) = wait_for(listener.accept(), PATIENCE).await.unwrap();
                assert_eq!(number_of(first).await, 0);
                super::stages::turns(5).await;
                listener.close().await.unwrap();
                assert!(TcpListener::bind(address).is_ok(), "the port is free when close returns");
                settled().await;
                clients
            });
            for client in &mut clients {
                // The end, or a reset for those whose bytes were never read: but not silence.
                let mut rest = [0; 8];
                assert!(matches!(client.read(&mut rest), Ok(0) | Err(_)));
            }
        });
        assert_descriptors(&before);
    });
}

#[test]
fn connect_ended_at_any_stage_leaks_nothing() {
    // lessons §3 row 8; open_connection of the contract's table: sockets closed
    alone(&connect_ended_at_any_stage_leaks_nothing, || {
        let before = descriptors();
        each_profile(|_, runner| {
            runner.run(async {
                let listener = wire::listener();
                let address = listener.local_addr().unwrap();
                for stage in stages() {
                    drop_at(stage, || (), TcpStream::connect(address)).await;
                    let result = cancel_at(stage, || (), TcpStream::connect(address)).await;
                    if let Err(error) = &result {
                        assert!(cancelled(error).is_some(), "{error}");
                    }
                    drop(result);
                    drop_at(stage, || (), IntoFuture::into_future(ringio::open_connection(address))).await;
                }
                settled().await;
                // Whatever was connected is closed again.
                wire::nonblocking(&listener);
                while let Ok((client, _)) = listener.accept() {
                    wire::blocking(&client);
                    assert_eq!(wire::read_all(client), b"");
                }
            });
        });
        assert_descriptors(&before);
    });
}

#[test]
fn connect_that_gets_no_answer_ends_at_once() {
    alone(&connect_that_gets_no_answer_ends_at_once, || {
        let before = descriptors();
        let (listener, waiting) = full_listener();
        let address = listener.local_addr().unwrap();
        each_profile(|_, runner| {
            runner.run(async {
                for stage in stages() {
                    assert!(drop_at(stage, || (), TcpStream::connect(address)).await.is_none());
                    let error = cancel_at(stage, || (), TcpStream::connect(address)).await.unwrap_err();
                    assert!(cancelled(&error).is_some(), "{error}");
                }
                let error = wait_for(TcpStream::connect(address), Duration::from_millis(2)).await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                settled().await;
            });
        });
        drop((listener, waiting));
        assert_descriptors(&before);
    });
}

#[test]
fn connect_under_a_racing_timeout_gives_a_working_connection_or_none() {
    let mut rng = Rng::new("connect_under_a_racing_timeout");
    each_profile(|_, runner| {
        runner.run(async {
            let listener = wire::listener();
            let address = listener.local_addr().unwrap();
            for _ in 0..ROUNDS {
                let result = wait_for(TcpStream::connect(address), rng.micros(100)).await;
                if result.as_ref().is_err_and(|_| rng.below(2) == 0) {
                    continue; // somebody else may be in the queue, or nobody
                }
                wire::nonblocking(&listener);
                if let Ok(mut stream) = result {
                    stream.write_all("here").await.0.unwrap();
                    let local = stream.local_addr().unwrap();
                    let mut served = false;
                    while let Ok((client, peer)) = listener.accept() {
                        wire::blocking(&client);
                        let text = if peer == local { &b"here"[..] } else { b"" };
                        assert_eq!(read_exactly(&client, text.len()), text);
                        served |= peer == local;
                    }
                    assert!(served, "a connection that was returned does not exist");
                }
            }
            settled().await;
        });
    });
}
