//! Contract 1.4: one operation of the kernel under a cancel.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::Write,
    pin::{Pin, pin},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use ringio::{
    BufResult, CancelledError, Descriptor, create_task, internals, sleep,
    testing::{self, Faults, Sim},
    yield_now,
};

use super::{cancel::me, in_time, is_cancel, on_ring, pairs, turns, until};

fn operations() -> usize {
    internals::counts().operations
}

/// Polls once; it has to be pending.
pub(super) async fn begin<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn operation_under_a_pending_cancel_is_not_submitted() {
    // L2
    on_ring(async || {
        let (reader, writer) = pairs::pipe();
        writer.write(&b"ab"[..]).await.0.unwrap();
        let task = create_task(async move {
            let before = operations();
            me().cancel();
            let BufResult(read, buffer) = reader.read(vec![0; 8]).await;
            assert!(is_cancel(&read.unwrap_err()));
            assert_eq!((operations(), buffer.len()), (before, 8));
            let BufResult(read, buffer) = reader.read(buffer).await;
            Ok::<_, CancelledError>((read.unwrap(), buffer))
        });
        assert_eq!(task.await, Ok((2, b"ab".to_vec())));
    });
}

#[test]
fn cancelled_operation_stays_pending_until_its_own_completion() {
    // L3: when the wait returns, nothing of it is left in the kernel.
    on_ring(async || {
        let (reader, writer) = pairs::pipe();
        let before = operations();
        let task = create_task(async move {
            let BufResult(read, buffer) = reader.read(vec![1; 8]).await;
            let left = operations();
            Ok::<_, CancelledError>((is_cancel(&read.unwrap_err()), buffer.len(), left))
        });
        turns(1).await;
        assert_eq!(operations(), before + 1);
        task.cancel();
        assert_eq!(task.await, Ok((true, 8, before)));
        drop(writer);
    });
}

#[test]
fn dropped_operation_is_cancelled_in_the_kernel() {
    // L6, C15
    on_ring(async || {
        let (reader, _writer) = pairs::pipe();
        let before = operations();
        {
            let mut read = pin!(reader.read(vec![0; 8]));
            begin(read.as_mut()).await;
            assert_eq!(operations(), before + 1);
        }
        until(|| operations() == before).await;
        // The descriptor is free for the next read.
        let mut read = pin!(reader.read(vec![0; 8]));
        begin(read.as_mut()).await;
    });
}

#[test]
fn wakes_of_one_turn_run_the_task_once() {
    // L8
    on_ring(async || {
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let polls = Rc::new(Cell::new(0));
        let (place, counted) = (waker.clone(), polls.clone());
        let task = create_task(async move {
            poll_fn(|cx| {
                counted.set(counted.get() + 1);
                place.replace(Some(cx.waker().clone()));
                if counted.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            Ok::<_, CancelledError>(())
        });
        turns(1).await;
        assert_eq!(polls.get(), 1);
        for expected in [2, 3] {
            let waker = waker.take().unwrap();
            waker.wake_by_ref();
            let cloned = waker.clone();
            cloned.wake();
            task.cancel();
            task.uncancel();
            waker.wake();
            turns(3).await;
            assert_eq!(polls.get(), expected);
        }
        task.await.unwrap();
    });
}

#[test]
fn wakes_while_running_give_one_more_step() {
    // L8: a wake during its own step is not lost, and counts once.
    on_ring(async || {
        let polls = Rc::new(Cell::new(0));
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (counted, place) = (polls.clone(), waker.clone());
        let task = create_task(async move {
            poll_fn(|cx| {
                counted.set(counted.get() + 1);
                if counted.get() == 1 {
                    cx.waker().wake_by_ref();
                    cx.waker().wake_by_ref();
                    let cloned = cx.waker().clone();
                    cloned.wake();
                }
                place.replace(Some(cx.waker().clone()));
                if counted.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        });
        turns(5).await;
        assert_eq!(polls.get(), 2);
        waker.take().unwrap().wake();
        task.await.unwrap();
    });
}

#[test]
fn wait_for_readiness_takes_nothing_and_can_be_cancelled() {
    // L3 for a poll
    on_ring(async || {
        let (reader, writer) = pairs::pipe();
        let reader = Rc::new(reader);
        let waited = reader.clone();
        let task = create_task(async move { waited.readable().await });
        turns(2).await;
        task.cancel();
        assert!(is_cancel(&task.await.unwrap_err()));
        writer.writable().await.unwrap();
        writer.write(&b"x"[..]).await.0.unwrap();
        reader.readable().await.unwrap();
        let BufResult(read, buffer) = reader.read(vec![0; 4]).await;
        assert_eq!((read.unwrap(), buffer), (1, b"x".to_vec()));
        yield_now().await.unwrap();
    });
}

#[test]
fn slot_goes_when_both_the_future_and_the_kernel_have_let_go_of_it() {
    // L1: in either order, and once.
    on_ring(async || {
        let before = operations();
        // The kernel first: what it answered stays until somebody looks, or nobody will.
        for look in [true, false] {
            let (reader, writer) = pairs::pipe();
            let mut read = Box::pin(reader.read(vec![0; 8]));
            begin(read.as_mut()).await;
            writer.write(&b"ab"[..]).await.0.unwrap();
            turns(3).await;
            assert_eq!(operations(), before + 1, "nobody has looked at it yet");
            if look {
                let BufResult(count, buffer) = read.as_mut().await;
                assert_eq!((count.unwrap(), &buffer[..]), (2, &b"ab"[..]));
                assert_eq!(operations(), before, "the finished future holds nothing");
            }
            drop(read);
            assert_eq!(operations(), before);
        }
        // The future first: the buffer stays with the kernel until that has answered.
        let (reader, _writer) = pairs::pipe();
        let mut read = Box::pin(reader.read(vec![0; 8]));
        begin(read.as_mut()).await;
        drop(read);
        assert_eq!(operations(), before + 1, "the kernel still has the buffer");
        until(|| operations() == before).await;
    });
}

#[test]
fn cancel_that_comes_too_late_leaves_the_verdict_to_the_operation() {
    // L5, L4: the operation is over in the kernel (ENOENT), and nobody has been told.
    // Or it is not quite over (EALREADY), or the cancel is faster.
    on_ring(async || {
        for rest in 0..3 {
            let (reader, writer) = std::io::pipe().unwrap();
            let reader = Descriptor::new(reader.into());
            let task = create_task(async move {
                let BufResult(read, buffer) = reader.read(vec![0; 8]).await;
                let next = yield_now().await;
                match read {
                    Ok(count) => assert_eq!((count, &buffer[..], next), (2, &b"ab"[..], Err(CancelledError))),
                    Err(error) => {
                        assert!(is_cancel(&error) && next.is_ok(), "{error}, {next:?}");
                        let BufResult(read, buffer) = reader.read(buffer).await;
                        assert_eq!((read.unwrap(), &buffer[..]), (2, &b"ab"[..]), "the bytes are still there");
                    }
                }
            });
            turns(1 + rest).await;
            (&writer).write_all(b"ab").unwrap();
            task.cancel();
            task.await.unwrap();
        }
    });
}

#[test]
fn cancel_that_is_lost_or_loses_leaves_the_verdict_to_the_operation() {
    // L5, S5 (design 4): a cancel that is not heard, comes late or finds its target at work (EALREADY). The wait goes on
    // until the operation's own completion, and that decides; the cancel is delivered once in any case.
    let (mut returned, mut cancelled) = (0, 0);
    for seed in 0..200 {
        let value = in_time(move || {
            let sim = Sim::new(seed).faults(Faults::CANCEL | Faults::DELAY | Faults::REORDER);
            sim.run(async {
                let (reader, writer) = testing::pipe().unwrap();
                let task = create_task(async move {
                    let BufResult(read, mut buffer) = reader.read(vec![0; 8]).await;
                    assert!(read.is_ok() || is_cancel(read.as_ref().unwrap_err()), "{read:?}");
                    let next = yield_now().await;
                    assert_eq!(read.is_ok(), next.is_err(), "delivered once");
                    let mut got = buffer[..read.unwrap_or(0)].to_vec();
                    // The simulation would see that the kernel still had it.
                    buffer.fill(7);
                    sleep(Duration::from_secs(2)).await?;
                    // What it did not take is there for the next one.
                    let BufResult(read, rest) = reader.read(vec![0; 8]).await;
                    let first = got.len();
                    got.extend(&rest[..read.unwrap()]);
                    assert_eq!(got, b"late", "{first} bytes came in the first read");
                    Ok::<_, CancelledError>(first > 0)
                });
                turns(2).await;
                task.cancel();
                sleep(Duration::from_millis(seed % 60)).await.unwrap();
                let BufResult(written, _) = writer.write(&b"la"[..]).await;
                assert_eq!(written.unwrap(), 2);
                sleep(Duration::from_secs(1)).await.unwrap();
                let BufResult(written, _) = writer.write(&b"te"[..]).await;
                assert_eq!(written.unwrap(), 2);
                task.await.unwrap()
            })
        });
        if value { returned += 1 } else { cancelled += 1 }
    }
    assert!(returned > 5 && cancelled > 5, "{returned} values and {cancelled} cancels in 200 worlds");
}
