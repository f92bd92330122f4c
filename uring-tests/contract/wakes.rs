//! Wakes from other threads, and wakers that outlive what they wake.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread,
};

use futures::channel::oneshot;
use ringio::{CancelledError, create_task, yield_now};

use super::{forever, in_time, on_ring, turns};

/// A flag that any thread may set, and one task waits for.
#[derive(Clone, Default)]
struct Flag(Arc<(AtomicBool, Mutex<Option<Waker>>)>);

impl Flag {
    fn set(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        let waker = self.0.1.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            *self.0.1.lock().unwrap() = Some(cx.waker().clone());
            if self.0.0.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

const THREADS: usize = 8;

/// Starts `THREADS` threads that call `wake` at the same moment.
fn storm(wake: impl Fn() + Send + Sync + 'static) -> Vec<thread::JoinHandle<()>> {
    let (wake, start) = (Arc::new(wake), Arc::new(Barrier::new(THREADS)));
    let one = || {
        let (wake, start) = (wake.clone(), start.clone());
        thread::spawn(move || {
            start.wait();
            wake();
        })
    };
    (0..THREADS).map(|_| one()).collect()
}

/// This task's waker, for another thread.
async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

fn join_all(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn wake_from_a_thread_reaches_a_loop_that_goes_to_sleep() {
    // W4, D1: the wake comes at any moment of the falling asleep.
    on_ring(async || {
        for _ in 0..500 {
            let flag = Flag::default();
            let set = flag.clone();
            let thread = thread::spawn(move || set.set());
            flag.wait().await;
            thread.join().unwrap();
        }
    });
}

#[test]
fn wake_from_a_thread_during_a_step_keeps_the_loop_awake() {
    // D1: it comes after the loop has looked into its inbox and before it says that it falls asleep.
    on_ring(async || {
        let mut woken = false;
        poll_fn(|cx| {
            if woken {
                return Poll::Ready(());
            }
            woken = true;
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        })
        .await;
    });
}

#[test]
fn oneshot_from_eight_threads_reaches_every_task() {
    on_ring(async || {
        for round in 0..40 {
            let mut tasks = Vec::new();
            let threads = (0..THREADS).map(|number| {
                let (send, receive) = oneshot::channel();
                tasks.push(create_task(async move { Ok::<_, CancelledError>(receive.await.unwrap()) }));
                thread::spawn(move || send.send(round * THREADS + number).unwrap())
            });
            let threads: Vec<_> = threads.collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await, Ok(round * THREADS + number));
            }
            join_all(threads);
        }
    });
}

#[test]
fn wakes_from_eight_threads_while_the_task_ends() {
    // L8, W2: some come before the end, some after it, some while its memory is used again.
    on_ring(async || {
        for round in 0..100 {
            let (give, take) = oneshot::channel();
            let task = create_task(async move {
                give.send(waker().await).unwrap();
                for _ in 0..round % 4 {
                    yield_now().await?;
                }
                Ok::<_, CancelledError>(round)
            });
            let waker = take.await.unwrap();
            let threads = storm(move || {
                waker.wake_by_ref();
                let cloned = waker.clone();
                cloned.wake();
            });
            assert_eq!(task.await, Ok(round));
            turns(2).await;
            join_all(threads);
        }
    });
}

#[test]
fn wakers_work_after_their_task_and_their_runtime_are_gone() {
    // W2, W3: used, cloned, compared and dropped, here and on other threads.
    in_time(|| {
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let place = wakers.clone();
        ringio::run(async {
            for _ in 0..THREADS {
                let place = place.clone();
                create_task(async move {
                    let own = waker().await;
                    place.lock().unwrap().push(own);
                    forever().await
                });
            }
            turns(2).await;
            let own = waker().await;
            wakers.lock().unwrap().push(own);
        });
        let use_up = |waker: Waker| {
            assert!(waker.will_wake(&waker.clone()));
            waker.wake_by_ref();
            let cloned = waker.clone();
            cloned.wake();
            drop(waker.clone());
            waker.wake();
        };
        let threads: Vec<_> = {
            let wakers = wakers.lock().unwrap();
            let threads = wakers.iter().cloned().map(|waker| thread::spawn(move || use_up(waker)));
            threads.collect()
        };
        ringio::run(async {
            // In another runtime on the thread of the first one.
            for waker in wakers.lock().unwrap().drain(..) {
                use_up(waker);
            }
            turns(2).await;
        });
        join_all(threads);
    });
}

#[test]
fn wakes_from_eight_threads_while_the_runtime_goes() {
    in_time(|| {
        for _ in 0..50 {
            let (give, take) = std::sync::mpsc::channel();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = stop.clone();
            let waking = thread::spawn(move || {
                let waker: Waker = take.recv().unwrap();
                let threads = storm(move || {
                    while !stopped.load(Ordering::Relaxed) {
                        waker.wake_by_ref();
                    }
                });
                join_all(threads);
            });
            ringio::run(async {
                create_task(async move {
                    give.send(waker().await).unwrap();
                    forever().await
                });
                turns(5).await;
            });
            stop.store(true, Ordering::Relaxed);
            waking.join().unwrap();
        }
    });
}

#[test]
fn a_million_wakes_from_a_thread_while_the_loop_runs() {
    const WAKES: u64 = 1_000_000;
    on_ring(async || {
        let woken = Arc::new(AtomicU64::new(0));
        let waker = waker().await;
        let counted = woken.clone();
        let thread = thread::spawn(move || {
            for _ in 0..WAKES {
                counted.fetch_add(1, Ordering::Relaxed);
                waker.wake_by_ref();
            }
        });
        let steps = Rc::new(RefCell::new(0u64));
        let counting = steps.clone();
        let beside = create_task(async move {
            loop {
                *counting.borrow_mut() += 1;
                yield_now().await?;
            }
            #[expect(unreachable_code, reason = "says of which type the result is")]
            Ok::<(), CancelledError>(())
        });
        // Ends only if the last wake is not lost: nothing else wakes this task.
        poll_fn(|_| if woken.load(Ordering::Relaxed) == WAKES { Poll::Ready(()) } else { Poll::Pending }).await;
        thread.join().unwrap();
        assert!(*steps.borrow() > 0);
        beside.cancel();
        assert_eq!(beside.await, Err(CancelledError));
    });
}

#[test]
fn last_wake_is_never_lost_between_two_sleeping_loops() {
    // Two runtimes play ball over flags: any lost wake is a hang.
    in_time(|| {
        const ROUNDS: usize = 2000;
        let flags: Arc<Vec<(Flag, Flag)>> = Arc::new((0..ROUNDS).map(|_| Default::default()).collect());
        let there = flags.clone();
        let thread = thread::spawn(move || {
            ringio::run(async {
                for (ping, pong) in there.iter() {
                    ping.wait().await;
                    pong.set();
                }
            });
        });
        ringio::run(async {
            for (ping, pong) in flags.iter() {
                ping.set();
                pong.wait().await;
            }
        });
        thread.join().unwrap();
    });
}

#[test]
fn task_awaited_from_another_executor_is_woken_there() {
    // A foreign waker inside the runtime: what FuturesUnordered or a hand-made executor passes.
    on_ring(async || {
        struct Count(AtomicU64);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicU64::new(0)));
        let foreign = Waker::from(count.clone());
        let mut cx = std::task::Context::from_waker(&foreign);
        let mut task = create_task(async { Ok::<_, CancelledError>(1) });
        assert!(std::pin::Pin::new(&mut task).poll(&mut cx).is_pending());
        turns(2).await;
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(std::pin::Pin::new(&mut task).poll(&mut cx), Poll::Ready(Ok(1)));
    });
}
