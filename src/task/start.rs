//! Starting a task of a group, and going on when it says that it is ready.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    io,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{Task, TaskGroup, handle::hand_down, spawn::Settings};
use crate::{
    error::{CancelledError, Error, TaskError},
    executor::Waiter,
    scope::CancelPoint,
};

impl<E: TaskError> TaskGroup<E> {
    /// Makes a task of the group, as [`create_task`](TaskGroup::create_task), and waits until it says that it is ready:
    /// `body` gets a [`TaskStatus`] to say so with. What it says comes out, beside the task, which runs on.
    ///
    /// ```
    /// # use std::io;
    /// # use ringio::{TaskGroup, TaskStatus, TcpListener};
    /// async fn serve(status: TaskStatus<std::net::SocketAddr>) -> io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     status.started(listener.local_addr()?);
    ///     listener.accept().await.map(drop)
    /// }
    ///
    /// # ringio::run(async {
    /// TaskGroup::scope(async |group| {
    ///     let (_task, address) = group.start(serve).await?;
    ///     ringio::open_connection(address).await?;
    ///     io::Result::Ok(())
    /// })
    /// .await
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn start<T, S, F>(&self, body: impl FnOnce(TaskStatus<S>) -> F) -> Starting<T, S, E>
    where
        T: 'static,
        S: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let shared = Rc::new(Shared { said: Cell::new(None), waiter: Cell::new(None) });
        let body = body(TaskStatus { shared: shared.clone() });
        let task = self.spawn(body, Settings::at(Location::caller()));
        Starting { task: Some(task), shared, point: CancelPoint::default(), cancelled: false }
    }
}

struct Shared<S> {
    said: Cell<Option<S>>,
    waiter: Cell<Option<Waiter>>,
}

/// With this a task of [`TaskGroup::start`] says that it is ready.
pub struct TaskStatus<S> {
    shared: Rc<Shared<S>>,
}

impl<S> TaskStatus<S> {
    /// The task is ready: whoever waits for that gets `value`.
    pub fn started(self, value: S) {
        self.shared.said.set(Some(value));
        if let Some(waiter) = self.shared.waiter.take() {
            waiter.wake();
        }
    }
}

impl<S> fmt::Debug for TaskStatus<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStatus").finish_non_exhaustive()
    }
}

/// Why [`TaskGroup::start`] has no task that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The wait was cancelled.
    Cancelled(CancelledError),
    /// The task has ended without having said that it is ready, or the group took it no more.
    NotStarted,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Cancelled(error) => error.fmt(f),
            StartError::NotStarted => f.write_str("the task ended before it called started()"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let StartError::Cancelled(error) = self { Some(error) } else { None }
    }
}

impl From<CancelledError> for StartError {
    fn from(error: CancelledError) -> StartError {
        StartError::Cancelled(error)
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> io::Error {
        match error {
            StartError::Cancelled(error) => error.into(),
            StartError::NotStarted => io::Error::other(error),
        }
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Error {
        io::Error::from(error).into()
    }
}

impl TaskError for StartError {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        if let StartError::Cancelled(error) = self { Some(error) } else { None }
    }
}

/// The wait of [`TaskGroup::start`]. The task runs from the beginning, whether this is awaited or not.
///
/// # Errors
/// When the task ends first, and when the wait is cancelled.
///
/// # Cancellation
/// **Nothing lost**: a cancel is handed down to the task, and its end is waited for. If it says that it is ready all the
/// same, it is returned. Dropped, the wait ends, and the task runs on in the group.
#[must_use = "the task runs, but nobody waits until it is ready"]
pub struct Starting<T, S, E> {
    task: Option<Task<T, E>>,
    shared: Rc<Shared<S>>,
    point: CancelPoint,
    cancelled: bool,
}

impl<T, S, E: TaskError> Future for Starting<T, S, E> {
    type Output = Result<(Task<T, E>, S), StartError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(task) = this.task.take() else { panic!("a start was polled again after its end") };
        if let Some(said) = this.shared.said.take() {
            // C10: nobody else has what it says.
            this.point.end();
            return Poll::Ready(Ok((task, said)));
        }
        let begun = this.point.has_begun();
        if task.done() {
            let cancelled = this.cancelled || begun && this.point.check(cx.waker()).is_err();
            this.point.end();
            let error = if cancelled { CancelledError.into() } else { StartError::NotStarted };
            return Poll::Ready(Err(error));
        }
        let point = if begun { this.point.check(cx.waker()) } else { this.point.begin(cx.waker()) };
        if point.is_err() {
            this.cancelled = true;
            hand_down(task.task());
            if !begun {
                // It was delivered, so the wait begins undisturbed.
                let _ = this.point.begin(cx.waker());
            }
        }
        drop(this.shared.waiter.replace(Some(Waiter::of(cx.waker()))));
        task.task().core().add_joiner(cx.waker());
        this.task = Some(task);
        Poll::Pending
    }
}

impl<T, S, E> Unpin for Starting<T, S, E> {}

impl<T, S, E> fmt::Debug for Starting<T, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting").field("task", &self.task).finish_non_exhaustive()
    }
}
