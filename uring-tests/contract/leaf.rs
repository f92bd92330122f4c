//! Contract 1.4: one operation of the kernel under a cancel.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Poll, Waker},
};

use ringio::{BufResult, CancelledError, create_task, internals, yield_now};

use super::{cancel::me, is_cancel, on_ring, pairs, turns, until};

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
