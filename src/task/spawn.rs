//! Making tasks, and finding them.

use std::{fmt, future::Future, panic::Location, rc::Rc};

use super::{AnyTask, Task};
use crate::{
    error::Outcome,
    executor::{Ending, Finish, Seed, context},
};

/// Starts a task: `body` runs beside its creator from the next turn on, and goes on when the handle is dropped.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// ringio::run(async {
///     let task = ringio::create_task(async { Ok::<_, ringio::CancelledError>(6 * 7) });
///     assert_eq!(task.await, Ok(42));
/// });
/// ```
#[doc(alias = "asyncio.create_task")]
#[track_caller]
pub fn create_task<F>(body: F) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
where
    F: Future + 'static,
    F::Output: Outcome,
{
    spawn(body, None, Location::caller())
}

/// Settings of a new task; made by [`Task::builder`].
#[derive(Default)]
#[must_use = "call spawn()"]
pub struct TaskBuilder {
    name: Option<Rc<str>>,
}

impl TaskBuilder {
    pub(super) fn new() -> TaskBuilder {
        TaskBuilder::default()
    }

    /// The task's name, for reports; `Task-N` unless set.
    pub fn name(mut self, name: impl fmt::Display) -> TaskBuilder {
        self.name = Some(name.to_string().into());
        self
    }

    /// As [`create_task`].
    #[track_caller]
    pub fn spawn<F>(self, body: F) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        spawn(body, self.name, Location::caller())
    }
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("name", &self.name).finish()
    }
}

#[track_caller]
fn spawn<F>(
    body: F,
    name: Option<Rc<str>>,
    spawned_at: &'static Location<'static>,
) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
where
    F: Future + 'static,
    F::Output: Outcome,
{
    let seed = Seed { name, spawned_at };
    Task::new(context::with(|runtime| runtime.spawn::<F, AsResult>(body, seed)))
}

/// The result of a task is its outcome as a plain `Result`.
struct AsResult;

impl<O: Outcome> Finish<O> for AsResult {
    type Result = Result<O::Value, O::Error>;

    fn finish(output: O) -> (Self::Result, Ending) {
        let cancelled = output.is_cancelled();
        let result = output.into_result();
        let ending = match &result {
            Ok(_) => Ending::Value,
            Err(_) if cancelled => Ending::Cancelled,
            Err(_) => Ending::Error,
        };
        (result, ending)
    }
}

/// The task that runs now; `None` outside of any.
///
/// ```
/// let name = ringio::run(async { ringio::current_task().map(|task| task.name().to_string()) });
/// assert!(name.unwrap().starts_with("Task-"));
/// ```
#[doc(alias = "asyncio.current_task")]
pub fn current_task() -> Option<AnyTask> {
    context::current_task().map(AnyTask::new)
}

/// The tasks of this thread's runtime that have not ended, in the order they were made. Empty outside of a runtime.
#[doc(alias = "asyncio.all_tasks")]
pub fn all_tasks() -> Vec<AnyTask> {
    let tasks = context::try_with(|runtime| runtime.all_tasks()).unwrap_or_default();
    tasks.into_iter().filter(|task| !task.is_done()).map(AnyTask::new).collect()
}
