//! Contract 1.5: what a cancel of the waiter does, at every wait for a task. Enumerated: each wait, cancelled, timed out,
//! both at once, and dropped; and each with the task ending in the same turn, before and after the cancel.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use futures::channel::oneshot;
use ringio::{
    AnyTask, Error, Task, TaskGroup, as_completed, create_task, gather, shield, sleep_until, testing, timeout_at, wait,
    wait_for, yield_now,
};

use super::{busy_until, forever, in_time, is_cancel, on_ring, turns, until};

type Inner = Task<u8, io::Error>;
type Waiting = Pin<Box<dyn Future<Output = io::Result<u8>>>>;

/// One await point.
struct Row {
    name: &'static str,
    wait: fn(Inner) -> Waiting,
    /// A cancel of the waiter goes to the task.
    passed: bool,
    /// The waiter waits for the end of the task.
    waits: bool,
    /// The task is cancelled when the wait is dropped.
    cancelled_by_drop: bool,
}

const PLAIN: Row = Row { name: "", wait: await_task, passed: false, waits: false, cancelled_by_drop: false };

const ROWS: &[Row] = &[
    Row { name: "await", passed: true, waits: true, ..PLAIN },
    Row { name: "wait_done", wait: await_done, ..PLAIN },
    Row { name: "gather", wait: await_gather, passed: true, waits: true, ..PLAIN },
    Row { name: "gather results", wait: await_results, passed: true, waits: true, ..PLAIN },
    Row { name: "wait", wait: await_wait, ..PLAIN },
    Row { name: "as_completed", wait: await_next, ..PLAIN },
    Row { name: "as_completed, plain", wait: await_completed, ..PLAIN },
    Row { name: "wait_for", wait: await_limited, passed: true, waits: true, ..PLAIN },
    Row { name: "shield", wait: await_shield, ..PLAIN },
    Row { name: "group", wait: await_group, passed: true, waits: true, cancelled_by_drop: true },
];

fn await_task(inner: Inner) -> Waiting {
    Box::pin(inner)
}

fn await_done(inner: Inner) -> Waiting {
    Box::pin(async move {
        inner.wait_done().await?;
        inner.await
    })
}

fn await_gather(inner: Inner) -> Waiting {
    Box::pin(async move { Ok(gather([inner]).await?[0]) })
}

fn await_results(inner: Inner) -> Waiting {
    Box::pin(async move { gather([inner]).return_exceptions().await?.remove(0) })
}

fn await_wait(inner: Inner) -> Waiting {
    Box::pin(async move {
        let mut waited = wait([inner]).await.map_err(io::Error::from)?;
        waited.done.remove(0).await
    })
}

fn await_next(inner: Inner) -> Waiting {
    Box::pin(async move {
        let next = as_completed([inner]).next().await;
        next.ok_or(io::ErrorKind::NotFound)?.map_err(|error: Error| io::Error::from(error))?.await
    })
}

fn await_completed(inner: Inner) -> Waiting {
    Box::pin(async move { as_completed([inner]).into_iter().next().ok_or(io::ErrorKind::NotFound)?.await })
}

fn await_limited(inner: Inner) -> Waiting {
    Box::pin(wait_for(inner, Duration::from_secs(3600)))
}

fn await_shield(inner: Inner) -> Waiting {
    Box::pin(shield(inner))
}

/// The task is awaited by a child.
fn await_group(inner: Inner) -> Waiting {
    Box::pin(async move {
        let ended = TaskGroup::scope(async move |group| {
            let child = group.create_task(inner);
            child.wait_done().await?;
            child.await
        });
        Ok(ended.await?)
    })
}

/// A task that only a cancel ends, and that takes three turns over it.
fn stays() -> (Inner, AnyTask) {
    let task = create_task(async {
        let ended = forever().await;
        for _ in 0..3 {
            let _ = yield_now().await; // it may be cancelled twice
        }
        Ok(ended.map(|()| 0)?)
    });
    let any = task.to_any();
    (task, any)
}

fn assert_passed(row: &Row, case: &str, task: &AnyTask) {
    let Row { name, passed, waits, .. } = row;
    assert_eq!(task.cancelling() > 0, *passed, "{name}, {case}: is the task cancelled?");
    assert_eq!(task.done(), *waits, "{name}, {case}: has the task ended?");
}

/// On the real ring, and on virtual time.
fn everywhere(body: impl AsyncFn() + Copy + Send + 'static) {
    on_ring(body);
    in_time(move || testing::run_virtual(body()));
}

#[test]
fn cancel_of_the_waiter() {
    everywhere(async || {
        for row in ROWS {
            let (inner, task) = stays();
            let waiter = create_task((row.wait)(inner));
            turns(4).await;
            waiter.cancel();
            let error = waiter.await.unwrap_err();
            assert!(is_cancel(&error), "{}: {error}", row.name);
            assert_passed(row, "cancelled", &task);
            yield_now().await.unwrap();
        }
    });
}

#[test]
fn timeout_of_the_waiter() {
    everywhere(async || {
        for row in ROWS {
            let (inner, task) = stays();
            let error = wait_for((row.wait)(inner), Duration::from_millis(1)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{}: {error}", row.name);
            assert_passed(row, "timed out", &task);
            yield_now().await.unwrap_or_else(|_| panic!("{}: the timeout's cancel comes again", row.name));
        }
    });
}

#[test]
fn timeout_and_cancel_from_outside_at_once() {
    // TO8: the cancel wins; in both orders.
    on_ring(async || {
        for row in ROWS {
            for timeout_first in [false, true] {
                let (inner, task) = stays();
                let waiting = (row.wait)(inner);
                let deadline = Instant::now() + Duration::from_millis(2);
                let waiter = create_task(timeout_at(deadline, async move |_| waiting.await));
                turns(4).await;
                if timeout_first {
                    // Made after the timeout's timer, for the same instant: we run in the turn in which that has fired.
                    sleep_until(deadline).await.unwrap();
                } else {
                    busy_until(deadline);
                }
                waiter.cancel();
                let any = waiter.to_any();
                let error = waiter.await.unwrap_err();
                let case = format!("{}, timeout first: {timeout_first}: {error}", row.name);
                // A machine that was late saw the timeout alone, before the cancel.
                assert!(is_cancel(&error) || timeout_first && error.kind() == io::ErrorKind::TimedOut, "{case}");
                assert!(any.cancelling() <= 1);
                assert_passed(row, "both", &task);
            }
        }
    });
}

#[test]
fn timeout_and_cancel_from_outside_at_one_instant() {
    // TO8, where both are known to come in the same turn; in both orders.
    in_time(|| testing::run_virtual(at_one_instant()));
}

async fn at_one_instant() {
    for row in ROWS {
        for timeout_first in [false, true] {
            let (inner, task) = stays();
            let waiting = (row.wait)(inner);
            let deadline = testing::now() + Duration::from_millis(2);
            let target: Rc<RefCell<Option<AnyTask>>> = Rc::default();
            let found = target.clone();
            let cancel = async move {
                sleep_until(deadline).await?;
                found.borrow().as_ref().expect("made by now").cancel();
                Ok::<_, io::Error>(())
            };
            let limited = timeout_at(deadline, async move |_| waiting.await);
            // Timers of one instant fire in the order in which they were made.
            let (waiter, canceller);
            if timeout_first {
                waiter = create_task(limited);
                turns(4).await;
                canceller = create_task(cancel);
            } else {
                canceller = create_task(cancel);
                turns(4).await;
                waiter = create_task(limited);
            }
            target.replace(Some(waiter.to_any()));
            turns(4).await;
            let any = waiter.to_any();
            let error = waiter.await.unwrap_err();
            let case = format!("{}, timeout first: {timeout_first}: {error}", row.name);
            // The waiter may have ended before the canceller ran.
            let ended_first = timeout_first && any.cancelling() == 0;
            assert_eq!(is_cancel(&error), !ended_first, "{case}");
            assert!(ended_first || !row.waits || error.kind() != io::ErrorKind::TimedOut, "{case}");
            canceller.await.unwrap();
            assert_passed(row, "at one instant", &task);
            task.cancel();
            turns(6).await;
        }
    }
}

#[test]
fn wait_that_is_dropped() {
    // C15: the task runs on, and nothing refers to the wait.
    everywhere(async || {
        for row in ROWS {
            let (inner, task) = stays();
            let mut waiting = (row.wait)(inner);
            std::future::poll_fn(|cx| {
                assert!(waiting.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            turns(4).await;
            drop(waiting);
            turns(6).await;
            assert_eq!(task.done(), row.cancelled_by_drop, "{}", row.name);
            task.cancel();
            until(|| task.done()).await;
            yield_now().await.unwrap();
        }
    });
}

#[test]
fn task_that_ends_in_the_same_turn() {
    // C10, in both orders: either the value comes out and the cancel at the next wait, or the cancel at once.
    everywhere(async || {
        for row in ROWS {
            for cancel_first in [false, true] {
                let (send, receive) = oneshot::channel();
                let inner = create_task(async move { receive.await.map_err(io::Error::other) });
                let task = inner.to_any();
                let waiting = (row.wait)(inner);
                let waiter = create_task(async move {
                    let ended = waiting.await;
                    Ok::<_, io::Error>((ended, yield_now().await))
                });
                turns(4).await;
                if cancel_first {
                    waiter.cancel();
                    send.send(9).unwrap();
                } else {
                    send.send(9).unwrap();
                    until(|| task.done()).await; // who waits is woken, and runs after us
                    waiter.cancel();
                }
                let (ended, next) = waiter.await.unwrap();
                let case = format!("{}, cancel first: {cancel_first}: {ended:?}, {next:?}", row.name);
                match ended {
                    Ok(value) => assert!(value == 9 && (next.is_err() || row.passed), "{case}"),
                    Err(error) => assert!(is_cancel(&error) && next.is_ok(), "{case}"),
                }
            }
        }
    });
}
