//! Waiting for some of several tasks.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{AnyTask, Task, several::Several, sleep::Deadline};
use crate::{
    error::{Error, TaskError},
    scope::CancelPoint,
};

/// When [`wait`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReturnWhen {
    /// When all tasks have ended.
    #[default]
    #[doc(alias = "asyncio.ALL_COMPLETED")]
    AllCompleted,
    /// When one has ended.
    #[doc(alias = "asyncio.FIRST_COMPLETED")]
    FirstCompleted,
    /// When one has ended with an error or a panic (a cancel is none), or all have ended.
    #[doc(alias = "asyncio.FIRST_EXCEPTION")]
    FirstException,
}

/// What [`wait`] returns. Both in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct Waited<K> {
    /// Those that have ended.
    pub done: Vec<K>,
    /// Those that have not.
    pub pending: Vec<K>,
}

/// A handle of a task: [`Task`], [`AnyTask`], or a reference to one.
pub trait AsTask: handle::AsTask {}

impl<K: handle::AsTask> AsTask for K {}

mod handle {
    use super::AnyTask;

    pub trait AsTask {
        fn any(&self) -> AnyTask;
    }
}

impl<T, E: TaskError> handle::AsTask for Task<T, E> {
    fn any(&self) -> AnyTask {
        self.to_any()
    }
}

impl handle::AsTask for AnyTask {
    fn any(&self) -> AnyTask {
        self.clone()
    }
}

impl<K: handle::AsTask> handle::AsTask for &K {
    fn any(&self) -> AnyTask {
        (**self).any()
    }
}

impl<K: handle::AsTask> handle::AsTask for &mut K {
    fn any(&self) -> AnyTask {
        (**self).any()
    }
}

/// Waits until tasks have ended: all, unless [`Wait::return_when`] says otherwise. Their errors stay in them, and none is
/// cancelled, whatever happens. A task given twice counts once. At least one turn passes.
///
/// # Errors
/// When no task is given, and when the wait is cancelled.
///
/// ```
/// # use std::time::Duration;
/// # ringio::run(async {
/// let quick = ringio::create_task(async { Ok::<_, ringio::CancelledError>(1) });
/// let slow = ringio::create_task(async { ringio::sleep(Duration::from_secs(3600)).await.map(|()| 2) });
/// let waited = ringio::wait([&quick, &slow]).return_when(ringio::ReturnWhen::FirstCompleted).await?;
/// assert_eq!((waited.done.len(), waited.pending.len()), (1, 1));
/// assert_eq!(waited.done[0].result(), Ok(&Ok(1)));
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.wait")]
pub fn wait<K: AsTask>(tasks: impl IntoIterator<Item = K>) -> Wait<K> {
    let mut known: Vec<K> = tasks.into_iter().collect();
    // Duplicates go, and the order stays.
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by_key(|&at| known[at].any().id());
    order.dedup_by_key(|at| known[*at].any().id());
    if order.len() < known.len() {
        order.sort_unstable();
        let mut at = 0;
        known.retain(|_| {
            at += 1;
            order.binary_search(&(at - 1)).is_ok()
        });
    }
    let tasks = Some(known);
    Wait {
        tasks,
        when: ReturnWhen::default(),
        timeout: None,
        several: None,
        deadline: None,
        point: CancelPoint::default(),
        enough: false,
    }
}

/// The wait of [`wait`].
///
/// # Cancellation
/// **Nothing lost**: the tasks run on, and their results stay in them.
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait<K> {
    /// Until they are returned.
    tasks: Option<Vec<K>>,
    when: ReturnWhen,
    timeout: Option<Duration>,
    several: Option<Several>,
    deadline: Option<Deadline>,
    point: CancelPoint,
    /// One has ended as `when` says.
    enough: bool,
}

impl<K> Wait<K> {
    /// Whether the end of one is enough.
    pub fn return_when(mut self, when: ReturnWhen) -> Wait<K> {
        self.when = when;
        self
    }

    /// Waits no longer than this, counted from the first poll; `None`: as long as it takes. It is no error when the time
    /// is up.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Wait<K> {
        self.timeout = timeout.into();
        self
    }
}

impl<K: AsTask> Wait<K> {
    fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let tasks = self.tasks.as_ref().expect("a wait is not polled again after its end");
        if tasks.is_empty() {
            let text = "wait() was given no task; ask before whether there is any";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
        }
        self.point.begin(cx.waker())?;
        let mut several = match self.when {
            ReturnWhen::FirstCompleted => Several::each(tasks.len()),
            ReturnWhen::AllCompleted | ReturnWhen::FirstException => Several::failing(),
        };
        tasks.iter().for_each(|task| several.add_task(&task.any().into_ref()));
        // WA3: a turn passes even if nothing has to be waited for.
        cx.waker().wake_by_ref();
        self.deadline = self.timeout.map(|timeout| Deadline::after(timeout, several.arrivals().clone()));
        self.several = Some(several);
        Ok(())
    }

    /// Looks at those that have ended since the last time.
    fn is_over(&mut self) -> bool {
        let (Some(several), Some(tasks)) = (&self.several, &self.tasks) else { return true };
        while let Some(index) = several.next() {
            self.enough |= match self.when {
                ReturnWhen::AllCompleted => false,
                ReturnWhen::FirstCompleted => true,
                ReturnWhen::FirstException => tasks[index].any().into_ref().has_failed(),
            };
        }
        self.enough || several.left() == 0 || several.is_overdue()
    }
}

impl<K: AsTask> Future for Wait<K>
where
    K: Unpin,
{
    type Output = Result<Waited<K>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.point.has_begun() {
            return match this.begin(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        let point = this.point.check(cx.waker());
        if point.is_ok() && !this.is_over() {
            if let Some(several) = &mut this.several {
                several.wait(cx.waker());
            }
            return Poll::Pending;
        }
        this.point.end();
        this.several = None;
        this.deadline = None;
        let tasks = this.tasks.take().unwrap_or_default();
        Poll::Ready(point.map_err(Error::from).map(|()| {
            let (done, pending) = tasks.into_iter().partition(|task| task.any().done());
            Waited { done, pending }
        }))
    }
}

impl<K> fmt::Debug for Wait<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("when", &self.when).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
