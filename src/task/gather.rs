//! Running several things side by side, for all their results.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
};

use super::{AnyTask, Task, handle::hand_down, several::Several};
use crate::{
    error::{CancelledError, Outcome, TaskError},
    executor::TaskRef,
    scope::CancelPoint,
};

/// Runs several futures of one type as tasks, or waits for tasks that run already: all their values, in the order of
/// `futures`. The first error, or panic, comes out at once, while the others run on
/// ([`cancel_on_error`](Gather::cancel_on_error) ends them). For futures of several types there is
/// [`gather!`](crate::gather!).
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// # use ringio::CancelledError;
/// async fn square(n: u32) -> Result<u32, CancelledError> {
///     ringio::yield_now().await?;
///     Ok(n * n)
/// }
///
/// # ringio::run(async {
/// assert_eq!(ringio::gather([square(2), square(3)]).await?, [4, 9]);
/// # Ok::<_, CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.gather")]
#[track_caller]
pub fn gather<I>(futures: I) -> Gather<Tasks<I::Item>>
where
    I: IntoIterator,
    I::Item: Future + 'static,
    <I::Item as Future>::Output: Outcome,
    <<I::Item as Future>::Output as Outcome>::Value: 'static,
{
    let caller = Location::caller();
    let mut several = Several::failing();
    let batch = futures.into_iter().map(|future| several.add(future, caller)).collect();
    Gather::new(batch, several)
}

/// The tasks that futures of the type `F` become.
pub type Tasks<F> = Vec<Task<<<F as Future>::Output as Outcome>::Value, <<F as Future>::Output as Outcome>::Error>>;

/// Runs up to eight futures of any types as tasks: all their values, as a tuple. Their errors are of one type. See
/// [`gather`](crate::gather()).
///
/// ```
/// # use ringio::{CancelledError, gather};
/// # ringio::run(async {
/// let (number, text) = gather!(
///     async { Ok::<_, CancelledError>(7) },
///     async { Ok("seven") },
/// ).await?;
/// assert_eq!((number, text), (7, "seven"));
/// # Ok::<_, CancelledError>(()) }).unwrap();
/// ```
#[macro_export]
macro_rules! gather {
    ($($future:expr),+ $(,)?) => {
        {
            let mut gathering = $crate::Gathering::begin();
            let tasks = ($(gathering.task($future),)+);
            gathering.gather(tasks)
        }
    };
}

/// What `gather!` calls.
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct Gathering {
    several: Several,
}

#[doc(hidden)]
impl Gathering {
    pub fn begin() -> Gathering {
        Gathering { several: Several::failing() }
    }

    #[track_caller]
    pub fn task<F>(&mut self, future: F) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
    where
        F: Future + 'static,
        F::Output: Outcome,
        <F::Output as Outcome>::Value: 'static,
    {
        self.several.add(future, Location::caller())
    }

    pub fn gather<B: Batch>(self, tasks: B) -> Gather<B> {
        Gather::new(tasks, self.several)
    }
}

/// Tasks with results of known types: a vector of tasks of one type, or a tuple of tasks with one type of error.
pub trait Batch: private::Batch {}

impl<B: private::Batch> Batch for B {}

mod private {
    use super::AnyTask;

    pub trait Batch: Unpin {
        /// All values.
        type Values;
        /// All results.
        type Results;
        /// The one type of error.
        type Error;

        fn len(&self) -> usize;
        fn task(&self, index: usize) -> AnyTask;
        fn is_ok(&self, index: usize) -> bool;
        /// Of a task that is done and has no value.
        fn take_error(&mut self, index: usize) -> Self::Error;
        /// Of tasks that all have a value.
        fn take_values(&mut self) -> Self::Values;
        /// Of tasks that are all done.
        fn take_results(&mut self) -> Self::Results;
    }
}

/// How a task that is done ended; a panic goes on here.
fn result_of<T, E: TaskError>(task: &mut Task<T, E>) -> Result<T, E> {
    // Somebody else took it: who asks for it here gets what a task without a result is.
    task.take().unwrap_or_else(|| panic!("a gathered task was awaited before"))
}

fn value_of<T, E: TaskError>(task: &mut Task<T, E>) -> T {
    result_of(task).unwrap_or_else(|_| unreachable!("it had a value"))
}

fn error_of<T, E: TaskError>(task: &mut Task<T, E>) -> E {
    result_of(task).err().unwrap_or_else(|| unreachable!("it had no value"))
}

impl<T, E: TaskError> private::Batch for Vec<Task<T, E>> {
    type Values = Vec<T>;
    type Results = Vec<Result<T, E>>;
    type Error = E;

    fn len(&self) -> usize {
        self.len()
    }

    fn task(&self, index: usize) -> AnyTask {
        self[index].to_any()
    }

    fn is_ok(&self, index: usize) -> bool {
        self[index].is_ok()
    }

    fn take_error(&mut self, index: usize) -> E {
        error_of(&mut self[index])
    }

    fn take_values(&mut self) -> Vec<T> {
        self.drain(..).map(|mut task| value_of(&mut task)).collect()
    }

    fn take_results(&mut self) -> Vec<Result<T, E>> {
        self.drain(..).map(|mut task| result_of(&mut task)).collect()
    }
}

macro_rules! batch_of_tuple {
    ($($value:ident $index:tt),+) => {
        impl<E: TaskError, $($value),+> private::Batch for ($(Task<$value, E>,)+) {
            type Values = ($($value,)+);
            type Results = ($(Result<$value, E>,)+);
            type Error = E;

            fn len(&self) -> usize {
                [$($index),+].len()
            }

            fn task(&self, index: usize) -> AnyTask {
                match index {
                    $($index => self.$index.to_any(),)+
                    _ => unreachable!("there are not so many tasks"),
                }
            }

            fn is_ok(&self, index: usize) -> bool {
                match index {
                    $($index => self.$index.is_ok(),)+
                    _ => unreachable!("there are not so many tasks"),
                }
            }

            fn take_error(&mut self, index: usize) -> E {
                match index {
                    $($index => error_of(&mut self.$index),)+
                    _ => unreachable!("there are not so many tasks"),
                }
            }

            fn take_values(&mut self) -> Self::Values {
                ($(value_of(&mut self.$index),)+)
            }

            fn take_results(&mut self) -> Self::Results {
                ($(result_of(&mut self.$index),)+)
            }
        }
    };
}

batch_of_tuple!(A 0);
batch_of_tuple!(A 0, B 1);
batch_of_tuple!(A 0, B 1, C 2);
batch_of_tuple!(A 0, B 1, C 2, D 3);
batch_of_tuple!(A 0, B 1, C 2, D 3, F 4);
batch_of_tuple!(A 0, B 1, C 2, D 3, F 4, G 5);
batch_of_tuple!(A 0, B 1, C 2, D 3, F 4, G 5, H 6);
batch_of_tuple!(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7);

/// The wait of [`gather`](crate::gather()).
///
/// # Cancellation
/// **Nothing lost** but what the tasks return: a cancel is handed down to all that have not ended, and all are waited for.
/// The error of one that ends with another one wins over the cancel. If all have ended by then, their values are returned
/// and the cancel is left for the next wait.
#[must_use = "the tasks run, but nobody looks at what comes of them"]
pub struct Gather<B: Batch> {
    all: All<B>,
    cancel_on_error: bool,
}

/// The wait of [`Gather::return_exceptions`].
///
/// # Cancellation
/// **Nothing lost** but what the tasks return: a cancel is handed down to all that have not ended, and all are waited for.
#[must_use = "the tasks run, but nobody looks at what comes of them"]
pub struct GatherResults<B: Batch> {
    all: All<B>,
}

impl<B: Batch> Gather<B> {
    fn new(batch: B, several: Several) -> Gather<B> {
        let all = All { batch, several, point: CancelPoint::default(), cancelled: false, failed: None };
        Gather { all, cancel_on_error: false }
    }

    /// Waits for all, and returns errors as values.
    ///
    /// ```
    /// # use std::io;
    /// # ringio::run(async {
    /// let ok = async { io::Result::Ok(1) };
    /// let bad = async { Err::<(), _>(io::Error::other("no")) };
    /// let (ok, bad) = ringio::gather!(ok, bad).return_exceptions().await?;
    /// assert!(ok.is_ok() && bad.is_err());
    /// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
    /// ```
    pub fn return_exceptions(self) -> GatherResults<B> {
        GatherResults { all: self.all }
    }

    /// The first error cancels the other tasks, and they are waited for before it comes out.
    pub fn cancel_on_error(mut self) -> Gather<B> {
        self.cancel_on_error = true;
        self
    }
}

struct All<B> {
    batch: B,
    several: Several,
    point: CancelPoint,
    cancelled: bool,
    /// The first one that had no value.
    failed: Option<usize>,
}

impl<B: Batch> All<B> {
    /// Goes through those that have ended; ready when there is nothing more to wait for.
    fn poll(&mut self, cx: &mut Context<'_>, mut failed: impl FnMut(&mut Self, usize) -> bool) -> Poll<()> {
        while let Some(index) = self.several.next() {
            if !self.batch.is_ok(index) && failed(self, index) {
                self.point.end();
                return Poll::Ready(());
            }
        }
        if self.several.left() == 0 {
            self.point.end();
            return Poll::Ready(());
        }
        let begun = self.point.has_begun();
        let point = if begun { self.point.check(cx.waker()) } else { self.point.begin(cx.waker()) };
        if point.is_err() {
            self.cancelled = true;
            self.cancel_rest();
            if !begun {
                // It was delivered, so the wait begins undisturbed.
                let _ = self.point.begin(cx.waker());
            }
        }
        self.several.wait(cx.waker());
        Poll::Pending
    }

    fn cancel_rest(&self) {
        self.tasks().filter(|task| !task.is_done()).for_each(|task| hand_down(&task));
    }

    fn tasks(&self) -> impl Iterator<Item = TaskRef> {
        (0..self.batch.len()).map(|index| self.batch.task(index).into_ref())
    }
}

impl<B: Batch> Future for Gather<B>
where
    B::Error: TaskError,
{
    type Output = Result<B::Values, B::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let cancel_on_error = self.cancel_on_error;
        let polled = self.all.poll(cx, |all, index| {
            let is_cancel = all.batch.task(index).cancelled();
            // A cancel of ours ends them; it is no failure, and does not hide one.
            if !(all.cancelled && is_cancel) && all.failed.is_none() {
                all.failed = Some(index);
                if cancel_on_error && !all.cancelled {
                    all.cancel_rest();
                }
            }
            !all.cancelled && !cancel_on_error
        });
        if polled.is_pending() {
            return Poll::Pending;
        }
        let all = &mut self.all;
        if all.failed.is_some() || all.cancelled {
            // GA2: what the others still end with is nobody's business.
            all.tasks().for_each(|task| task.silence());
        }
        Poll::Ready(match all.failed {
            Some(index) => Err(all.batch.take_error(index)),
            None if all.cancelled => Err(CancelledError.into()),
            None => Ok(all.batch.take_values()),
        })
    }
}

impl<B: Batch> Future for GatherResults<B> {
    type Output = Result<B::Results, CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.all.poll(cx, |_, _| false).is_pending() {
            return Poll::Pending;
        }
        let all = &mut self.all;
        all.tasks().for_each(|task| task.silence());
        Poll::Ready(if all.cancelled { Err(CancelledError) } else { Ok(all.batch.take_results()) })
    }
}

impl<B: Batch> fmt::Debug for Gather<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("left", &self.all.several.left()).finish_non_exhaustive()
    }
}

impl<B: Batch> fmt::Debug for GatherResults<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherResults").field("left", &self.all.several.left()).finish_non_exhaustive()
    }
}
