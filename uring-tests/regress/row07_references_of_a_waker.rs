//! The count of a waker's references was sixteen bits wide, or went below zero. A hundred thousand clones are as good as one,
//! and the last one takes the task with it.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    thread,
};

use ringio::{CancelledError, create_task};

use crate::contract::{on_ring, turns};

const CLONES: usize = 100_000;

#[test]
fn hundred_thousand_clones_of_one_waker() {
    on_ring(async || {
        let body = Rc::new(());
        let held = body.clone();
        let (give, take) = futures::channel::oneshot::channel();
        let mut give = Some(give);
        let task = create_task(async move {
            poll_fn(|cx| match give.take() {
                Some(give) => {
                    give.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            drop(held);
            Ok::<_, CancelledError>(7)
        });
        let waker: Waker = take.await.unwrap();
        let mut clones: Vec<Waker> = (0..CLONES).map(|_| waker.clone()).collect();
        let elsewhere = clones.split_off(CLONES / 2);
        // Half of them go on another thread, used once each.
        let thread = thread::spawn(move || {
            for (number, clone) in elsewhere.into_iter().enumerate() {
                if number % 2 == 0 { clone.wake() } else { drop(clone) }
            }
        });
        for clone in clones {
            clone.wake();
        }
        assert_eq!(task.await, Ok(7));
        thread.join().unwrap();
        turns(2).await;
        waker.wake_by_ref();
        drop(waker);
        turns(2).await;
        assert_eq!(Rc::strong_count(&body), 1, "the body is gone");
    });
}
