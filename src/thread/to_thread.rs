//! Calls that block, on threads of their own.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::{
    driver::Outside,
    error::CancelledError,
    executor::{ErrorReport, Note, Refused, ReportKind, Ticket, Vars, context, current_vars},
    scope::CancelPoint,
};

/// Calls `call` on a thread of a pool, so that the loop goes on meanwhile. The context variables of the caller are set
/// there as well. The pool has at most 32 threads (four more than there are cores, if that is less;
/// [`RunnerBuilder::threads_max`](crate::RunnerBuilder::threads_max)); calls beyond that wait for one.
///
/// # Errors
/// When the wait is cancelled, or the runtime is closing.
///
/// # Panics
/// When `call` panics: its panic goes on here.
///
/// ```
/// # ringio::run(async {
/// let sum = ringio::to_thread(|| (1..=1000).sum::<u32>()).await?;
/// assert_eq!(sum, 500_500);
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.to_thread")]
pub fn to_thread<F, T>(call: F) -> ToThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    ToThread { stage: Stage::New(call), waits_it_out: false, point: CancelPoint::default() }
}

/// [`to_thread`] that no cancel ends once `call` has begun or is waiting for its thread: the cancel is left for the next
/// wait. For calls that must not be left alone.
///
/// ```
/// # ringio::run(async {
/// let task = ringio::create_task(async {
///     let value = ringio::to_thread_uncancellable(|| 7).await?;
///     assert!(ringio::yield_now().await.is_err());
///     Ok::<_, ringio::CancelledError>(value)
/// });
/// ringio::yield_now().await?;
/// task.cancel();
/// assert_eq!(task.await, Ok(7));
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
pub fn to_thread_uncancellable<F, T>(call: F) -> ToThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    ToThread { stage: Stage::New(call), waits_it_out: true, point: CancelPoint::default() }
}

/// The wait of [`to_thread`].
///
/// # Cancellation
/// **Runs on**: a call that has not begun is never made; one that has begun goes on, and what it returns is dropped. If
/// its value is there by then, it is returned, and the cancel is left for the next wait.
#[must_use = "a wait does nothing until it is awaited"]
pub struct ToThread<F, T> {
    stage: Stage<F, T>,
    waits_it_out: bool,
    point: CancelPoint,
}

enum Stage<F, T> {
    New(F),
    Called { slot: Arc<Slot<T>>, ticket: Option<Ticket>, _outside: Outside, _note: Option<Note> },
    Over,
}

/// Where the value is brought to, and who is woken then.
struct Slot<T> {
    state: Mutex<(Option<thread::Result<T>>, Option<Waker>)>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, (Option<thread::Result<T>>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring(&self, value: thread::Result<T>) {
        let waker = {
            let mut state = self.lock();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Nobody waits any more, so that the value is dropped on the thread that made it: a panic there harms nobody.
fn call_quietly<T>(slot: Arc<Slot<T>>, call: impl FnOnce() -> T) {
    let value = catch_unwind(AssertUnwindSafe(call));
    slot.bring(value);
    let _ = catch_unwind(AssertUnwindSafe(move || drop(slot)));
}

impl<F, T> ToThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn start(&mut self, call: F, waker: &Waker) -> Result<(), CancelledError> {
        let slot = Arc::new(Slot { state: Mutex::new((None, Some(waker.clone()))) });
        let content = current_vars().and_then(|vars| vars.content());
        let own = slot.clone();
        let call = Box::new(move || call_quietly(own, || Vars::of(content).enter(call)));
        let outside = context::with(|runtime| runtime.port.calls().outside());
        let submitted = context::with(|runtime| runtime.pool.submit(call));
        let ticket = match submitted {
            Ok(ticket) => Some(ticket),
            Err(Refused::Closed) => return Err(CancelledError),
            Err(Refused::NoThread(call, error)) => {
                // Better late than never: it holds the loop up, and says so.
                let message = format!("no thread could be made ({error}); a blocking call was made on the loop's own");
                let report = ErrorReport { kind: ReportKind::NoThread, task: None, spawned_at: None, message };
                context::with(|runtime| runtime.report(&report));
                call();
                None
            }
        };
        self.stage = Stage::Called { slot, ticket, _outside: outside, _note: Note::new("to_thread") };
        Ok(())
    }
}

impl<F, T> ToThread<F, T> {
    /// A call that has not begun is not made.
    fn withdraw(&mut self) {
        if let Stage::Called { ticket: Some(ticket), .. } = std::mem::replace(&mut self.stage, Stage::Over) {
            let call = context::try_with(|runtime| runtime.pool.withdraw(ticket));
            drop(call);
        }
    }
}

impl<F, T> Future for ToThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T, CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::New(_) = this.stage {
            this.point.begin(cx.waker())?;
            let Stage::New(call) = std::mem::replace(&mut this.stage, Stage::Over) else { return Poll::Pending };
            if let Err(cancelled) = this.start(call, cx.waker()) {
                this.point.end();
                return Poll::Ready(Err(cancelled));
            }
        }
        let Stage::Called { slot, .. } = &this.stage else { panic!("`to_thread` was polled again after its end") };
        let value = {
            let mut state = slot.lock();
            let value = state.0.take();
            if value.is_none() && !state.1.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                state.1 = Some(cx.waker().clone());
            }
            value
        };
        if let Some(value) = value {
            this.stage = Stage::Over;
            this.point.end();
            return Poll::Ready(Ok(value.unwrap_or_else(|payload| resume_unwind(payload))));
        }
        if !this.waits_it_out
            && let Err(cancelled) = this.point.check(cx.waker())
        {
            this.withdraw();
            this.point.end();
            return Poll::Ready(Err(cancelled));
        }
        Poll::Pending
    }
}

impl<F, T> Unpin for ToThread<F, T> {}

impl<F, T> Drop for ToThread<F, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<F, T> fmt::Debug for ToThread<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToThread").field("begun", &!matches!(self.stage, Stage::New(_))).finish_non_exhaustive()
    }
}
