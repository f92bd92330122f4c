//! How long does a wake from another thread take, both sides asleep? Guards: the doorbell. A round trip: the task
//! unparks its partner, the partner wakes the task.

use std::{
    future::poll_fn,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread::{self, JoinHandle, Thread},
};

use crate::placement;

static LOAD_CPU: OnceLock<usize> = OnceLock::new();
static PARTNER: OnceLock<Thread> = OnceLock::new();
static ASKED: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static ASKER: Mutex<Option<Waker>> = Mutex::new(None);

pub(super) fn start_partner(cpu: usize) {
    LOAD_CPU.get_or_init(|| cpu);
    PARTNER.get_or_init(|| thread::spawn(move || answer(cpu)).thread().clone());
}

/// A thread beside the loop, where the load runs.
pub(super) fn on_load_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(move || {
        settle(*LOAD_CPU.get().expect("set with the process"));
        work()
    })
}

fn settle(cpu: usize) {
    // Refused: then background work shows up in the figure.
    let _refused = placement::pin(cpu).and_then(|()| placement::real_time(1));
}

fn answer(cpu: usize) {
    settle(cpu);
    loop {
        let asked = ASKED.load(Ordering::Acquire);
        if ANSWERED.load(Ordering::Relaxed) == asked {
            thread::park();
            continue;
        }
        ANSWERED.store(asked, Ordering::Release);
        let asker = ASKER.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(asker) = asker {
            asker.wake();
        }
    }
}

pub(super) async fn round_trip() {
    let asked = ASKED.load(Ordering::Relaxed) + 1;
    let mut started = false;
    poll_fn(move |cx| {
        if ANSWERED.load(Ordering::Acquire) == asked {
            return Poll::Ready(());
        }
        *ASKER.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if !started {
            started = true;
            ASKED.store(asked, Ordering::Release);
            PARTNER.get().expect("started with the process").unpark();
        }
        // Answered between the check and the waker: nobody would wake this task.
        if ANSWERED.load(Ordering::Acquire) == asked { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
