//! Handles of tasks.

use std::{
    fmt,
    future::Future,
    panic::{Location, resume_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::TaskBuilder;
use crate::{
    error::{InvalidStateError, TaskError},
    executor::{Ending, Outcome, TaskRef, Typed, report_unseen},
    scope::{CancelPoint, cancel_task},
};

/// A task. Awaiting it gives its result; a panic of its body goes on in whoever awaits it. Dropping the handle lets the
/// task run on by itself.
///
/// # Cancellation
/// **Nothing lost**: a cancel of whoever awaits the task is handed down to it, and its real result is waited for.
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
        AnyTask::new(self.typed.task().clone())
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

    /// Calls `look` with the result, without taking it.
    ///
    /// # Errors
    /// When the task has not ended, its result was taken, or it panicked.
    #[doc(alias = "asyncio.Task.result")]
    pub fn with_result<R>(&self, look: impl FnOnce(&Result<T, E>) -> R) -> Result<R, InvalidStateError> {
        if !self.done() {
            return Err(InvalidStateError::NotDone);
        }
        self.typed.look(|result| result.map(look)).ok_or(InvalidStateError::Taken)
    }
}

impl<T, E: TaskError> Future for Task<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        let task = this.typed.task();
        if task.is_done() {
            this.point.end();
            return match this.typed.take() {
                Some(Outcome::Value(result)) => Poll::Ready(result),
                Some(Outcome::Panic(payload)) => resume_unwind(payload),
                None => panic!("a task was awaited again after its result was taken"),
            };
        }
        assert!(!task.is_woken_by(cx.waker()), "a task awaits itself: that would never end");
        let begun = this.point.has_begun();
        let point = if begun { this.point.check(cx.waker()) } else { this.point.begin(cx.waker()) };
        if point.is_err() {
            // C12: the cancel is the awaited task's now; how it ends is how this wait ends.
            request_cancel(task, None);
            if !begun {
                // It was delivered, so the wait begins undisturbed.
                let _ = this.point.begin(cx.waker());
            }
        }
        task.core().add_joiner(cx.waker());
        Poll::Pending
    }
}

impl<T, E> Drop for Task<T, E> {
    fn drop(&mut self) {
        let task = self.typed.task();
        if task.detach() {
            let ending = match self.typed.take() {
                Some(Outcome::Panic(_)) => Ending::Panic,
                Some(Outcome::Value(_)) | None => Ending::Error,
            };
            report_unseen(task, ending);
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

    /// Where the task was made.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.core().spawned_at
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

/// C1: true when the task has not ended.
fn request_cancel(task: &TaskRef, message: Option<Rc<str>>) -> bool {
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
