//! What do many tasks as one, limits, cancels and other threads' calls cost? Guards: gather, groups and timeouts beside
//! what each peer's documentation offers for the same; where it offers none, tasks are spawned and joined one by one.
//! The threads of `to-thread` are the runtimes' own: they stay on the loop's CPU, for every runtime.

use std::{cell::Cell, future::Future, hint::black_box, rc::Rc, sync::Arc, time::Duration};

use smol::channel;

use super::{
    Row,
    runtimes::{Compio, EXECUTOR, Fine, Glommio, Monoio, Ringio, Smol, Tokio},
    wake,
    workloads::{BATCH, Clock, REPEATS, Runtime},
};

const CHILDREN: u64 = 100;
const SLEEPERS: u64 = 10_000;
const ROUND_TRIPS: u64 = 30;
const HOUR: Duration = Duration::from_secs(3600);

pub(super) trait Tasks: Runtime {
    /// Waits for all as tasks; the sum of their values.
    fn gather<F: Future<Output = u64> + 'static>(children: impl Iterator<Item = F>) -> impl Future<Output = u64> {
        spawn_and_join::<Self, F>(children)
    }

    /// The same with what owns its tasks.
    fn group<F: Future<Output = u64> + 'static>(children: impl Iterator<Item = F>) -> impl Future<Output = u64> {
        spawn_and_join::<Self, F>(children)
    }

    /// `future` under a limit of an hour.
    fn limited(future: impl Future<Output = u64>) -> impl Future<Output = u64>;
}

pub(super) trait Cancels: Runtime {
    type Handle;
    /// A task that counts itself and sleeps for an hour.
    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle;
    /// Cancels all and waits until they have ended: how many were cancelled.
    fn cancel_all(handles: Vec<Self::Handle>) -> impl Future<Output = u64>;
}

pub(super) trait Blocking: Runtime {
    fn to_thread(value: u64) -> impl Future<Output = u64>;
}

pub(super) trait Threadsafe {
    /// Runs the loop until `end` has come; meanwhile what `work` is given starts a task there from another thread, and
    /// blocks until it has its result.
    fn serve(work: impl FnOnce(&dyn Fn(u64) -> u64) -> f64 + Send + 'static) -> f64;
}

pub(super) fn rows<R: Tasks>() -> Vec<Row> {
    let ns = |name, run| Row { name, unit: "ns", run };
    vec![
        ns("gather-100", || R::block_on(gather::<R>())),
        ns("group-100", || R::block_on(group::<R>())),
        ns("timeout-set-cancel", || R::block_on(timeout_set_cancel::<R>())),
    ]
}

pub(super) fn cancel_rows<R: Cancels>() -> Vec<Row> {
    vec![Row { name: "cancel-10k", unit: "ns", run: || R::block_on(cancel::<R>()) }]
}

pub(super) fn to_thread_row<R: Blocking>() -> Row {
    Row { name: "to-thread", unit: "ns", run: || R::block_on(to_thread::<R>()) }
}

pub(super) fn threadsafe_row<R: Threadsafe>() -> Row {
    Row { name: "threadsafe", unit: "ns", run: || R::serve(threadsafe) }
}

async fn spawn_and_join<R: Runtime + ?Sized, F: Future<Output = u64> + 'static>(
    children: impl Iterator<Item = F>,
) -> u64 {
    let tasks: Vec<_> = children.map(|child| R::spawn(child)).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await;
    }
    sum
}

/// 100 tasks that yield once.
fn children<R: Runtime>() -> impl Iterator<Item = impl Future<Output = u64> + 'static> {
    (0..CHILDREN).map(|value| async move {
        R::yield_now().await;
        value
    })
}

/// ns per task.
async fn gather<R: Tasks>() -> f64 {
    let mut clock = Clock::new(10 * CHILDREN);
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..10 {
            assert_eq!(R::gather(children::<R>()).await, CHILDREN * (CHILDREN - 1) / 2);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// ns per task.
async fn group<R: Tasks>() -> f64 {
    let mut clock = Clock::new(10 * CHILDREN);
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..10 {
            assert_eq!(R::group(children::<R>()).await, CHILDREN * (CHILDREN - 1) / 2);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// A limit that does not expire, around one yield.
async fn timeout_set_cancel<R: Tasks>() -> f64 {
    let mut clock = Clock::new(BATCH);
    for _ in 0..=REPEATS {
        clock.start();
        for value in 0..BATCH {
            let quick = async move {
                R::yield_now().await;
                value
            };
            assert_eq!(R::limited(quick).await, value);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// One that is counted until its future is dropped.
struct Asleep(Rc<Cell<u64>>);

impl Asleep {
    fn new(count: Rc<Cell<u64>>) -> Asleep {
        count.set(count.get() + 1);
        Asleep(count)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn sleeper<R: Runtime>(asleep: Rc<Cell<u64>>) -> u64 {
    let _asleep = Asleep::new(asleep);
    R::sleep(HOUR).await;
    0
}

/// 10,000 tasks that sleep, all cancelled, then waited for: ns per task.
async fn cancel<R: Cancels>() -> f64 {
    let mut clock = Clock::new(SLEEPERS);
    for _ in 0..=5 {
        let asleep = Rc::new(Cell::new(0));
        let mut handles = Vec::with_capacity(SLEEPERS as usize);
        handles.extend((0..SLEEPERS).map(|_| R::start(asleep.clone())));
        while asleep.get() < SLEEPERS {
            R::yield_now().await;
        }
        clock.start();
        let cancelled = R::cancel_all(handles).await;
        // compio says so before it has dropped the futures.
        for _ in 0..BATCH {
            if asleep.get() == 0 {
                break;
            }
            R::yield_now().await;
        }
        clock.stop();
        assert_eq!((cancelled, asleep.get()), (SLEEPERS, 0));
    }
    clock.median_ns()
}

/// A round trip to a thread of the runtime's.
async fn to_thread<R: Blocking>() -> f64 {
    let mut clock = Clock::new(ROUND_TRIPS);
    for _ in 0..=REPEATS {
        clock.start();
        for value in 0..ROUND_TRIPS {
            assert_eq!(R::to_thread(value).await, value + 1);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// Not on the loop's thread: a round trip to it, asleep.
fn threadsafe(start_and_wait: &dyn Fn(u64) -> u64) -> f64 {
    let mut clock = Clock::new(ROUND_TRIPS);
    for _ in 0..=REPEATS {
        clock.start();
        for value in 0..ROUND_TRIPS {
            assert_eq!(start_and_wait(value), value + 1);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// The figure of the other thread, waited for by any loop.
async fn measured_beside(work: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    let (figure, arrives) = channel::bounded(1);
    let beside = wake::on_load_cpu(move || figure.send_blocking(work()).expect("the loop waits"));
    let figure = arrives.recv().await.expect("the thread does not panic");
    beside.join().expect("it has sent");
    figure
}

impl Tasks for Ringio {
    async fn gather<F: Future<Output = u64> + 'static>(children: impl Iterator<Item = F>) -> u64 {
        ringio::gather(children.map(Fine)).await.expect("not cancelled").into_iter().sum()
    }

    async fn group<F: Future<Output = u64> + 'static>(children: impl Iterator<Item = F>) -> u64 {
        let tasks = ringio::TaskGroup::<ringio::CancelledError>::scope(async |group| {
            Ok(children.map(|child| group.create_task(Fine(child))).collect::<Vec<_>>())
        });
        let value = |task: &ringio::Task<u64, _>| *task.result().expect("done").as_ref().expect("not cancelled");
        tasks.await.expect("no child fails").iter().map(value).sum()
    }

    async fn limited(future: impl Future<Output = u64>) -> u64 {
        let body = async { Ok::<_, ringio::Error>(future.await) };
        ringio::wait_for(body, HOUR).await.expect("in time")
    }
}

impl Tasks for Tokio {
    async fn group<F: Future<Output = u64> + 'static>(children: impl Iterator<Item = F>) -> u64 {
        let mut set = tokio::task::JoinSet::new();
        for child in children {
            set.spawn_local(child);
        }
        let mut sum = 0;
        while let Some(value) = set.join_next().await {
            sum += value.expect("no panic");
        }
        sum
    }

    async fn limited(future: impl Future<Output = u64>) -> u64 {
        tokio::time::timeout(HOUR, future).await.expect("in time")
    }
}

impl Tasks for Compio {
    async fn limited(future: impl Future<Output = u64>) -> u64 {
        compio::time::timeout(HOUR, future).await.expect("in time")
    }
}

impl Tasks for Monoio {
    async fn limited(future: impl Future<Output = u64>) -> u64 {
        monoio::time::timeout(HOUR, future).await.expect("in time")
    }
}

impl Tasks for Glommio {
    async fn limited(future: impl Future<Output = u64>) -> u64 {
        let body = async { Ok::<_, glommio::GlommioError<()>>(future.await) };
        glommio::timer::timeout(HOUR, body).await.expect("in time")
    }
}

impl Tasks for Smol {
    async fn limited(future: impl Future<Output = u64>) -> u64 {
        let body = async { Some(future.await) };
        let late = async {
            smol::Timer::after(HOUR).await;
            None
        };
        smol::future::or(body, late).await.expect("in time")
    }
}

impl Cancels for Ringio {
    type Handle = ringio::Task<u64, ringio::CancelledError>;

    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle {
        ringio::create_task(async move {
            let _asleep = Asleep::new(asleep);
            ringio::sleep(HOUR).await?;
            Ok(0)
        })
    }

    async fn cancel_all(handles: Vec<Self::Handle>) -> u64 {
        handles.iter().for_each(|handle| assert!(handle.cancel()));
        let mut cancelled = 0;
        for handle in handles {
            cancelled += u64::from(handle.await.is_err());
        }
        cancelled
    }
}

impl Cancels for Tokio {
    type Handle = tokio::task::JoinHandle<u64>;

    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle {
        tokio::task::spawn_local(sleeper::<Self>(asleep))
    }

    async fn cancel_all(handles: Vec<Self::Handle>) -> u64 {
        handles.iter().for_each(tokio::task::JoinHandle::abort);
        let mut cancelled = 0;
        for handle in handles {
            cancelled += u64::from(handle.await.is_err_and(|error| error.is_cancelled()));
        }
        cancelled
    }
}

impl Cancels for Compio {
    type Handle = compio::runtime::JoinHandle<u64>;

    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle {
        compio::runtime::spawn(sleeper::<Self>(asleep))
    }

    async fn cancel_all(handles: Vec<Self::Handle>) -> u64 {
        let mut cancelled = 0;
        for handle in handles {
            cancelled += u64::from(handle.cancel().await.is_none());
        }
        cancelled
    }
}

impl Cancels for Glommio {
    type Handle = glommio::Task<u64>;

    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle {
        glommio::spawn_local(sleeper::<Self>(asleep))
    }

    async fn cancel_all(handles: Vec<Self::Handle>) -> u64 {
        let mut cancelled = 0;
        for handle in handles {
            cancelled += u64::from(handle.cancel().await.is_none());
        }
        cancelled
    }
}

impl Cancels for Smol {
    type Handle = smol::Task<u64>;

    fn start(asleep: Rc<Cell<u64>>) -> Self::Handle {
        EXECUTOR.with(|executor| executor.spawn(sleeper::<Self>(asleep)))
    }

    async fn cancel_all(handles: Vec<Self::Handle>) -> u64 {
        let mut cancelled = 0;
        for handle in handles {
            cancelled += u64::from(handle.cancel().await.is_none());
        }
        cancelled
    }
}

impl Blocking for Ringio {
    async fn to_thread(value: u64) -> u64 {
        ringio::to_thread(move || black_box(value) + 1).await.expect("not cancelled")
    }
}

impl Blocking for Tokio {
    async fn to_thread(value: u64) -> u64 {
        tokio::task::spawn_blocking(move || black_box(value) + 1).await.expect("no panic")
    }
}

impl Blocking for Compio {
    async fn to_thread(value: u64) -> u64 {
        compio::runtime::spawn_blocking(move || black_box(value) + 1).await.expect("no panic")
    }
}

impl Blocking for Glommio {
    async fn to_thread(value: u64) -> u64 {
        glommio::executor().spawn_blocking(move || black_box(value) + 1).await
    }
}

impl Blocking for Smol {
    async fn to_thread(value: u64) -> u64 {
        smol::unblock(move || black_box(value) + 1).await
    }
}

impl Threadsafe for Ringio {
    fn serve(work: impl FnOnce(&dyn Fn(u64) -> u64) -> f64 + Send + 'static) -> f64 {
        ringio::run(async {
            let handle = ringio::LoopHandle::current().expect("a loop");
            let start = move |value| {
                let body = move || async move { Ok::<_, ringio::CancelledError>(value + 1) };
                ringio::run_coroutine_threadsafe(body, &handle).result(None).expect("not cancelled")
            };
            measured_beside(move || work(&start)).await
        })
    }
}

impl Threadsafe for Tokio {
    fn serve(work: impl FnOnce(&dyn Fn(u64) -> u64) -> f64 + Send + 'static) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let start = move |value| {
            let (result, arrives) = tokio::sync::oneshot::channel();
            handle.spawn(async move { result.send(value + 1).expect("it waits") });
            arrives.blocking_recv().expect("no panic")
        };
        runtime.block_on(measured_beside(move || work(&start)))
    }
}

impl Threadsafe for Smol {
    fn serve(work: impl FnOnce(&dyn Fn(u64) -> u64) -> f64 + Send + 'static) -> f64 {
        // Not the local one, which other threads cannot spawn on.
        let executor = Arc::new(smol::Executor::new());
        let spawner = executor.clone();
        let start = move |value| {
            let (result, arrives) = channel::bounded(1);
            let answer = async move { result.send(value + 1).await.expect("it waits") };
            spawner.spawn(answer).detach();
            arrives.recv_blocking().expect("no panic")
        };
        smol::block_on(executor.run(measured_beside(move || work(&start))))
    }
}
