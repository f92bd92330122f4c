//! Cancels that meet: timeouts beside and inside each other, clean-up, completions of the same turn, other people's futures.

use std::{
    cell::Cell,
    io::{self, Write},
    rc::Rc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, channel::oneshot, future, join, stream::FuturesUnordered};
use ringio::{BufResult, CancelledError, TcpListener, cancelled, create_task, sleep, timeout, wait_for};

use super::stages::turns;
use crate::support::{
    PATIENCE, each_profile, settled,
    wire::{pipe, stream_pair, tcp_pair},
};

const SHORT: Duration = Duration::from_millis(1);

fn assert_timed_out<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn timeouts_beside_each_other_end_only_their_own() {
    // C13, C17
    each_profile(|_, runner| {
        runner.run(async {
            let (mut one, _w1, _p1) = stream_pair().await;
            let (mut two, _w2, mut peer) = stream_pair().await;
            let feed = async {
                sleep(SHORT * 4).await.unwrap();
                peer.write_all(b"late").unwrap();
            };
            let (first, second, ()) = join!(wait_for(one.read(9), SHORT), wait_for(two.read(9), PATIENCE), feed);
            assert_timed_out(first);
            assert_eq!(second.unwrap(), "late");
            // Both at the same instant.
            let (first, second) = join!(wait_for(one.read(9), SHORT), wait_for(two.read(9), SHORT));
            assert_timed_out(first);
            assert_timed_out(second);
            // The same for operations of their own.
            let ((one, _w1), (two, _w2)) = (pipe(), pipe());
            let (first, second) = join!(wait_for(one.read(vec![1]), SHORT), wait_for(two.read(vec![2]), SHORT));
            assert_eq!((first.1, second.1), (vec![1], vec![2]));
            assert_timed_out(first.0);
            assert_timed_out(second.0);
        });
    });
}

#[test]
fn timeouts_inside_each_other_say_whose_time_was_up() {
    // TO8, C17
    each_profile(|_, runner| {
        runner.run(async {
            let (mut stream, _peer) = tcp_pair();
            let outer = timeout(PATIENCE, async |limit| {
                let BufResult(inner, buffer) = wait_for(stream.read(vec![0; 8]), SHORT).await;
                assert_timed_out(inner);
                assert!(!limit.expired());
                // The outer one is undisturbed.
                sleep(SHORT).await.unwrap();
                io::Result::Ok(buffer.len())
            });
            assert_eq!(outer.await.unwrap(), 8);
            let outer = timeout(SHORT, async |limit| {
                let BufResult(inner, _) = wait_for(stream.read(vec![0; 8]), PATIENCE).await;
                let inner = inner.unwrap_err();
                assert!(cancelled(&inner).is_some(), "the inner time was not up: {inner}");
                assert!(limit.expired());
                // Delivered once: the clean-up may wait.
                sleep(SHORT).await.unwrap();
                io::Result::<()>::Err(inner)
            });
            assert_timed_out(outer.await);
            for _ in 0..50 {
                let both = wait_for(async { wait_for(stream.read(vec![0; 8]), SHORT).await.0 }, SHORT).await;
                assert_timed_out(both);
                sleep(Duration::from_micros(10)).await.expect("nothing of it is left");
            }
        });
    });
}

#[test]
fn cancelled_task_may_wait_in_its_clean_up_and_be_cancelled_there() {
    // lessons row 6; C6
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, mut writer, peer) = stream_pair().await;
            let steps = Rc::new(Cell::new(0));
            let seen = steps.clone();
            let task = create_task(async move {
                let error = reader.read(9).await.unwrap_err();
                assert!(cancelled(&error).is_some());
                sleep(SHORT).await.expect("the first wait of the clean-up");
                writer.write(b"good bye").unwrap();
                writer.drain().await.expect("the second");
                seen.set(1);
                sleep(PATIENCE).await.expect_err("a second cancel hits the clean-up");
                sleep(SHORT).await.expect("and again only once");
                seen.set(2);
                io::Result::<()>::Err(error)
            });
            turns(3).await;
            assert!(task.cancel());
            crate::support::until("the clean-up is under way", || steps.get() == 1).await;
            assert!(!task.cancelled());
            assert!(task.cancel());
            let error = task.await.unwrap_err();
            assert!(cancelled(&error).is_some());
            assert_eq!(steps.get(), 2);
            assert_eq!(crate::support::wire::read_all(peer), b"good bye");
            settled().await;
        });
    });
}

#[test]
fn cancel_and_completion_in_one_turn_lose_neither_value_nor_cancel() {
    // C10, L8: in both orders, for an operation of its own and for a stream
    each_profile(|_, runner| {
        runner.run(async {
            for (cancel_first, gap) in [(true, 0), (false, 0), (true, 1), (false, 1), (true, 2), (false, 2)] {
                let (descriptor, mut peer) = pipe();
                let task = create_task(async move {
                    let BufResult(first, buffer) = descriptor.read(vec![0; 8]).await;
                    let first = first.map(|count| buffer[..count].to_vec());
                    let next = sleep(Duration::from_micros(1)).await;
                    Ok::<_, CancelledError>((first, next, descriptor))
                });
                turns(3).await;
                let mut event = || peer.write_all(b"value").unwrap();
                if !cancel_first {
                    event();
                    turns(gap).await;
                }
                task.cancel();
                if cancel_first {
                    turns(gap).await;
                    event();
                }
                let (first, next, descriptor) = task.await.unwrap();
                let case = format!("cancel first: {cancel_first}, turns between: {gap}");
                match first {
                    Ok(value) => {
                        assert_eq!(value, b"value", "{case}");
                        // Unless the value was long there when the cancel came.
                        assert!(next.is_err(), "the cancel was lost, {case}");
                    }
                    Err(error) => {
                        assert!(cancelled(&error).is_some(), "{error}, {case}");
                        assert!(next.is_ok(), "the cancel came twice, {case}");
                        let BufResult(count, buffer) = wait_for(descriptor.read(vec![0; 8]), PATIENCE).await;
                        assert_eq!(&buffer[..count.unwrap()], b"value", "{case}");
                    }
                }
            }
            settled().await;
        });
    });
}

#[test]
fn value_that_comes_together_with_the_timeout_is_kept() {
    // WF6, L7
    each_profile(|_, runner| {
        runner.run(async {
            let (descriptor, mut peer) = pipe();
            let (mut got, mut timeouts) = (0, 0);
            for _ in 0..200 {
                let deadline = std::time::Instant::now() + Duration::from_micros(300);
                let read = ringio::timeout_at(deadline, async |_| descriptor.read(vec![0; 8]).await);
                let feed = async {
                    // Wakes at the same deadline, and writes in that very turn.
                    ringio::sleep_until(deadline).await.unwrap();
                    peer.write_all(b"x").unwrap();
                };
                let (BufResult(result, _), ()) = join!(read, feed);
                match result {
                    Ok(count) => got += count,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                        timeouts += 1;
                        got += wait_for(descriptor.read(vec![0; 8]), PATIENCE).await.0.unwrap();
                    }
                }
            }
            eprintln!("{timeouts} timeouts of 200");
            assert_eq!(got, 200);
        });
    });
}

#[test]
fn unordered_waits_under_a_timeout_all_end() {
    // C13: a foreign waker between the task and its waits
    each_profile(|_, runner| {
        runner.run(async {
            let ended = Rc::new(Cell::new(0));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut kept = Vec::new();
            let mut all = FuturesUnordered::new();
            for index in 0..60 {
                let (ended, listener) = (ended.clone(), listener.clone());
                let (descriptor, peer) = pipe();
                let (mut reader, writer, stream_peer) = stream_pair().await;
                kept.push((peer, writer, stream_peer));
                all.push(async move {
                    let error = match index % 5 {
                        0 => descriptor.read(vec![0; 8]).await.0.unwrap_err(),
                        1 => descriptor.readable().await.unwrap_err(),
                        2 => reader.readline().await.unwrap_err(),
                        3 => listener.accept().await.unwrap_err(),
                        _ => sleep(PATIENCE * 9).await.unwrap_err().into(),
                    };
                    assert!(cancelled(&error).is_some(), "{error}");
                    ended.set(ended.get() + 1);
                });
            }
            let error = wait_for(
                async {
                    while all.next().await.is_some() {}
                    sleep(Duration::ZERO).await.expect("the cancel was delivered to those");
                    io::Result::<()>::Err(CancelledError.into())
                },
                SHORT,
            );
            assert_timed_out(error.await);
            assert_eq!(ended.get(), 60);
            drop(kept);
            listener.close().await.unwrap();
            drop(all);
            settled().await;
        });
    });
}

#[test]
fn other_peoples_futures_end_with_the_timeout() {
    // C14
    each_profile(|_, runner| {
        runner.run(async {
            let (_sender, receiver) = oneshot::channel::<u8>();
            let foreign = async { receiver.await.map_err(io::Error::other) };
            assert_timed_out(wait_for(foreign, SHORT).await);
            assert_timed_out(wait_for(future::pending::<io::Result<()>>(), SHORT).await);
            // Beside a wait of ours, which ends by itself; after it there is nobody to see the cancel.
            let (_sender, receiver) = oneshot::channel::<u8>();
            let (descriptor, _peer) = pipe();
            let both = async {
                let (read, foreign) = join!(descriptor.read(vec![0; 8]), receiver);
                read.0.map(|_| foreign.ok())
            };
            assert_timed_out(wait_for(both, SHORT).await);
            // A value that is there is returned.
            let (sender, receiver) = oneshot::channel::<u8>();
            sender.send(7).unwrap();
            assert_eq!(wait_for(receiver.map(|value| value.map_err(io::Error::other)), SHORT).await.unwrap(), 7);
            // A cancel of the task passes through as what it is.
            let task = create_task(wait_for(future::pending::<io::Result<()>>(), PATIENCE));
            turns(3).await;
            task.cancel();
            let error = task.await.unwrap_err();
            assert!(cancelled(&error).is_some(), "{error}");
            settled().await;
        });
    });
}

#[test]
fn task_cancelled_through_many_layers_ends_once() {
    // C12: the awaited task takes the cancel, its outcome comes up
    each_profile(|_, runner| {
        runner.run(async {
            let (mut reader, _writer, mut peer) = stream_pair().await;
            let inner = create_task(async move {
                let error = reader.read(9).await.unwrap_err();
                assert!(cancelled(&error).is_some());
                let line = reader.readline().await?;
                io::Result::Ok(line)
            });
            let middle = create_task(async move { wait_for(inner, PATIENCE).await });
            let outer = create_task(middle);
            turns(5).await;
            outer.cancel();
            turns(5).await;
            assert!(!outer.done());
            peer.write_all(b"kept\n").unwrap();
            assert_eq!(wait_for(outer, PATIENCE).await.unwrap(), "kept\n");
        });
    });
}
