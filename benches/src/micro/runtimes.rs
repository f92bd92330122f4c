//! The runtimes as the workloads see them. Guards: each is given what its documentation offers for local tasks, and its
//! main future is a task or the root, whichever is cheaper there (tokio, smol: a task, by a factor of ten). A yield is
//! the usual one, wake yourself and be pending once (tokio's own would visit the reactor each time); ringio pays for
//! its own, which is a cancel point.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    Row, nop, sync, tasks,
    workloads::{Runtime, rows},
};
use crate::peers;

type Rows = fn() -> Vec<Row>;

pub(super) static ALL: &[(&str, Rows)] = &[
    ("ringio", || {
        let mut all = rows::<Ringio>();
        all.push(Row { name: "nop-1", unit: "ns", run: || nop::seam(1) });
        all.push(Row { name: "nop-32", unit: "ns", run: || nop::seam(32) });
        all.extend(tasks::rows::<Ringio>());
        all.extend(tasks::cancel_rows::<Ringio>());
        all.push(tasks::to_thread_row::<Ringio>());
        all.push(tasks::threadsafe_row::<Ringio>());
        all.extend(sync::ringio());
        all
    }),
    ("raw", || {
        vec![
            Row { name: "nop-1", unit: "ns", run: || nop::raw(1) },
            Row { name: "nop-32", unit: "ns", run: || nop::raw(32) },
        ]
    }),
    ("tokio", || {
        let mut all = rows::<Tokio>();
        all.extend(tasks::rows::<Tokio>());
        all.extend(tasks::cancel_rows::<Tokio>());
        all.push(tasks::to_thread_row::<Tokio>());
        all.push(tasks::threadsafe_row::<Tokio>());
        all.extend(sync::tokio());
        all
    }),
    ("compio", || {
        let mut all = rows::<Compio>();
        all.extend(tasks::rows::<Compio>());
        all.extend(tasks::cancel_rows::<Compio>());
        all.push(tasks::to_thread_row::<Compio>());
        all
    }),
    ("monoio", || {
        let mut all = rows::<Monoio>();
        all.extend(tasks::rows::<Monoio>());
        all
    }),
    ("glommio", || {
        let mut all = rows::<Glommio>();
        all.extend(tasks::rows::<Glommio>());
        all.extend(tasks::cancel_rows::<Glommio>());
        all.push(tasks::to_thread_row::<Glommio>());
        all
    }),
    ("tokio-uring", || {
        let mut all = rows::<TokioUring>();
        all.push(Row { name: "nop-1", unit: "ns", run: || TokioUring::block_on(TokioUring::nops()) });
        all
    }),
    ("smol", || {
        let mut all = rows::<Smol>();
        all.extend(tasks::rows::<Smol>());
        all.extend(tasks::cancel_rows::<Smol>());
        all.push(tasks::to_thread_row::<Smol>());
        all.push(tasks::threadsafe_row::<Smol>());
        all.extend(sync::smol());
        all
    }),
    // Of no runtime: on ours, so that only the primitive differs.
    ("flume-on-ringio", sync::flume_on_ringio),
    ("kanal-on-ringio", sync::kanal_on_ringio),
    ("local-sync-on-ringio", sync::local_sync_on_ringio),
];

/// Pending once.
#[derive(Default)]
struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

pub(super) struct Tokio;

impl Runtime for Tokio {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(future).await.expect("no panic") })
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        let task = tokio::task::spawn_local(future);
        async { task.await.expect("no panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

pub(super) struct TokioUring;

impl TokioUring {
    async fn nops() -> f64 {
        const NOPS: u32 = 2000;
        let start = std::time::Instant::now();
        for _ in 0..NOPS {
            tokio_uring::no_op().await.expect("a NOP");
        }
        start.elapsed().as_nanos() as f64 / f64::from(NOPS)
    }
}

impl Runtime for TokioUring {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        tokio_uring::start(async { tokio_uring::spawn(future).await.expect("no panic") })
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        let task = tokio_uring::spawn(future);
        async { task.await.expect("no panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

pub(super) struct Compio;

impl Runtime for Compio {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        peers::compio::runtime(peers::compio::Ring::Default).expect("a runtime").block_on(future)
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        let task = compio::runtime::spawn(future);
        async { task.await.expect("no panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        compio::time::sleep(duration)
    }
}

pub(super) struct Monoio;

impl Runtime for Monoio {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        let builder = peers::monoio::builder(peers::monoio::Ring::Default).enable_timer();
        builder.build().expect("a runtime").block_on(future)
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        monoio::spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        monoio::time::sleep(duration)
    }
}

pub(super) struct Glommio;

impl Runtime for Glommio {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound);
        builder.make().expect("a runtime").run(future)
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        glommio::spawn_local(future)
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        glommio::timer::sleep(duration)
    }
}

pub(super) struct Smol;

thread_local! {
    pub(super) static EXECUTOR: Rc<smol::LocalExecutor<'static>> = Rc::new(smol::LocalExecutor::new());
}

impl Runtime for Smol {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        let executor = EXECUTOR.with(Rc::clone);
        smol::block_on(executor.run(executor.spawn(future)))
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        EXECUTOR.with(|executor| executor.spawn(future))
    }

    fn yield_now() -> impl Future<Output = ()> {
        Yield::default()
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

pub(super) struct Ringio;

impl Runtime for Ringio {
    fn block_on<F: Future<Output = f64> + 'static>(future: F) -> f64 {
        ringio::run(future)
    }

    fn spawn<F: Future<Output = u64> + 'static>(future: F) -> impl Future<Output = u64> + 'static {
        let task = ringio::create_task(Fine(future));
        async { task.await.expect("not cancelled") }
    }

    async fn yield_now() {
        ringio::yield_now().await.expect("not cancelled");
    }

    async fn sleep(duration: Duration) {
        ringio::sleep(duration).await.expect("not cancelled");
    }
}

/// A task body of ringio returns a Result. (An async block around the future would hold it twice.)
pub(super) struct Fine<F>(pub(super) F);

impl<F: Future> Future for Fine<F> {
    type Output = Result<F::Output, ringio::CancelledError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is pinned as the whole is; it is never moved out, and Fine has no Drop.
        let future = unsafe { self.map_unchecked_mut(|fine| &mut fine.0) };
        future.poll(cx).map(Ok)
    }
}
