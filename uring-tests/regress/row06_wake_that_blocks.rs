//! A wake waited for room in a bounded queue, and the loop for a lock that the waking thread held. A wake waits for nobody.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
};

use crate::contract::on_ring;

const WAKES: usize = 200_000;

#[test]
fn wakes_under_a_lock_that_the_loop_needs_as_well() {
    on_ring(async || {
        let shared: Arc<Mutex<(usize, Option<Waker>)>> = Arc::default();
        let other = shared.clone();
        let thread = thread::spawn(move || {
            for number in 1..=WAKES {
                let mut held = other.lock().unwrap();
                held.0 = number;
                if let Some(waker) = &held.1 {
                    waker.wake_by_ref();
                }
            }
        });
        poll_fn(|cx| {
            let mut held = shared.lock().unwrap();
            held.1 = Some(cx.waker().clone());
            if held.0 == WAKES { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        thread.join().unwrap();
    });
}
