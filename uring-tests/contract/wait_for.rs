//! Contract 5: wait_for.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use futures::channel::oneshot;
use ringio::{CancelledError, Event, Lock, Semaphore, TimeoutError, WaitForError, create_task, wait_for, yield_now};

use super::{Trace, cancel::me, forever, is_cancel, on_ring, pairs, turns, until};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);

fn is_timeout<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[test]
fn without_a_limit_it_is_a_plain_await() {
    // WF1
    on_ring(async || {
        assert_eq!(wait_for(async { io::Result::Ok(1) }, None).await.unwrap(), 1);
        let failed = wait_for(async { Err::<(), _>(io::Error::other("mine")) }, None).await;
        assert_eq!(failed.unwrap_err().to_string(), "mine");
        assert_eq!(wait_for(async { io::Result::Ok(2) }, LONG).await.unwrap(), 2);
    });
}

#[test]
fn future_runs_in_the_calling_task() {
    // WF2
    on_ring(async || {
        let caller = me();
        let same = wait_for(async { io::Result::Ok(me() == caller) }, LONG).await;
        assert!(same.unwrap());
    });
}

#[test]
fn task_is_cancelled_and_awaited_to_its_end() {
    // WF2: clean-up may take longer than the limit.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            let ended = forever().await;
            turns(5).await;
            log.add("cleaned");
            io::Result::Ok(ended?)
        });
        let any = task.to_any();
        assert!(is_timeout(&wait_for(task, SHORT).await));
        assert_eq!(trace.take(), "cleaned");
        assert!(any.done() && any.cancelled());
        turns(1).await;
    });
}

#[test]
fn limit_of_zero_does_not_start_a_future() {
    // WF3
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let result = wait_for(
            async move {
                log.add("started");
                io::Result::Ok(())
            },
            Duration::ZERO,
        )
        .await;
        assert!(is_timeout(&result));
        assert_eq!(trace.take(), "");
    });
}

#[test]
fn limit_of_zero_gives_the_result_of_a_task_that_is_done() {
    // WF3: done → result
    on_ring(async || {
        let task = create_task(async { io::Result::Ok(5) });
        until(|| task.done()).await;
        assert_eq!(wait_for(task, Duration::ZERO).await.unwrap(), 5);
    });
}

#[test]
fn limit_of_zero_cancels_a_task_and_awaits_it() {
    // WF3: Task → cancelled, awaited, then TimeoutError
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let task = create_task(async move {
            let ended = forever().await;
            turns(2).await;
            log.add("cleaned");
            io::Result::Ok(ended?)
        });
        turns(1).await;
        let any = task.to_any();
        assert!(is_timeout(&wait_for(task, Duration::ZERO).await));
        assert!(any.done() && any.cancelled(), "{any:?}");
        assert_eq!(trace.take(), "cleaned");
    });
}

#[test]
fn what_the_inner_one_makes_of_its_cancel_wins() {
    // WF4: a value, another error; as a future and as a task.
    on_ring(async || {
        let suppresses = async || {
            assert_eq!(forever().await, Err(CancelledError));
            turns(2).await;
            io::Result::Ok(7)
        };
        assert_eq!(wait_for(suppresses(), SHORT).await.unwrap(), 7);
        assert_eq!(wait_for(create_task(suppresses()), SHORT).await.unwrap(), 7);
        let fails = async || {
            let _ = forever().await;
            Err::<(), _>(io::Error::other("mine"))
        };
        assert_eq!(wait_for(fails(), SHORT).await.unwrap_err().to_string(), "mine");
        assert_eq!(wait_for(create_task(fails()), SHORT).await.unwrap_err().to_string(), "mine");
        turns(2).await;
    });
}

#[test]
fn cancel_of_the_waiter_ends_the_inner_one_first() {
    // WF5
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let outer = create_task(async move {
            let seen = log.clone();
            let inner = create_task(async move {
                let ended = forever().await;
                turns(3).await;
                seen.add("inner");
                io::Result::Ok(ended?)
            });
            let result = wait_for(inner, LONG).await;
            log.add("outer");
            result
        });
        turns(3).await;
        outer.cancel();
        let any = outer.to_any();
        assert!(is_cancel(&outer.await.unwrap_err()));
        assert_eq!(trace.take(), "inner outer");
        assert!(any.cancelled());
    });
}

#[test]
fn cancel_of_the_waiter_is_not_swallowed_when_the_inner_one_ends_in_the_same_turn() {
    // WF5 (gh-86296), C10: the cancel is delivered, and the value stays in the task, for whoever has its handle.
    on_ring(async || {
        let (send, receive) = oneshot::channel();
        let inner = create_task(async move { io::Result::Ok(receive.await.unwrap()) });
        let outer = create_task(async move {
            let mut inner = inner;
            let first = wait_for(&mut inner, LONG).await;
            let next = yield_now().await;
            io::Result::Ok((inner.await?, first.is_err_and(|error| is_cancel(&error)), next))
        });
        turns(2).await;
        send.send(9).unwrap();
        turns(1).await;
        outer.cancel();
        assert_eq!(outer.await.unwrap(), (9, true, Ok(())));
    });
}

#[test]
fn read_that_times_out_loses_no_byte() {
    // WF6
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(1024).await;
        let mut received = Vec::new();
        let mut sent = Vec::new();
        for number in 0..200u8 {
            far.write(&[number]).unwrap();
            sent.push(number);
            // The limit is over at about the time the byte arrives.
            match wait_for(reader.read(16), Duration::from_micros(u64::from(number) * 2 + 1)).await {
                Ok(bytes) => received.extend_from_slice(&bytes),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        far.write_eof().unwrap();
        loop {
            let bytes = reader.read(16).await.unwrap();
            if bytes.is_empty() {
                break;
            }
            received.extend_from_slice(&bytes);
        }
        assert_eq!(received, sent);
    });
}

#[test]
fn accept_that_times_out_loses_no_connection() {
    // WF6
    on_ring(async || {
        let listener = Rc::new(ringio::TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let clients: Rc<RefCell<Vec<_>>> = Rc::default();
        let made = clients.clone();
        let connects = create_task(async move {
            for _ in 0..20 {
                let client = ringio::TcpStream::connect(address).await?;
                made.borrow_mut().push(client);
            }
            io::Result::Ok(())
        });
        let mut accepted = Vec::new();
        while accepted.len() < 20 {
            match wait_for(listener.accept(), Duration::from_micros(20)).await {
                Ok((stream, _)) => accepted.push(stream.peer_addr().unwrap()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        connects.await.unwrap();
        let expected: Vec<_> = clients.borrow().iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(accepted, expected);
    });
}

#[test]
fn waits_that_only_a_cancel_ends_have_room_for_a_timeout() {
    // WF1, WF3, LK2, SE4, EV1: as `wait_for(lock.acquire(), 1)`.
    on_ring(async || {
        const OVER: WaitForError = WaitForError::Timeout(TimeoutError);
        let (lock, semaphore, event) = (Lock::new(), Semaphore::new(1), Event::new());
        let guard = wait_for(lock.acquire(), LONG).await.unwrap();
        assert_eq!(wait_for(lock.acquire(), SHORT).await.unwrap_err(), OVER);
        assert_eq!(wait_for(lock.acquire(), Duration::ZERO).await.unwrap_err(), OVER);
        assert_eq!(lock.statistics().waiting, 0);
        drop(guard);
        assert!(wait_for(lock.acquire(), SHORT).await.is_ok() && !lock.locked());
        let permit = semaphore.acquire().await.unwrap();
        assert_eq!(wait_for(semaphore.acquire(), SHORT).await.unwrap_err(), OVER);
        drop(permit);
        assert_eq!(wait_for(event.wait(), SHORT).await.unwrap_err(), OVER);
        let inner = event.clone();
        let waiting = create_task(async move { wait_for(inner.wait(), LONG).await });
        turns(1).await;
        waiting.cancel();
        let any = waiting.to_any();
        assert_eq!(waiting.await, Err(WaitForError::Cancelled(CancelledError)));
        assert!(any.cancelled(), "C8");
    });
}

#[test]
fn its_error_says_what_that_of_the_body_is() {
    // X2: the type of the body's error comes from what is made of the result, also where that is the only place.
    async fn plain(lock: &Lock) -> io::Result<u32> {
        wait_for(
            async {
                let _guard = lock.acquire().await?;
                Ok(1)
            },
            LONG,
        )
        .await
    }
    async fn all(lock: &Lock) -> Result<u32, ringio::Error> {
        let guard = wait_for(lock.acquire(), SHORT).await;
        assert!(matches!(guard.map(drop).map_err(ringio::Error::from), Err(ringio::Error::Timeout(_))));
        drop(wait_for(lock.acquire(), SHORT).await?);
        wait_for(async { Ok(yield_now().await.map(|()| 2)?) }, LONG).await
    }
    on_ring(async || {
        let lock = Lock::new();
        assert_eq!(plain(&lock).await.unwrap(), 1);
        let guard = lock.acquire().await.unwrap();
        assert!(matches!(all(&lock).await, Err(ringio::Error::Timeout(_))));
        drop(guard);
        assert_eq!(io::Error::from(WaitForError::from(TimeoutError)).kind(), io::ErrorKind::TimedOut);
        assert!(is_cancel(&io::Error::from(WaitForError::from(CancelledError))));
    });
}
