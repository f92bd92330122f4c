//! Limits on how long something may take.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{Task, sleep_secs};
use crate::{
    clock::Tick,
    error::{CancelledError, InTime, InvalidStateError, Outcome, TimeoutError},
    executor::{Alarm, context},
    scope::Scope,
};

/// Runs `body`, but no longer than `delay` (`None`: as long as it takes), counted from this call. When the time is up,
/// the waits in `body` return [`CancelledError`]; if that is what comes out of it, it becomes [`TimeoutError`]. What else
/// `body` returns is returned: nothing that it got is lost.
///
/// # Panics
/// Outside of a task.
///
/// # Cancellation
/// **Nothing lost** by the timeout itself; each wait in `body` says what becomes of it.
///
/// ```
/// # use std::{io, time::Duration};
/// # ringio::run(async {
/// let result = ringio::timeout(Duration::from_millis(1), async |_| {
///     ringio::sleep(Duration::from_secs(3600)).await?;
///     io::Result::Ok(())
/// }).await;
/// assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
/// # });
/// ```
#[doc(alias = "asyncio.timeout")]
#[track_caller]
pub fn timeout<R>(delay: impl Into<Option<Duration>>, body: impl AsyncFnOnce(&Timeout) -> R) -> impl Future<Output = R>
where
    R: Outcome,
    R::Error: From<TimeoutError>,
{
    let deadline = after(delay.into());
    limited(deadline, body)
}

/// [`timeout`] with an instant.
///
/// # Panics
/// Outside of a task.
///
/// # Cancellation
/// **Nothing lost** by the timeout itself; each wait in `body` says what becomes of it.
#[doc(alias = "asyncio.timeout_at")]
#[track_caller]
pub fn timeout_at<R>(when: impl Into<Option<Instant>>, body: impl AsyncFnOnce(&Timeout) -> R) -> impl Future<Output = R>
where
    R: Outcome,
    R::Error: From<TimeoutError>,
{
    let deadline = when.into().map(|when| context::with(|runtime| runtime.port.clock().tick(when)));
    limited(deadline, body)
}

/// Awaits `future`, but no longer than `delay` (`None`: as long as it takes). For nothing or less it is not even started.
///
/// # Errors
/// [`TimeoutError`], if the cancel is what comes out of `future`; else what comes out of it. Its error must have room for a
/// timeout, or be [`CancelledError`], which becomes [`WaitForError`](crate::WaitForError).
///
/// # Panics
/// Outside of a task.
///
/// # Cancellation
/// **Nothing lost** by the timeout itself; `future` says what becomes of its waits.
///
/// ```
/// # use std::{io, time::Duration};
/// # ringio::run(async {
/// let slow = async { ringio::sleep(Duration::from_secs(3600)).await.map_err(io::Error::from) };
/// let result = ringio::wait_for(slow, Duration::from_millis(1)).await;
/// assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
///
/// let event = ringio::Event::new();
/// let result = ringio::wait_for(event.wait(), Duration::from_millis(1)).await;
/// assert!(matches!(result, Err(ringio::WaitForError::Timeout(_))));
///
/// let queue = ringio::Queue::new(1);
/// queue.put("first").await.unwrap();
/// let late = ringio::wait_for(queue.put("second"), Duration::from_millis(1)).await;
/// assert_eq!(late.unwrap_err().into_item(), "second");
/// # });
/// ```
#[doc(alias = "asyncio.wait_for")]
#[track_caller]
pub fn wait_for<F, R>(future: F, delay: impl Into<Option<Duration>>) -> impl Future<Output = R>
where
    F: IntoFuture,
    F::Output: InTime<R>,
{
    let delay = delay.into();
    let deadline = after(delay);
    async move {
        // WF3: not started, unless it is a task, which runs already. An outcome that has to carry a buffer cannot be made
        // without starting.
        let is_task = typeid::of::<F::IntoFuture>() == typeid::of::<TaskOf<<F::Output as InTime<R>>::OfTask>>();
        if delay.is_some_and(|delay| delay.is_zero())
            && !is_task
            && let Ok(outcome) = <F::Output as InTime<R>>::Timed::from_error(TimeoutError.into())
        {
            return F::Output::out(outcome);
        }
        F::Output::out(limited(deadline, async |_| future.into_future().await.in_time()).await)
    }
}

/// The task that a future with this output would be, if it were one.
type TaskOf<O> = Task<<O as Outcome>::Value, <O as Outcome>::Error>;

#[track_caller]
fn after(delay: Option<Duration>) -> Option<Tick> {
    delay.map(|delay| context::with(|runtime| runtime.port.clock().now().after(delay)))
}

async fn limited<R>(deadline: Option<Tick>, body: impl AsyncFnOnce(&Timeout) -> R) -> R
where
    R: Outcome,
    R::Error: From<TimeoutError>,
{
    let Some(scope) = Scope::open() else { panic!("a timeout was awaited outside of a ringio task") };
    let _left = Left::of(&scope);
    let limit = Timeout { scope };
    limit.arm(deadline);
    let body = pin!(body(&limit));
    match (Scoped { scope: &limit.scope, body }).await {
        Ok(outcome) if !outcome.is_cancelled() => outcome,
        Ok(outcome) if limit.is_own_cancel() => outcome.with_error(TimeoutError.into()),
        Ok(outcome) => {
            if limit.expired() {
                // Ours may be what was seen inside; the one from outside is what comes out, and does not come again.
                limit.scope.deliver_outside();
            }
            outcome
        }
        Err(outcome) => outcome,
    }
}

/// What `#[ringio::test(timeout = ..)]` calls.
///
/// # Cancellation
/// **Nothing lost** but what `body` says.
#[doc(hidden)]
pub async fn test_in_time<F: Future>(body: F, seconds: f64) -> F::Output {
    let mut body = pin!(body);
    let mut limit = pin!(sleep_secs(seconds));
    let mut is_limited = true;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = body.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if is_limited && let Poll::Ready(ended) = limit.as_mut().poll(cx) {
            is_limited = false; // cancelled with the test, it is over
            if ended.is_ok() {
                let tasks = context::with(|runtime| runtime.dump());
                panic!("the test has not ended within {seconds} s; its tasks:\n{tasks}");
            }
        }
        Poll::Pending
    })
    .await
}

/// The limit of a running [`timeout`]; may be cloned, and moved by others than the body.
#[doc(alias = "asyncio.Timeout")]
#[derive(Clone)]
pub struct Timeout {
    scope: Rc<Scope>,
}

impl Timeout {
    /// Whether the time was up before the body ended.
    pub fn expired(&self) -> bool {
        self.scope.has_expired()
    }

    /// When the time is up; `None` for never.
    pub fn when(&self) -> Option<Instant> {
        let deadline = self.scope.deadline.get()?;
        Some(context::with(|runtime| runtime.port.clock().instant(deadline)))
    }

    /// Moves the limit; `None` lifts it.
    ///
    /// # Errors
    /// When the time is up already, or the body has ended.
    pub fn reschedule(&self, when: impl Into<Option<Instant>>) -> Result<(), InvalidStateError> {
        if !self.scope.is_active() {
            return Err(InvalidStateError::Over);
        }
        let when = when.into();
        self.disarm();
        self.arm(when.map(|when| context::with(|runtime| runtime.port.clock().tick(when))));
        Ok(())
    }

    fn arm(&self, deadline: Option<Tick>) {
        arm_scope(&self.scope, deadline);
    }

    fn disarm(&self) {
        cancel_timer(self.scope.timer.take());
    }

    /// TO8, TO10: a cancel from outside stays a cancel.
    fn is_own_cancel(&self) -> bool {
        self.scope.has_expired() && !self.scope.was_cancelled_from_outside()
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("when", &self.scope.deadline.get()).field("expired", &self.expired()).finish()
    }
}

/// Lets a scope expire when its time has come.
pub(super) fn arm_scope(scope: &Rc<Scope>, deadline: Option<Tick>) {
    scope.deadline.set(deadline);
    if let Some(deadline) = deadline {
        let alarm = Alarm::Expire(scope.clone());
        let key = context::with(|runtime| runtime.timers.borrow_mut().insert(deadline, alarm));
        scope.timer.set(Some(key));
    }
}

fn cancel_timer(timer: Option<crate::executor::TimerKey>) {
    if let Some(key) = timer {
        let alarm = context::try_with(|runtime| runtime.timers.borrow_mut().remove(key));
        drop(alarm);
    }
}

/// Leaves the scope, however what runs in it ends, and keeps it for the next one to be opened.
pub(super) struct Left {
    scope: Option<Rc<Scope>>,
}

impl Left {
    pub(super) fn of(scope: &Rc<Scope>) -> Left {
        Left { scope: Some(scope.clone()) }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            cancel_timer(scope.leave());
            scope.recycle();
        }
    }
}

/// Polls the body inside the scope. `Err` is an outcome made for a body that cannot see its cancel.
struct Scoped<'a, F> {
    scope: &'a Rc<Scope>,
    body: Pin<&'a mut F>,
}

impl<F: Future> Future for Scoped<'_, F>
where
    F::Output: Outcome,
    <F::Output as Outcome>::Error: From<TimeoutError>,
{
    type Output = Result<F::Output, F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let body = this.body.as_mut();
        if let Poll::Ready(outcome) = context::in_scope(this.scope, || body.poll(cx)) {
            return Poll::Ready(Ok(outcome));
        }
        // What runs in there waits for nothing of ours, so it will never see the cancel: it is dropped.
        if this.scope.is_deaf() {
            let own = this.scope.has_expired() && !this.scope.was_cancelled_from_outside();
            let error = if own { TimeoutError.into() } else { CancelledError.into() };
            if let Ok(outcome) = F::Output::from_error(error) {
                this.scope.deliver();
                return Poll::Ready(Err(outcome));
            }
        }
        Poll::Pending
    }
}
