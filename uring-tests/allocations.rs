//! What waits and what is handed over allocates nothing, counted by the allocator of this test binary.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use ringio::{CancelledError, Event, Lock, Queue, Runner, Semaphore, Task, create_task, yield_now};

struct Counting;

thread_local! {
    /// Of this thread, so that tests may run beside each other.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every call is passed on to System unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the second of two rounds: the first one warms up.
async fn in_second_round(mut round: impl AsyncFnMut()) -> usize {
    round().await;
    let before = CALLS.get();
    round().await;
    CALLS.get() - before
}

#[test]
fn allocator_counts() {
    let before = CALLS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.get() - before, 1);
}

#[test]
fn warm_queue_allocates_nothing() {
    ringio::run(async {
        let queue = Queue::new(16);
        let calls = in_second_round(async || {
            for round in 0..20 {
                for item in 0..16 {
                    queue.put(item + round).await.unwrap();
                }
                for _ in 0..16 {
                    queue.get().await.unwrap();
                }
            }
        });
        assert_eq!(calls.await, 0);
    });
}

#[test]
fn waiting_for_a_queue_allocates_nothing() {
    ringio::run(async {
        let (there, back) = (Queue::new(1), Queue::new(1));
        let (hears, says) = (there.clone(), back.clone());
        create_task(async move {
            while let Ok(item) = hears.get().await {
                let _ = says.put(item).await;
            }
        });
        let calls = in_second_round(async || {
            for item in 0..100 {
                there.put(item).await.unwrap();
                assert_eq!(back.get().await, Ok(item));
            }
        });
        assert_eq!(calls.await, 0);
        there.shutdown(false);
    });
}

#[test]
fn waiting_for_locks_and_events_allocates_nothing() {
    ringio::run(async {
        let (lock, semaphore, event) = (Lock::new(), Semaphore::new(0), Event::new());
        for _ in 0..20 {
            let (lock, semaphore, event) = (lock.clone(), semaphore.clone(), event.clone());
            create_task(async move {
                loop {
                    semaphore.acquire().await?.forget();
                    let guard = lock.acquire().await?;
                    yield_now().await?;
                    drop(guard);
                    event.wait().await?;
                }
                #[expect(unreachable_code, reason = "says what the task's error is")]
                Ok::<_, CancelledError>(())
            });
        }
        let calls = in_second_round(async || {
            for _ in 0..5 {
                (0..20).for_each(|_| semaphore.release());
                for _ in 0..50 {
                    yield_now().await.unwrap();
                }
                event.set();
                event.clear();
            }
        });
        assert_eq!(calls.await, 0);
    });
}

#[test]
fn child_of_a_gather_costs_its_task_and_nothing_else() {
    // The memory of tasks is kept for the next ones, so that a warm round has what is per gather: the list of the tasks, what
    // has arrived, who waits, the values, and one for the children's numbers.
    ringio::run(async {
        let few = in_second_round(async || drop(gathered(10).await)).await;
        let many = in_second_round(async || drop(gathered(1000).await)).await;
        assert!(few <= 8 && many <= 8, "{few} for 10, {many} for 1000");
    });
}

async fn gathered(count: u32) -> Vec<u32> {
    let children = (0..count).map(async |number| {
        yield_now().await?;
        Ok::<_, CancelledError>(number)
    });
    ringio::gather(children).await.unwrap()
}

#[test]
fn warm_timeout_allocates_nothing() {
    ringio::run(async {
        let round = async || {
            let limited = ringio::timeout(std::time::Duration::from_secs(3600), async |_| {
                yield_now().await?;
                Ok::<_, ringio::Error>(())
            });
            limited.await.unwrap();
        };
        assert_eq!(in_second_round(round).await, 0);
    });
}

#[test]
fn watched_steps_allocate_nothing() {
    let limit = std::time::Duration::from_secs(30);
    Runner::builder().watchdog(limit).build().unwrap().run(async {
        let named = Task::builder().name("named").spawn(async { while yield_now().await.is_ok() {} });
        let calls = in_second_round(async || {
            for _ in 0..100 {
                yield_now().await.unwrap();
            }
        });
        assert_eq!(calls.await, 0);
        named.cancel();
    });
}
