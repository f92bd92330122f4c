//! Results in the order in which they come.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{Task, several::Several, sleep::Deadline};
use crate::{
    error::{CancelledError, Error, Outcome, TaskError, TimeoutError},
    scope::CancelPoint,
};

/// Runs futures as tasks, or takes tasks that run already, and gives them in the order in which they end. In three ways:
/// [`next`](AsCompleted::next) gives the tasks; so does the [`Stream`]; and a plain `for` loop gives one future each, which
/// becomes the next result.
///
/// Leaving early lets the rest run on; [`cancel_rest`](AsCompleted::cancel_rest) ends them.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// # use std::time::Duration;
/// async fn after(millis: u64) -> Result<u64, ringio::Error> {
///     ringio::sleep(Duration::from_millis(millis)).await?;
///     Ok(millis)
/// }
///
/// # ringio::run(async {
/// let mut results = Vec::new();
/// for next in ringio::as_completed([after(20), after(1)]) {
///     results.push(next.await?);
/// }
/// assert_eq!(results, [1, 20]);
///
/// let mut tasks = ringio::as_completed([after(20), after(1)]);
/// while let Some(task) = tasks.next().await {
///     results.push(task?.await?);
/// }
/// assert_eq!(results, [1, 20, 1, 20]);
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.as_completed")]
#[track_caller]
pub fn as_completed<I>(futures: I) -> AsCompleted<ValueOf<I::Item>, ErrorOf<I::Item>>
where
    I: IntoIterator,
    I::Item: Future + 'static,
    <I::Item as Future>::Output: Outcome,
    ValueOf<I::Item>: 'static,
{
    let caller = Location::caller();
    let futures = futures.into_iter();
    let mut several = Several::each(futures.size_hint().0);
    let tasks: Vec<_> = futures.map(|future| Some(several.add(future, caller))).collect();
    let shared = Shared { several, left: tasks.len(), tasks, deadline: None, told: false };
    AsCompleted { shared: Rc::new(RefCell::new(shared)), timeout: None, point: CancelPoint::default() }
}

/// What a future of the type `F` becomes as a task.
type ValueOf<F> = <<F as Future>::Output as Outcome>::Value;
type ErrorOf<F> = <<F as Future>::Output as Outcome>::Error;

struct Shared<T, E> {
    several: Several,
    /// Until they are given.
    tasks: Vec<Option<Task<T, E>>>,
    left: usize,
    deadline: Option<Deadline>,
    /// That the time is up was said.
    told: bool,
}

impl<T, E> Shared<T, E> {
    fn next(&mut self) -> Option<Task<T, E>> {
        let index = self.several.next()?;
        self.left -= 1;
        self.tasks[index].take()
    }

    fn start(&mut self, timeout: Option<Duration>) {
        if self.deadline.is_none() {
            self.deadline = timeout.map(|timeout| Deadline::after(timeout, self.several.arrivals().clone()));
        }
    }
}

/// Tasks in the order in which they end; made by [`as_completed`].
///
/// # Cancellation
/// **Nothing lost**: the tasks run on, and whoever asks next gets the next one.
#[must_use = "the tasks run, but nobody looks at what comes of them"]
pub struct AsCompleted<T, E> {
    shared: Rc<RefCell<Shared<T, E>>>,
    timeout: Option<Duration>,
    point: CancelPoint,
}

impl<T, E> AsCompleted<T, E> {
    /// The time for all of them, counted from the first wait; `None`: as long as it takes. When it is up, the tasks run on.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> AsCompleted<T, E> {
        self.timeout = timeout.into();
        self
    }

    /// The next task to end; it is done. `None` when there is no more.
    ///
    /// # Errors
    /// When the time is up (once, then there is no more), and when the wait is cancelled.
    ///
    /// # Cancellation
    /// **Nothing lost**: the next call gives what this one would have given.
    pub async fn next(&mut self) -> Option<Result<Task<T, E>, Error>> {
        std::future::poll_fn(|cx| self.poll_one(cx)).await
    }

    /// How many have not been given yet.
    pub fn len(&self) -> usize {
        self.shared.borrow().left
    }

    /// Whether all have been given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels those that have not ended.
    pub fn cancel_rest(&self) {
        for task in self.shared.borrow().tasks.iter().flatten() {
            task.cancel();
        }
    }

    fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Task<T, E>, Error>>> {
        let mut shared = self.shared.borrow_mut();
        let begun = self.point.has_begun();
        // The tasks stay here: cancel first.
        if begun && let Err(cancelled) = self.point.check(cx.waker()) {
            self.point.end();
            return Poll::Ready(Some(Err(cancelled.into())));
        }
        let next = match shared.next() {
            Some(task) => Some(Ok(task)),
            None if shared.left == 0 || shared.told => None,
            None if shared.several.is_overdue() => {
                shared.told = true;
                Some(Err(TimeoutError.into()))
            }
            None => {
                if !begun && let Err(cancelled) = self.point.begin(cx.waker()) {
                    return Poll::Ready(Some(Err(cancelled.into())));
                }
                shared.start(self.timeout);
                shared.several.wait(cx.waker());
                return Poll::Pending;
            }
        };
        self.point.end();
        Poll::Ready(next)
    }
}

impl<T, E> Stream for AsCompleted<T, E> {
    type Item = Result<Task<T, E>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_one(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // One more when the time is up.
        (0, Some(self.len() + 1))
    }
}

impl<T, E> Unpin for AsCompleted<T, E> {}

impl<T, E: TaskError + From<TimeoutError>> IntoIterator for AsCompleted<T, E> {
    type Item = NextCompleted<T, E>;
    type IntoIter = Completions<T, E>;

    /// One future for each task that was not given yet; the time counts from here.
    fn into_iter(self) -> Completions<T, E> {
        self.shared.borrow_mut().start(self.timeout);
        Completions { left: self.len(), shared: self.shared }
    }
}

/// The iterator of [`AsCompleted`].
pub struct Completions<T, E> {
    shared: Rc<RefCell<Shared<T, E>>>,
    left: usize,
}

impl<T, E: TaskError + From<TimeoutError>> Iterator for Completions<T, E> {
    type Item = NextCompleted<T, E>;

    fn next(&mut self) -> Option<NextCompleted<T, E>> {
        self.left = self.left.checked_sub(1)?;
        Some(NextCompleted { shared: self.shared.clone(), point: CancelPoint::default() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Becomes the result of the next task to end that no other of them became. They may be awaited in any order, or at once.
///
/// # Errors
/// That of the task, and [`TimeoutError`] when the time is up.
///
/// # Cancellation
/// **Nothing lost**: the tasks run on, and another one of these becomes the next result.
#[must_use = "a wait does nothing until it is awaited"]
pub struct NextCompleted<T, E> {
    shared: Rc<RefCell<Shared<T, E>>>,
    point: CancelPoint,
}

impl<T, E: TaskError + From<TimeoutError>> Future for NextCompleted<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        let begun = this.point.has_begun();
        if begun && this.point.check(cx.waker()).is_err() {
            this.point.end();
            return Poll::Ready(Err(CancelledError.into()));
        }
        let mut shared = this.shared.borrow_mut();
        let Some(mut task) = shared.next() else {
            if shared.several.is_overdue() {
                this.point.end();
                return Poll::Ready(Err(TimeoutError.into()));
            }
            if !begun && this.point.begin(cx.waker()).is_err() {
                return Poll::Ready(Err(CancelledError.into()));
            }
            shared.several.wait(cx.waker());
            return Poll::Pending;
        };
        drop(shared);
        this.point.end();
        Poll::Ready(task.take().unwrap_or_else(|| panic!("a task given to as_completed was awaited before")))
    }
}

impl<T, E> fmt::Debug for AsCompleted<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.len()).finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for Completions<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for NextCompleted<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextCompleted").finish_non_exhaustive()
    }
}
