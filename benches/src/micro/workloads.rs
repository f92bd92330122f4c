//! The workloads, once, for every runtime. Each returns one figure: the median of its repeats, in ns per item.

use std::{
    future::poll_fn,
    hint::black_box,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use super::{Row, allocations, channel::Slot, wake};
use crate::{child, report::median};

/// Odd, so that the median is a value that occurred.
pub(super) const REPEATS: usize = 31;
pub(super) const BATCH: u64 = 1000;
const TIMERS: u64 = 10_000;

/// What a workload needs of a runtime.
pub(super) trait Runtime: 'static {
    /// Makes a runtime and runs `future` on it.
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64;
    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static;
    fn yield_now() -> impl Future<Output = ()>;
    fn sleep(duration: Duration) -> impl Future<Output = ()>;
}

/// The rows that every runtime has.
pub(super) fn rows<R: Runtime>() -> Vec<Row> {
    let ns = |name, run| Row { name, unit: "ns", run };
    vec![
        ns("spawn-join-batch", || R::block_on(spawn_batch::<R>())),
        ns("spawn-join-one", || R::block_on(spawn_one::<R>())),
        ns("yield-1", || R::block_on(yield_one::<R>())),
        ns("yield-100", || R::block_on(yield_hundred::<R>())),
        ns("ping-pong", || R::block_on(ping_pong::<R>())),
        ns("timer-arm-cancel", || R::block_on(timer_arm_cancel::<R>())),
        ns("timers-10k-cpu", || R::block_on(timers::<R>())),
        ns("wake-thread", || R::block_on(wake_thread())),
        Row { name: "task-bytes", unit: "B", run: || R::block_on(task_memory::<R>(0, |a| a.growth as f64)) },
        Row { name: "task-allocations", unit: "", run: || R::block_on(task_memory::<R>(0, |a| a.calls as f64)) },
        Row { name: "respawn-allocations", unit: "", run: || R::block_on(task_memory::<R>(2, |a| a.calls as f64)) },
    ]
}

/// Median over `repeats` runs of `work`, each of `items`.
pub(super) fn median_ns(repeats: usize, items: u64, mut work: impl FnMut()) -> f64 {
    let mut clock = Clock::new(items);
    for _ in 0..=repeats {
        clock.start();
        work();
        clock.stop();
    }
    clock.median_ns()
}

pub(super) struct Clock {
    items: u64,
    started: Instant,
    samples_ns: Vec<f64>,
}

impl Clock {
    pub(super) fn new(items: u64) -> Clock {
        Clock { items, started: Instant::now(), samples_ns: Vec::with_capacity(REPEATS + 1) }
    }

    pub(super) fn start(&mut self) {
        self.started = Instant::now();
    }

    pub(super) fn stop(&mut self) {
        let elapsed = self.started.elapsed();
        self.samples_ns.push(elapsed.as_nanos() as f64 / self.items as f64);
    }

    /// Without the first, which warms up.
    pub(super) fn median_ns(&mut self) -> f64 {
        median(&mut self.samples_ns[1..])
    }
}

/// 1,000 tasks spawned, then all joined: ns per task.
async fn spawn_batch<R: Runtime>() -> f64 {
    let mut clock = Clock::new(BATCH);
    let mut tasks = Vec::with_capacity(BATCH as usize);
    for _ in 0..=REPEATS {
        clock.start();
        tasks.extend((0..BATCH).map(|value| R::spawn(async move { value })));
        let mut sum = 0;
        for task in tasks.drain(..) {
            sum += task.await;
        }
        clock.stop();
        assert_eq!(sum, BATCH * (BATCH - 1) / 2);
    }
    clock.median_ns()
}

/// One task spawned and joined, again and again.
async fn spawn_one<R: Runtime>() -> f64 {
    let mut clock = Clock::new(BATCH);
    for _ in 0..=REPEATS {
        clock.start();
        for value in 0..BATCH {
            assert_eq!(R::spawn(async move { value }).await, value);
        }
        clock.stop();
    }
    clock.median_ns()
}

async fn yield_one<R: Runtime>() -> f64 {
    let mut clock = Clock::new(10 * BATCH);
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..10 * BATCH {
            R::yield_now().await;
        }
        clock.stop();
    }
    clock.median_ns()
}

async fn yield_hundred<R: Runtime>() -> f64 {
    const TASKS: u64 = 100;
    let mut clock = Clock::new(TASKS * BATCH);
    for _ in 0..=REPEATS {
        clock.start();
        let yields = |value| async move {
            for _ in 0..BATCH {
                R::yield_now().await;
            }
            value
        };
        let tasks: Vec<_> = (0..TASKS).map(|value| R::spawn(yields(value))).collect();
        for task in tasks {
            black_box(task.await);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// Two tasks hand a number to and fro: ns per hand-over.
async fn ping_pong<R: Runtime>() -> f64 {
    let mut clock = Clock::new(2 * BATCH);
    let (ping, pong) = (Slot::default(), Slot::default());
    let (hears, says) = (ping.clone(), pong.clone());
    let partner = R::spawn(async move {
        loop {
            match hears.take().await {
                u64::MAX => return 0,
                value => says.put(value + 1),
            }
        }
    });
    for _ in 0..=REPEATS {
        clock.start();
        for value in 0..BATCH {
            ping.put(value);
            assert_eq!(pong.take().await, value + 1);
        }
        clock.stop();
    }
    ping.put(u64::MAX);
    partner.await;
    clock.median_ns()
}

/// A sleep that is polled once and dropped, as every timeout that does not expire.
async fn timer_arm_cancel<R: Runtime>() -> f64 {
    let mut clock = Clock::new(BATCH);
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..BATCH {
            let mut sleep = pin!(R::sleep(Duration::from_secs(3600)));
            let armed = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await;
            assert!(armed);
        }
        R::yield_now().await;
        clock.stop();
    }
    clock.median_ns()
}

/// 10,000 tasks that sleep 1 to 10 ms: CPU of the process per task, from spawn to join.
async fn timers<R: Runtime>() -> f64 {
    let mut samples_ns = Vec::new();
    let mut tasks = Vec::with_capacity(TIMERS as usize);
    for _ in 0..=5 {
        let before = child::own_cpu().expect("a clock");
        tasks.extend((0..TIMERS).map(|value| {
            R::spawn(async move {
                R::sleep(Duration::from_micros(1_000 + value % 10 * 1_000)).await;
                value
            })
        }));
        let mut sum = 0;
        for task in tasks.drain(..) {
            sum += task.await;
        }
        assert_eq!(sum, TIMERS * (TIMERS - 1) / 2);
        let used = child::own_cpu().expect("a clock") - before;
        samples_ns.push(used.as_nanos() as f64 / TIMERS as f64);
    }
    median(&mut samples_ns[1..])
}

async fn wake_thread() -> f64 {
    const ROUND_TRIPS: u64 = 30;
    let mut clock = Clock::new(ROUND_TRIPS);
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..ROUND_TRIPS {
            wake::round_trip().await;
        }
        clock.stop();
    }
    clock.median_ns()
}

/// Per empty task, all of them alive at once: the heap's growth (a part of it is the run queue's), or allocations. In a
/// new runtime, or after so many rounds, when it may have kept the memory of tasks that ended.
async fn task_memory<R: Runtime>(rounds_before: u32, figure: fn(allocations::Allocated) -> f64) -> f64 {
    const TASKS: usize = 4096;
    let mut tasks = Vec::with_capacity(TASKS);
    for round in 0.. {
        let spawn_all = || tasks.extend((0..TASKS).map(|_| R::spawn(async { 0 })));
        let ((), allocated) = allocations::during(spawn_all);
        for task in tasks.drain(..) {
            task.await;
        }
        if round == rounds_before {
            return figure(allocated) / TASKS as f64;
        }
    }
    f64::NAN
}
