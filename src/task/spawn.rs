//! Making tasks, and finding them.

use std::{fmt, future::Future, panic::Location, rc::Rc};

use super::{AnyTask, Context, Task, TaskGroup};
use crate::{
    error::{Outcome, TaskError},
    executor::{Ending, Finish, Seed, TaskRef, Vars, context},
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
    Settings::at(Location::caller()).spawn(body)
}

/// Settings of a new task; made by [`Task::builder`].
#[derive(Default)]
#[must_use = "call spawn()"]
pub struct TaskBuilder {
    name: Option<Rc<str>>,
    context: Option<Context>,
    eager: bool,
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

    /// The context variables of the task: this very context, not a copy. What the task sets is seen by whoever shares it.
    pub fn context(mut self, context: Context) -> TaskBuilder {
        self.context = Some(context);
        self
    }

    /// Whether the task begins with a first step at once, before `spawn` returns. If that is its last step already, the
    /// task costs no turn of the loop.
    ///
    /// ```
    /// # ringio::run(async {
    /// let task = ringio::Task::builder().eager(true).spawn(async { Ok::<_, ringio::CancelledError>(1) });
    /// assert!(task.done());
    /// # });
    /// ```
    #[doc(alias = "asyncio.eager_task_factory")]
    pub fn eager(mut self, eager: bool) -> TaskBuilder {
        self.eager = eager;
        self
    }

    fn settings(self, spawned_at: &'static Location<'static>) -> Settings {
        Settings { name: self.name, vars: self.context.map(Context::into_vars), eager: self.eager, spawned_at }
    }

    /// As [`TaskGroup::create_task`].
    #[track_caller]
    pub fn spawn_in<T, E, F>(self, group: &TaskGroup<E>, body: F) -> Task<T, E>
    where
        T: 'static,
        E: TaskError,
        F: Future<Output = Result<T, E>> + 'static,
    {
        group.spawn(body, self.settings(Location::caller()))
    }

    /// As [`create_task`].
    #[track_caller]
    pub fn spawn<F>(self, body: F) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.settings(Location::caller()).spawn(body)
    }
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("name", &self.name).field("eager", &self.eager).finish_non_exhaustive()
    }
}

/// What a task is made with.
pub(super) struct Settings {
    name: Option<Rc<str>>,
    vars: Option<Vars>,
    eager: bool,
    spawned_at: &'static Location<'static>,
}

impl Settings {
    pub(super) fn at(spawned_at: &'static Location<'static>) -> Settings {
        Settings { name: None, vars: None, eager: false, spawned_at }
    }

    #[track_caller]
    #[inline]
    pub(super) fn spawn<F>(self, body: F) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.spawn_as::<F, AsResult, _, _>(body, |_| ())
    }

    /// `made` is called with the task before its first step.
    #[track_caller]
    #[inline]
    pub(super) fn spawn_as<F, M, T, E>(self, body: F, made: impl FnOnce(&TaskRef)) -> Task<T, E>
    where
        F: Future + 'static,
        M: Finish<F::Output, Result = Result<T, E>>,
        Result<T, E>: 'static,
    {
        let seed = Seed { name: self.name, spawned_at: self.spawned_at, vars: self.vars };
        Task::new(context::with(|runtime| {
            if self.eager {
                return runtime.spawn_eager::<F, M>(body, seed, made);
            }
            let typed = runtime.spawn::<F, M>(body, seed);
            made(typed.task());
            typed
        }))
    }
}

/// The result of a task is its outcome as a plain `Result`.
struct AsResult;

impl<O: Outcome> Finish<O> for AsResult {
    type Result = Result<O::Value, O::Error>;

    fn finish(output: O) -> (Self::Result, Ending) {
        ended(output)
    }
}

/// An outcome as a plain `Result`, and how the task ends with it.
#[inline]
pub(super) fn ended<O: Outcome>(output: O) -> (Result<O::Value, O::Error>, Ending) {
    let cancelled = output.is_cancelled();
    let result = output.into_result();
    let ending = match &result {
        Ok(_) => Ending::Value,
        Err(_) if cancelled => Ending::Cancelled,
        Err(_) => Ending::Error,
    };
    (result, ending)
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
