//! Handles of tasks.

use std::{
    fmt,
    future::Future,
    io,
    panic::{Location, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task,
    task::Poll,
};

use super::{Context, Frame, TaskBuilder, WaitDone, graph};
use crate::{
    error::{CancelledError, InvalidStateError, TaskError},
    executor::{Callback, Ending, Outcome, TaskRef, Typed, Vars, call_back, context, current_vars, report_unseen},
    scope::{CancelPoint, cancel_task},
};

/// A task. Awaiting it gives its result; a panic of its body goes on in whoever awaits it. Dropping the handle lets the
/// task run on by itself.
///
/// # Cancellation
/// **Nothing lost**: a cancel of whoever awaits the task is handed down to it, and its real result is waited for. If the
/// task has ended just then, the cancel is delivered and the result stays in the task: await `&mut task` to come back for
/// it. [`wait_done`](Task::wait_done) hands no cancel down.
#[doc(alias = "asyncio.Task")]
pub struct Task<T, E> {
    typed: Typed<Result<T, E>>,
    point: CancelPoint,
}

impl Task<(), ()> {
    /// Settings of a new task.
    ///
    /// ```
    /// # ringio::run(async {
    /// let task = ringio::Task::builder().name("worker").spawn(async { Ok::<_, ringio::CancelledError>(1) });
    /// assert_eq!(&*task.name(), "worker");
    /// # });
    /// ```
    pub fn builder() -> TaskBuilder {
        TaskBuilder::new()
    }
}

impl<T, E> Task<T, E> {
    pub(super) fn new(typed: Typed<Result<T, E>>) -> Task<T, E> {
        Task { typed, point: CancelPoint::default() }
    }

    fn any(&self) -> AnyTask {
        AnyTask::new(self.task().clone())
    }

    pub(crate) fn task(&self) -> &TaskRef {
        self.typed.task()
    }

    /// What came of it, taken out; a panic goes on here.
    pub(super) fn take(&mut self) -> Option<Result<T, E>> {
        match self.typed.take()? {
            Outcome::Value(result) => Some(result),
            Outcome::Panic(payload) => resume_unwind(payload),
        }
    }

    /// Whether it is done and has a value.
    pub(super) fn is_ok(&self) -> bool {
        matches!(self.typed.get(), Some(Outcome::Value(Ok(_))))
    }

    /// A handle without the type of the result.
    pub fn to_any(&self) -> AnyTask {
        self.any()
    }

    /// Asks the task to end: the wait it is in, or the next one, returns [`CancelledError`](crate::CancelledError).
    /// False when it has ended already.
    #[doc(alias = "asyncio.Task.cancel")]
    pub fn cancel(&self) -> bool {
        self.any().cancel()
    }

    /// [`Task::cancel`] with a reason, for reports.
    pub fn cancel_with(&self, message: impl fmt::Display) -> bool {
        self.any().cancel_with(message)
    }

    /// See [`AnyTask::uncancel`].
    #[doc(alias = "asyncio.Task.uncancel")]
    pub fn uncancel(&self) -> u32 {
        self.any().uncancel()
    }

    /// See [`AnyTask::cancelling`].
    #[doc(alias = "asyncio.Task.cancelling")]
    pub fn cancelling(&self) -> u32 {
        self.any().cancelling()
    }

    /// Whether the task has ended by handing a cancel on.
    #[doc(alias = "asyncio.Task.cancelled")]
    pub fn cancelled(&self) -> bool {
        self.any().cancelled()
    }

    /// Whether the task has ended.
    #[doc(alias = "asyncio.Task.done")]
    pub fn done(&self) -> bool {
        self.any().done()
    }

    /// The task's name.
    pub fn name(&self) -> Rc<str> {
        self.any().name()
    }

    /// Gives the task another name.
    pub fn set_name(&self, name: impl fmt::Display) {
        self.any().set_name(name);
    }

    /// A number that no other task of the process has.
    pub fn id(&self) -> u64 {
        self.any().id()
    }

    /// What came of it, without taking it: awaiting the task takes it.
    ///
    /// # Errors
    /// When the task has not ended, its result was taken, or it panicked.
    ///
    /// ```
    /// # ringio::run(async {
    /// let task = ringio::create_task(async { Ok::<_, ringio::CancelledError>(3) });
    /// assert_eq!(task.result(), Err(ringio::InvalidStateError::NotDone));
    /// task.wait_done().await?;
    /// assert_eq!(task.result(), Ok(&Ok(3)));
    /// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.Task.result")]
    pub fn result(&self) -> Result<&Result<T, E>, InvalidStateError> {
        match self.typed.get() {
            Some(Outcome::Value(result)) => Ok(result),
            Some(Outcome::Panic(_)) => Err(InvalidStateError::Panicked),
            None if self.done() => Err(InvalidStateError::Taken),
            None => Err(InvalidStateError::NotDone),
        }
    }

    /// The error that came of it; `None` when it was a value. A cancel is an error like others.
    ///
    /// # Errors
    /// As [`Task::result`].
    #[doc(alias = "asyncio.Task.exception")]
    pub fn exception(&self) -> Result<Option<&E>, InvalidStateError> {
        self.result().map(|result| result.as_ref().err())
    }

    /// Calls `look` with the result, without taking it.
    ///
    /// # Errors
    /// As [`Task::result`].
    pub fn with_result<R>(&self, look: impl FnOnce(&Result<T, E>) -> R) -> Result<R, InvalidStateError> {
        self.result().map(look)
    }

    /// See [`AnyTask::wait_done`].
    pub fn wait_done(&self) -> WaitDone {
        self.any().wait_done()
    }

    /// See [`AnyTask::add_done_callback`].
    #[doc(alias = "asyncio.Task.add_done_callback")]
    pub fn add_done_callback(&self, call: impl FnOnce(&AnyTask) + 'static) -> CallbackId {
        self.any().add_done_callback(call)
    }

    /// See [`AnyTask::remove_done_callback`].
    #[doc(alias = "asyncio.Task.remove_done_callback")]
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        self.any().remove_done_callback(id)
    }

    /// See [`AnyTask::stack`].
    #[doc(alias = "asyncio.Task.get_stack")]
    pub fn stack(&self, limit: impl Into<Option<usize>>) -> Vec<Frame> {
        self.any().stack(limit)
    }

    /// See [`AnyTask::print_stack`].
    ///
    /// # Errors
    /// Those of `out`.
    #[doc(alias = "asyncio.Task.print_stack")]
    pub fn print_stack(&self, limit: impl Into<Option<usize>>, out: &mut dyn io::Write) -> io::Result<()> {
        self.any().print_stack(limit, out)
    }

    /// The context variables of the task: this very object, not a copy.
    #[doc(alias = "asyncio.Task.get_context")]
    pub fn context(&self) -> Context {
        self.any().context()
    }

    /// The name of the type of its body.
    #[doc(alias = "asyncio.Task.get_coro")]
    pub fn body_type_name(&self) -> &'static str {
        self.any().body_type_name()
    }
}

impl<T, E: TaskError> Future for Task<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        let task = this.typed.task();
        let begun = this.point.has_begun();
        let mut cancelled = begun && this.point.check(cx.waker()).is_err();
        if task.is_done() {
            this.point.end();
            if cancelled {
                return Poll::Ready(Err(CancelledError.into())); // C10: the result stays in the task
            }
            return match this.take() {
                Some(result) => Poll::Ready(result),
                None => panic!("a task was awaited again after its result was taken"),
            };
        }
        assert!(!task.is_woken_by(cx.waker()), "a task awaits itself: that would never end");
        if !begun && this.point.begin(cx.waker()).is_err() {
            cancelled = true;
            // It was delivered, so the wait begins undisturbed.
            let _ = this.point.begin(cx.waker());
        }
        if cancelled {
            hand_down(task);
        }
        task.core().add_joiner(cx.waker());
        Poll::Pending
    }
}

impl<T, E> Drop for Task<T, E> {
    fn drop(&mut self) {
        if self.typed.task().detach() {
            let ending = match self.typed.take() {
                Some(Outcome::Panic(_)) => Ending::Panic,
                Some(Outcome::Value(_)) | None => Ending::Error,
            };
            report_unseen(self.typed.task(), ending);
        }
    }
}

impl<T, E> fmt::Debug for Task<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any().fmt(f)
    }
}

impl<T, E> Unpin for Task<T, E> {}

/// A handle of a task, whatever its result: what [`current_task`](crate::current_task) and
/// [`all_tasks`](crate::all_tasks) give.
#[derive(Clone)]
pub struct AnyTask {
    task: TaskRef,
}

impl AnyTask {
    pub(super) fn new(task: TaskRef) -> AnyTask {
        AnyTask { task }
    }

    /// See [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        request_cancel(&self.task, None)
    }

    /// See [`Task::cancel_with`].
    pub fn cancel_with(&self, message: impl fmt::Display) -> bool {
        request_cancel(&self.task, Some(message.to_string().into()))
    }

    /// Takes one cancel back and returns how many are left. With the last one, the request itself is withdrawn: if it was
    /// not delivered yet, it never will be.
    pub fn uncancel(&self) -> u32 {
        let core = self.task.core();
        let left = core.cancelling.get().saturating_sub(1);
        core.cancelling.set(left);
        if left == 0 {
            core.marks.withdraw();
            core.set_message(None);
        }
        left
    }

    /// How many cancels were asked for and not taken back.
    pub fn cancelling(&self) -> u32 {
        self.task.core().cancelling.get()
    }

    /// The reason given with the first cancel that is not taken back.
    pub fn cancel_message(&self) -> Option<Rc<str>> {
        self.task.core().message()
    }

    /// Whether the task has ended by handing a cancel on.
    pub fn cancelled(&self) -> bool {
        self.task.is_cancelled()
    }

    /// Whether the task has ended.
    pub fn done(&self) -> bool {
        self.task.is_done()
    }

    /// The task's name.
    pub fn name(&self) -> Rc<str> {
        self.task.core().name()
    }

    /// Gives the task another name.
    pub fn set_name(&self, name: impl fmt::Display) {
        self.task.core().set_name(name.to_string().into());
    }

    /// A number that no other task of the process has.
    pub fn id(&self) -> u64 {
        self.task.core().id
    }

    /// Waits until the task has ended, however it ends. For any number of waiters.
    ///
    /// ```
    /// # ringio::run(async {
    /// let task = ringio::create_task(async { Ok::<_, ringio::CancelledError>(3) });
    /// let any = task.to_any();
    /// any.wait_done().await?;
    /// assert!(any.done());
    /// assert_eq!(task.await?, 3);
    /// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
    /// ```
    pub fn wait_done(&self) -> WaitDone {
        WaitDone::new(self.task.clone())
    }

    /// Calls `call` when the task has ended: on a later turn, in the order in which such calls were added, with the
    /// context variables of whoever adds it. A panic in it goes to the error handler.
    pub fn add_done_callback(&self, call: impl FnOnce(&AnyTask) + 'static) -> CallbackId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let call = Box::new(move |task| call(&AnyTask { task }));
        let callback = Callback { id, vars: current_vars().and_then(|vars| vars.copied()), call };
        if self.done() {
            call_back(&self.task, callback);
        } else {
            self.task.core().add_callback(callback);
        }
        CallbackId(id)
    }

    /// False when there is no such call to come.
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        self.task.core().remove_callback(id.0)
    }

    /// Where the task is: where it was made, and what it waits for, as far as that is known. The newest `limit` of these;
    /// none when it has ended.
    pub fn stack(&self, limit: impl Into<Option<usize>>) -> Vec<Frame> {
        graph::stack(&self.task, limit.into())
    }

    /// Writes [`AnyTask::stack`], one line each.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print_stack(&self, limit: impl Into<Option<usize>>, out: &mut dyn io::Write) -> io::Result<()> {
        graph::print_stack(&self.task, limit.into(), out)
    }

    /// The context variables of the task: this very object, not a copy.
    pub fn context(&self) -> Context {
        let core = self.task.core();
        Context::of(core.vars().unwrap_or_else(|| {
            let vars = Vars::default();
            core.set_vars(vars.clone());
            vars
        }))
    }

    /// The name of the type of its body.
    pub fn body_type_name(&self) -> &'static str {
        self.task.body_type()
    }

    #[cfg(feature = "internals")]
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    pub(super) fn into_ref(self) -> TaskRef {
        self.task
    }

    /// Where the task was made.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.core().spawned_at
    }
}

impl PartialOrd for AnyTask {
    fn partial_cmp(&self, other: &AnyTask) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AnyTask {
    /// In the order of their ids.
    fn cmp(&self, other: &AnyTask) -> std::cmp::Ordering {
        self.id().cmp(&other.id())
    }
}

impl PartialEq for AnyTask {
    fn eq(&self, other: &AnyTask) -> bool {
        self.task.is(&other.task)
    }
}

impl Eq for AnyTask {}

impl fmt::Debug for AnyTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.done(), self.cancelled()) {
            (true, true) => "cancelled",
            (true, false) => "finished",
            (false, _) if self.cancelling() > 0 => "cancelling",
            (false, _) => "pending",
        };
        write!(f, "<Task {state} name='{}' spawned_at={}>", self.name(), self.spawned_at())
    }
}

/// Names a call that [`AnyTask::add_done_callback`] added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallbackId(u64);

/// C12: the cancel is the awaited task's now, with its reason; how it ends is how this wait ends.
pub(super) fn hand_down(task: &TaskRef) {
    let message = context::with_task(|_, waiting, _| waiting.core().message()).flatten();
    request_cancel(task, message);
}

/// C1: true when the task has not ended.
pub(super) fn request_cancel(task: &TaskRef, message: Option<Rc<str>>) -> bool {
    if task.is_done() {
        task.saw(); // E2: whoever cancels it no longer wants its error
        return false;
    }
    let core = task.core();
    if !core.marks.is_pending() {
        core.set_message(message);
    }
    cancel_task(task);
    true
}
