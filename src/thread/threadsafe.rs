//! Asking a loop for something from another thread.

use std::{
    any::Any,
    error, fmt,
    future::{Future, IntoFuture, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    error::{CancelledError, Outcome, TaskError, TimeoutError},
    executor::{Mailbox, Note, Runner, TaskSnapshot, context, current_vars},
    scope::CancelPoint,
    task::{create_task, current_task},
};

/// A way to a loop from any thread. It does not keep the loop alive.
///
/// ```
/// let mut runner = ringio::Runner::new()?;
/// let handle = runner.handle();
/// let thread = std::thread::spawn(move || {
///     ringio::run_coroutine_threadsafe(|| async { Ok::<_, ringio::CancelledError>(6 * 7) }, &handle).result(None)
/// });
/// let answer = runner.run(ringio::to_thread(|| thread.join().unwrap()))??;
/// assert_eq!(answer, 42);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "asyncio.get_running_loop")]
#[derive(Clone)]
pub struct LoopHandle {
    mailbox: Arc<Mailbox>,
}

/// The loop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopClosedError;

impl fmt::Display for LoopClosedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop has ended; nothing can be asked of it any more")
    }
}

impl error::Error for LoopClosedError {}

impl LoopHandle {
    /// That of the loop that runs on this thread; `None` when none does.
    pub fn current() -> Option<LoopHandle> {
        context::try_with(|runtime| LoopHandle { mailbox: runtime.mailbox() })
    }

    /// Makes `call` on the loop's thread, in its next turn, with the context variables of the caller. Calls of one thread
    /// are made in their order.
    ///
    /// # Errors
    /// When the loop has ended; `call` is dropped.
    #[doc(alias = "asyncio.loop.call_soon_threadsafe")]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), LoopClosedError> {
        let content = current_vars().and_then(|vars| vars.content());
        self.mailbox.send(Box::new(call), content).map_err(|_| LoopClosedError)
    }

    /// [`run_coroutine_threadsafe`].
    pub fn spawn<F, Fut>(
        &self,
        make: F,
    ) -> ThreadsafeTask<<Fut::Output as Outcome>::Value, <Fut::Output as Outcome>::Error>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Outcome,
        <Fut::Output as Outcome>::Value: Send + 'static,
        <Fut::Output as Outcome>::Error: Send,
    {
        run_coroutine_threadsafe(make, self)
    }

    /// All tasks of the loop that have not ended, as they are when it comes to it: in the order they were made, without
    /// the asking itself.
    ///
    /// ```
    /// let mut runner = ringio::Runner::new()?;
    /// let handle = runner.handle();
    /// let thread = std::thread::spawn(move || handle.all_tasks().result(None));
    /// let tasks = runner.run(async {
    ///     ringio::Task::builder().name("sleeps").spawn(ringio::sleep(std::time::Duration::from_secs(3600)));
    ///     ringio::to_thread(|| thread.join().unwrap()).await
    /// })??;
    /// assert!(tasks.iter().any(|task| task.name == "sleeps"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "asyncio.all_tasks")]
    pub fn all_tasks(&self) -> ThreadsafeTask<Vec<TaskSnapshot>, CancelledError> {
        self.spawn(|| async {
            let own = current_task().map(|task| task.id());
            let tasks = context::with(|runtime| runtime.snapshot());
            Ok(tasks.into_iter().filter(|task| Some(task.id) != own).collect())
        })
    }

    /// Whether the loop has ended.
    pub fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    fn is_current(&self) -> bool {
        LoopHandle::current().is_some_and(|current| Arc::ptr_eq(&current.mailbox, &self.mailbox))
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").field("closed", &self.is_closed()).finish()
    }
}

impl Runner {
    /// A way to this loop from any thread. What is asked of it is done while it runs.
    ///
    /// # Panics
    /// When the runner is closed.
    #[doc(alias = "asyncio.Runner.get_loop")]
    pub fn handle(&self) -> LoopHandle {
        LoopHandle { mailbox: self.mailbox() }
    }
}

/// Calls `make` on the thread of `handle`'s loop, and runs the future that it makes there as a task. Tasks of one thread
/// start in their order. When the loop has ended, or ends first, the result is a [`CancelledError`].
#[doc(alias = "asyncio.run_coroutine_threadsafe")]
pub fn run_coroutine_threadsafe<F, Fut>(
    make: F,
    handle: &LoopHandle,
) -> ThreadsafeTask<<Fut::Output as Outcome>::Value, <Fut::Output as Outcome>::Error>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Outcome,
    <Fut::Output as Outcome>::Value: Send + 'static,
    <Fut::Output as Outcome>::Error: Send,
{
    let slot = Arc::new(Slot { state: Mutex::new(State::default()), done: Condvar::new() });
    let delivery = Delivery { slot: slot.clone() };
    let start = move || {
        if delivery.slot.lock().cancelled {
            return; // before it began: `delivery` says so
        }
        let slot = delivery.slot.clone();
        match catch_unwind(AssertUnwindSafe(make)) {
            Ok(future) => {
                let task = create_task(deliver(future, delivery));
                context::with(|runtime| runtime.add_guest(task.task()));
                slot.lock().task = Some(task.id());
            }
            Err(payload) => slot.finish(Ended::Panic(payload)),
        }
    };
    // If it has ended, the call comes back and goes, and `delivery` with it.
    let _ = handle.call_soon(start);
    ThreadsafeTask { slot, handle: handle.clone() }
}

/// Runs the future to its end and brings its result to the other thread.
async fn deliver<Fut>(
    future: Fut,
    delivery: Delivery<<Fut::Output as Outcome>::Value, <Fut::Output as Outcome>::Error>,
) -> Result<(), CancelledError>
where
    Fut: Future,
    Fut::Output: Outcome,
{
    let ended = {
        let mut future = pin!(future);
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Err(payload) => Poll::Ready(Err(payload)),
        })
        .await
    };
    let cancelled = ended.as_ref().is_ok_and(Outcome::is_cancelled);
    delivery.slot.finish(match ended {
        Ok(outcome) => Ended::Result(outcome.into_result()),
        Err(payload) => Ended::Panic(payload),
    });
    if cancelled { Err(CancelledError) } else { Ok(()) }
}

enum Ended<T, E> {
    Result(Result<T, E>),
    Panic(Box<dyn Any + Send>),
}

struct Slot<T, E> {
    state: Mutex<State<T, E>>,
    done: Condvar,
}

struct State<T, E> {
    ended: Option<Ended<T, E>>,
    is_done: bool,
    cancelled: bool,
    /// Where its loop finds the task, once there is one.
    task: Option<u64>,
    waker: Option<Waker>,
}

impl<T, E> Default for State<T, E> {
    fn default() -> State<T, E> {
        State { ended: None, is_done: false, cancelled: false, task: None, waker: None }
    }
}

impl<T, E> Slot<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, ended: Ended<T, E>) {
        let mut state = self.lock();
        if state.is_done {
            return;
        }
        state.ended = Some(ended);
        state.is_done = true;
        let waker = state.waker.take();
        drop(state);
        self.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Whatever becomes of the task, whoever waits is told (RT4).
struct Delivery<T, E: TaskError> {
    slot: Arc<Slot<T, E>>,
}

impl<T, E: TaskError> Drop for Delivery<T, E> {
    fn drop(&mut self) {
        let id = self.slot.lock().task;
        if let Some(id) = id {
            context::try_with(|runtime| runtime.remove_guest(id));
        }
        self.slot.finish(Ended::Result(Err(CancelledError.into())));
    }
}

/// A task in a loop of another thread. Dropping it lets the task run on.
#[doc(alias = "concurrent.futures.Future")]
pub struct ThreadsafeTask<T, E> {
    slot: Arc<Slot<T, E>>,
    handle: LoopHandle,
}

/// Why [`ThreadsafeTask::result`] has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThreadsafeError<E> {
    /// The task ended with this error; also when it was cancelled, or its loop ended.
    Task(E),
    /// The time is up; the task runs on.
    Timeout(TimeoutError),
    /// Asked for on the loop's own thread: it would wait for itself for ever. Await it instead.
    WouldDeadlock,
    /// The value was taken before.
    Taken,
}

impl<E: fmt::Display> fmt::Display for ThreadsafeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadsafeError::Task(error) => error.fmt(f),
            ThreadsafeError::Timeout(error) => error.fmt(f),
            ThreadsafeError::WouldDeadlock => {
                f.write_str("result() on the loop's own thread would never end; await it")
            }
            ThreadsafeError::Taken => f.write_str("the result was already taken"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for ThreadsafeError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ThreadsafeError::Task(error) => error.source(),
            ThreadsafeError::Timeout(error) => error.source(),
            ThreadsafeError::WouldDeadlock | ThreadsafeError::Taken => None,
        }
    }
}

impl From<ThreadsafeError<io::Error>> for io::Error {
    fn from(error: ThreadsafeError<io::Error>) -> io::Error {
        match error {
            ThreadsafeError::Task(error) => error,
            ThreadsafeError::Timeout(error) => error.into(),
            ThreadsafeError::WouldDeadlock | ThreadsafeError::Taken => io::Error::other(error.to_string()),
        }
    }
}

impl<T, E> ThreadsafeTask<T, E> {
    /// Blocks this thread until the task has ended, but no longer than `timeout`, and takes its result.
    ///
    /// # Errors
    /// See [`ThreadsafeError`].
    ///
    /// # Panics
    /// When the task panicked: its panic goes on here.
    #[doc(alias = "concurrent.futures.Future.result")]
    pub fn result(&self, timeout: impl Into<Option<Duration>>) -> Result<T, ThreadsafeError<E>> {
        if !self.done() && self.handle.is_current() {
            return Err(ThreadsafeError::WouldDeadlock);
        }
        let state = self.slot.lock();
        let waiting = |state: &mut State<T, E>| !state.is_done;
        let mut state = match timeout.into() {
            None => self.slot.done.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.slot.done.wait_timeout_while(state, timeout, waiting);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if !state.is_done {
            return Err(ThreadsafeError::Timeout(TimeoutError));
        }
        let ended = state.ended.take();
        drop(state);
        match ended {
            Some(Ended::Result(result)) => result.map_err(ThreadsafeError::Task),
            Some(Ended::Panic(payload)) => resume_unwind(payload),
            None => Err(ThreadsafeError::Taken),
        }
    }

    /// Asks the task to end; false when it has ended already. If it has not begun, it never will.
    #[doc(alias = "concurrent.futures.Future.cancel")]
    pub fn cancel(&self) -> bool {
        let mut state = self.slot.lock();
        if state.is_done {
            return false;
        }
        state.cancelled = true;
        let Some(id) = state.task else { return true };
        drop(state);
        let cancel = move || {
            if let Some(task) = context::with(|runtime| runtime.guest(id)) {
                crate::scope::cancel_task(&task);
            }
        };
        // If it has ended, so has the task.
        let _ = self.handle.call_soon(cancel);
        true
    }

    /// Whether the task has ended.
    pub fn done(&self) -> bool {
        self.slot.lock().is_done
    }
}

impl<T, E> fmt::Debug for ThreadsafeTask<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadsafeTask").field("done", &self.done()).finish_non_exhaustive()
    }
}

impl<T, E: TaskError> IntoFuture for ThreadsafeTask<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = ThreadsafeWait<T, E>;

    fn into_future(self) -> ThreadsafeWait<T, E> {
        ThreadsafeWait { task: self, point: CancelPoint::default(), note: None }
    }
}

/// The wait for a [`ThreadsafeTask`], in a task of any loop, or under any other executor.
///
/// # Cancellation
/// **Runs on**: the task in the other loop is asked to end, and is not waited for.
#[must_use = "a wait does nothing until it is awaited"]
pub struct ThreadsafeWait<T, E> {
    task: ThreadsafeTask<T, E>,
    point: CancelPoint,
    note: Option<Note>,
}

impl<T, E: TaskError> Future for ThreadsafeWait<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        let mut state = this.task.slot.lock();
        if state.is_done {
            let ended = state.ended.take();
            drop(state);
            this.note = None;
            this.point.end();
            return match ended {
                Some(Ended::Result(result)) => Poll::Ready(result),
                Some(Ended::Panic(payload)) => resume_unwind(payload),
                None => panic!("the result of a task of another thread was taken before"),
            };
        }
        state.waker = Some(cx.waker().clone());
        drop(state);
        let begun = this.point.has_begun();
        let point = if begun { this.point.check(cx.waker()) } else { this.point.begin(cx.waker()) };
        if point.is_err() {
            this.task.cancel();
            this.note = None;
            this.point.end();
            return Poll::Ready(Err(CancelledError.into()));
        }
        if !begun {
            this.note = Note::new("ThreadsafeTask");
        }
        Poll::Pending
    }
}

impl<T, E> Unpin for ThreadsafeWait<T, E> {}

impl<T, E> fmt::Debug for ThreadsafeWait<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadsafeWait").field("task", &self.task).finish()
    }
}
