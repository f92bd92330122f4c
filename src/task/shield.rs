//! Keeping a cancel away from something, and bringing one to somebody else's future.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{
    Task,
    several::as_task,
    timeout::{Left, arm_scope},
};
use crate::{
    error::{CancelledError, Outcome, TaskError},
    executor::{Note, context},
    scope::{CancelPoint, Scope},
};

/// Runs `future` as a task (or takes a task that runs already), and waits for it so that a cancel ends the wait but not
/// the task. Its error is then reported, if it ends with one. To come back to the task, keep its handle and await
/// [`Task::wait_done`] instead.
///
/// # Panics
/// Outside of a runtime. A panic of the task goes on here.
///
/// ```
/// # use std::time::Duration;
/// # ringio::run(async {
/// let task = ringio::create_task(async { ringio::yield_now().await.map(|()| 7) });
/// assert_eq!(ringio::shield(task).await, Ok(7));
/// # });
/// ```
#[doc(alias = "asyncio.shield")]
#[track_caller]
pub fn shield<F>(future: F) -> Shield<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
where
    F: Future + 'static,
    F::Output: Outcome,
    <F::Output as Outcome>::Value: 'static,
{
    let task = as_task(future, Location::caller());
    Shield { done: task.wait_done(), task }
}

/// The wait of [`shield`].
///
/// # Cancellation
/// **Runs on**: the task is not told, and what it returns is dropped.
#[must_use = "the task runs, but nobody looks at what comes of it"]
pub struct Shield<T, E> {
    done: super::WaitDone,
    task: Task<T, E>,
}

impl<T, E: TaskError> Future for Shield<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        match Pin::new(&mut self.done).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(cancelled)) => Poll::Ready(Err(cancelled.into())),
            Poll::Ready(Ok(())) => {
                Poll::Ready(self.task.take().unwrap_or_else(|| panic!("a shielded task was awaited before")))
            }
        }
    }
}

impl<T, E> fmt::Debug for Shield<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("task", &self.task).finish()
    }
}

/// Runs `future` here, in this task, out of reach of cancels from outside for as long as `grace`, counted from the first
/// poll. A cancel that came meanwhile reaches the next wait behind it; when the grace is over, it reaches `future`.
/// Timeouts inside work as ever. For clean-up that has to wait.
///
/// # Panics
/// Outside of a task.
///
/// # Cancellation
/// **Nothing lost**: the cancel is kept.
///
/// ```
/// # use std::time::Duration;
/// # ringio::run(async {
/// let task = ringio::create_task(async {
///     let saved = ringio::shielded(async { ringio::sleep(Duration::from_millis(1)).await }, Duration::from_secs(5));
///     (saved.await, ringio::yield_now().await).1
/// });
/// ringio::yield_now().await?;
/// task.cancel();
/// assert_eq!(task.await, Err(ringio::CancelledError));
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
pub async fn shielded<F>(future: F, grace: Duration) -> F::Output
where
    F: Future,
    F::Output: Outcome,
{
    let Some(scope) = Scope::open() else { panic!("`shielded` was awaited outside of a ringio task") };
    let _left = Left::of(&scope);
    scope.shield();
    arm_scope(&scope, Some(context::with(|runtime| runtime.port.clock().now().after(grace))));
    let mut future = pin!(future);
    let outcome = std::future::poll_fn(|cx| context::in_scope(&scope, || future.as_mut().poll(cx))).await;
    if scope.has_expired() && outcome.is_cancelled() {
        scope.deliver_outside();
    }
    outcome
}

pin_project! {
    /// The wait of [`cancellable`].
    ///
    /// # Cancellation
    /// **Effect unknown**: the future is dropped. If its value is there by then, it is returned, and the cancel is left for
    /// the next wait.
    #[must_use = "a wait does nothing until it is awaited"]
    pub struct Cancellable<F> {
        #[pin]
        future: Option<F>,
        point: CancelPoint,
        note: Option<Note>,
    }
}

/// Makes a place where a cancel arrives of any future: one of another library, which knows nothing of ours. A cancel drops
/// it.
///
/// ```
/// # ringio::run(async {
/// let task = ringio::create_task(async {
///     ringio::cancellable(std::future::pending::<()>()).await
/// });
/// ringio::yield_now().await?;
/// task.cancel();
/// assert_eq!(task.await, Err(ringio::CancelledError));
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
pub fn cancellable<F: Future>(future: F) -> Cancellable<F> {
    Cancellable { future: Some(future), point: CancelPoint::default(), note: None }
}

impl<F: Future> Future for Cancellable<F> {
    type Output = Result<F::Output, CancelledError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            panic!("a cancellable future was polled again after its end");
        };
        // C10: what has no owner is returned rather than dropped.
        if let Poll::Ready(value) = future.poll(cx) {
            *this.note = None;
            this.point.end();
            return Poll::Ready(Ok(value));
        }
        let begun = this.point.has_begun();
        let point = if begun { this.point.check(cx.waker()) } else { this.point.begin(cx.waker()) };
        if let Err(cancelled) = point {
            *this.note = None;
            this.point.end();
            this.future.set(None);
            return Poll::Ready(Err(cancelled));
        }
        if !begun {
            *this.note = Note::new("cancellable");
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for Cancellable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellable").finish_non_exhaustive()
    }
}
