//! Waiting for time to pass.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    clock::Tick,
    error::{CancelledError, Error, TaskError},
    executor::{Alarm, Arrivals, DEADLINE, TimerKey, Waiter, context},
    scope::CancelPoint,
};

/// Waits for `delay`, never less; for nothing or less than nothing it lets the others run once, as [`yield_now`].
///
/// # Panics
/// When awaited outside of a runtime.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # ringio::run(async {
/// let start = Instant::now();
/// ringio::sleep(Duration::from_millis(2)).await?;
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.sleep")]
pub fn sleep(delay: Duration) -> Sleep {
    Sleep::new(if delay.is_zero() { Until::Turn } else { Until::Delay(delay) })
}

/// [`sleep`] that gives `value` when it is over.
///
/// # Cancellation
/// **Nothing lost** but the value: the timer goes at once.
///
/// ```
/// # use std::time::Duration;
/// # ringio::run(async {
/// assert_eq!(ringio::sleep_with(Duration::from_millis(1), "over").await, Ok("over"));
/// # });
/// ```
pub async fn sleep_with<T>(delay: Duration, value: T) -> Result<T, CancelledError> {
    sleep(delay).await?;
    Ok(value)
}

/// [`sleep`] for a number of seconds; for nothing or less it lets the others run once.
///
/// # Errors
/// When `seconds` is not a number, and when the wait is cancelled.
///
/// # Cancellation
/// **Nothing lost**: the timer goes at once.
///
/// ```
/// # ringio::run(async {
/// ringio::sleep_secs(0.001).await?;
/// assert_eq!(ringio::sleep_secs(f64::NAN).await, Err(ringio::SleepError::NotANumber));
/// # Ok::<_, ringio::SleepError>(()) }).unwrap();
/// ```
pub async fn sleep_secs(seconds: f64) -> Result<(), SleepError> {
    if seconds.is_nan() {
        return Err(SleepError::NotANumber);
    }
    // What is too large for a Duration is for ever.
    sleep(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)).await?;
    Ok(())
}

/// Why [`sleep_secs`] did not sleep to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SleepError {
    /// The wait was cancelled.
    Cancelled(CancelledError),
    /// The delay was not a number.
    NotANumber,
}

impl fmt::Display for SleepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SleepError::Cancelled(error) => error.fmt(f),
            SleepError::NotANumber => f.write_str("the delay is not a number (NaN); check what computes it"),
        }
    }
}

impl std::error::Error for SleepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let SleepError::Cancelled(error) = self { Some(error) } else { None }
    }
}

impl From<CancelledError> for SleepError {
    fn from(error: CancelledError) -> SleepError {
        SleepError::Cancelled(error)
    }
}

impl From<SleepError> for io::Error {
    fn from(error: SleepError) -> io::Error {
        match error {
            SleepError::Cancelled(error) => error.into(),
            SleepError::NotANumber => io::Error::new(io::ErrorKind::InvalidInput, error),
        }
    }
}

impl From<SleepError> for Error {
    fn from(error: SleepError) -> Error {
        io::Error::from(error).into()
    }
}

impl TaskError for SleepError {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        if let SleepError::Cancelled(error) = self { Some(error) } else { None }
    }
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Until::Instant(deadline))
}

/// The wait of [`sleep`].
///
/// # Cancellation
/// **Nothing lost**: the timer goes at once.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct Sleep {
    until: Until,
    point: CancelPoint,
}

#[derive(Debug)]
enum Until {
    Turn,
    Delay(Duration),
    Instant(Instant),
    Timer(TimerKey),
    /// Woken in the next turn.
    NextTurn,
}

impl Sleep {
    fn new(until: Until) -> Sleep {
        Sleep { until, point: CancelPoint::default() }
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        self.until = context::with(|runtime| {
            let clock = runtime.port.clock();
            let now = clock.now();
            let deadline: Tick = match self.until {
                Until::Delay(delay) => now.after(delay),
                Until::Instant(instant) => clock.tick(instant),
                Until::Turn | Until::Timer(_) | Until::NextTurn => now,
            };
            if deadline <= now {
                cx.waker().wake_by_ref();
                return Until::NextTurn;
            }
            let alarm = Alarm::Wake(Waiter::of(cx.waker()));
            Until::Timer(runtime.timers.borrow_mut().insert(deadline, alarm))
        });
    }

    fn is_over(&self, cx: &mut Context<'_>) -> bool {
        let Until::Timer(key) = self.until else { return true };
        context::with(|runtime| {
            let mut timers = runtime.timers.borrow_mut();
            let Some(Alarm::Wake(waiter)) = timers.alarm_mut(key) else { return true };
            if !waiter.is(cx.waker()) {
                let old = std::mem::replace(waiter, Waiter::of(cx.waker()));
                drop(timers);
                drop(old);
            }
            false
        })
    }

    fn cancel_timer(&mut self) {
        if let Until::Timer(key) = std::mem::replace(&mut self.until, Until::NextTurn) {
            let alarm = context::try_with(|runtime| runtime.timers.borrow_mut().remove(key));
            drop(alarm);
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.point.has_begun() {
            if let Until::Turn = this.until {
                this.until = Until::NextTurn;
                this.point.begin_for_a_turn(cx.waker())?;
            } else if let Err(cancelled) = this.point.begin(cx.waker()) {
                this.until = Until::NextTurn;
                return Poll::Ready(Err(cancelled));
            } else {
                this.start(cx);
            }
            return Poll::Pending;
        }
        let cancelled = this.point.check(cx.waker());
        if cancelled.is_ok() && !this.is_over(cx) {
            return Poll::Pending;
        }
        this.cancel_timer();
        this.point.end();
        Poll::Ready(cancelled)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Until::Turn | Until::Delay(_) | Until::Instant(_) = self.until {
            context::try_with(|runtime| runtime.never_awaited("a sleep"));
        }
        self.cancel_timer();
    }
}

/// A time that arrives, unless it is dropped before.
pub(super) struct Deadline(TimerKey);

impl Deadline {
    pub(super) fn after(delay: Duration, arrivals: Rc<Arrivals>) -> Deadline {
        context::with(|runtime| {
            let deadline = runtime.port.clock().now().after(delay);
            let alarm = Alarm::Wake(Waiter::Arrival(arrivals, DEADLINE));
            Deadline(runtime.timers.borrow_mut().insert(deadline, alarm))
        })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let alarm = context::try_with(|runtime| runtime.timers.borrow_mut().remove(self.0));
        drop(alarm);
    }
}

/// Lets every other task that is ready run once.
///
/// ```
/// # ringio::run(async {
/// ringio::yield_now().await?;
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { point: CancelPoint::default() }
}

/// The wait of [`yield_now`].
///
/// # Cancellation
/// **Nothing lost**: there is nothing to lose.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct YieldNow {
    point: CancelPoint,
}

impl Future for YieldNow {
    type Output = Result<(), CancelledError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.point.has_begun() {
            self.point.begin_for_a_turn(cx.waker())?;
            return Poll::Pending;
        }
        let cancelled = self.point.check(cx.waker());
        self.point.end();
        Poll::Ready(cancelled)
    }
}
