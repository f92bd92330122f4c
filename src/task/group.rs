//! Groups of tasks that end together.
//!
//! - G1 A child is in the group from before its first step until its body is gone. The scope ends when none is left, or,
//!   if its future is dropped, cancels those that are left.
//! - G2 An error of a child is moved to the group at once; that the others are cancelled is up to the scope's own task, in
//!   its next step: no child is cancelled in the middle of another one's step.
//! - G3 The body runs in a cancel scope of its own. A cancel that the group gave it stops at the edge of the group; one
//!   from outside goes on.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    ops::Range,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use slab::Slab;

use super::{AnyTask, Task, handle::request_cancel, spawn::Settings};
use crate::{
    error::{CancelledError, ExceptionGroup, GroupError, TaskError},
    executor::{Ending, ErrorReport, Family, Finish, Known, Parts, ReportKind, TaskRef, Waiter, context},
    scope::{CancelPoint, Scope},
};

/// A group of tasks, inside [`TaskGroup::scope`]. A clone is the same group: children may make more children.
#[doc(alias = "asyncio.TaskGroup")]
pub struct TaskGroup<E> {
    state: Rc<State<E>>,
}

struct State<E> {
    /// That of the body.
    scope: Rc<Scope>,
    children: RefCell<Slab<TaskRef>>,
    errors: RefCell<Vec<(E, u64)>>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    stage: Cell<Stage>,
    /// Something went wrong, and the scope's task has not seen to it yet (G2).
    failed: Cell<bool>,
    /// Who polls the scope.
    owner: RefCell<Option<Waiter>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// All children were cancelled.
    Aborting,
    Over,
}

/// The group takes no more tasks: it is over, or one of its tasks has failed, or it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupClosedError;

impl fmt::Display for GroupClosedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task group takes no more tasks; open a new one, or make the task with create_task()")
    }
}

impl std::error::Error for GroupClosedError {}

impl From<GroupClosedError> for std::io::Error {
    fn from(error: GroupClosedError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

impl<E: TaskError> TaskGroup<E> {
    /// Runs `body`, and then waits for every task of the group: none outlives this call. When a task of the group ends
    /// with an error, the others and the body are cancelled, once.
    ///
    /// # Errors
    /// All errors of the tasks and that of the body, as one [`ExceptionGroup`]; or [`CancelledError`], if the cancel came
    /// from outside and there is no error. If there are both, the errors come out, and the cancel is delivered again to the
    /// next wait.
    ///
    /// # Panics
    /// Outside of a task. When a task of the group panics, the others are cancelled, and the panic goes on here when they
    /// have ended; other errors then go to the error handler.
    ///
    /// # Cancellation
    /// **Nothing lost** but the value of the body: the cancel is handed down to every task of the group, and their ends are
    /// waited for. If this future is dropped instead, the tasks are cancelled and end by themselves.
    ///
    /// ```
    /// # use std::{io, time::Duration};
    /// # ringio::run(async {
    /// let sum = ringio::TaskGroup::scope(async |group| {
    ///     let one = group.create_task(async { io::Result::Ok(1) });
    ///     let two = group.create_task(async {
    ///         ringio::sleep(Duration::from_millis(1)).await?;
    ///         Ok(2)
    ///     });
    ///     Ok(one.await? + two.await?)
    /// })
    /// .await?;
    /// assert_eq!(sum, 3);
    /// # io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.TaskGroup")]
    pub async fn scope<R>(body: impl AsyncFnOnce(&TaskGroup<E>) -> Result<R, E>) -> Result<R, GroupError<E>> {
        let Some(scope) = Scope::open() else { panic!("a task group was opened outside of a ringio task") };
        let group = TaskGroup { state: Rc::new(State::new(scope)) };
        let state = &group.state;
        let _over = Over(state);
        let _known = Known::new(state);
        let ended = {
            let body = pin!(body(&group));
            Body { state, body }.await
        };
        let _ = state.scope.leave(); // it has no timer
        if ended.is_err() {
            state.abort();
        }
        let cancelled = Children { state, point: CancelPoint::default(), cancelled: false }.await;
        state.finish(ended, cancelled)
    }

    /// Makes a task of the group; otherwise as [`create_task`](crate::create_task()). The error it ends with, or its
    /// panic, is moved to the group; awaiting the task then gives a [`CancelledError`].
    ///
    /// If the group takes no more tasks ([`GroupClosedError`]), `body` is dropped, and the task ends with a
    /// [`CancelledError`].
    #[doc(alias = "asyncio.TaskGroup.create_task")]
    #[track_caller]
    pub fn create_task<T: 'static>(&self, body: impl Future<Output = Result<T, E>> + 'static) -> Task<T, E> {
        self.spawn(body, Settings::at(Location::caller()))
    }

    /// [`TaskGroup::create_task`] that says so when the group takes no more tasks.
    ///
    /// # Errors
    /// When the group is over, or is being cancelled. `body` is dropped.
    #[track_caller]
    pub fn try_create_task<T: 'static>(
        &self,
        body: impl Future<Output = Result<T, E>> + 'static,
    ) -> Result<Task<T, E>, GroupClosedError> {
        if self.is_closed() {
            return Err(GroupClosedError);
        }
        Ok(self.spawn(body, Settings::at(Location::caller())))
    }

    pub(super) fn spawn<T: 'static>(
        &self,
        body: impl Future<Output = Result<T, E>> + 'static,
        settings: Settings,
    ) -> Task<T, E> {
        if self.is_closed() {
            drop(body);
            return settings.spawn(async { Err(CancelledError.into()) });
        }
        let key = self.state.children.borrow().vacant_key();
        let member = Member { state: self.state.clone(), key };
        // Nobody takes the place meanwhile: nothing of the user's runs until then.
        let enter = |task: &TaskRef| {
            let at = self.state.children.borrow_mut().insert(task.clone());
            debug_assert_eq!(at, key);
        };
        settings.spawn_as::<_, Moved, _, _>(Child { body: Some(body), member }, enter)
    }

    /// Whether the group takes no more tasks.
    pub fn is_closed(&self) -> bool {
        self.state.stage.get() != Stage::Open || self.state.failed.get()
    }

    /// Cancels all tasks of the group, and its body; the scope then ends without an error, if there is none of its tasks.
    /// Has no effect when it is called again, or when the group is over.
    #[doc(alias = "asyncio.TaskGroup.cancel")]
    pub fn cancel(&self) {
        self.state.abort();
    }

    /// How many tasks of the group have not ended.
    pub fn len(&self) -> usize {
        self.state.children.borrow().len()
    }

    /// Whether no task of the group is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tasks of the group that have not ended.
    pub fn tasks(&self) -> Vec<AnyTask> {
        let mut tasks: Vec<AnyTask> = self.state.each_member(|task| AnyTask::new(task.clone()));
        tasks.sort_unstable();
        tasks
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> TaskGroup<E> {
        TaskGroup { state: self.state.clone() }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.state.children.borrow().len();
        f.debug_struct("TaskGroup").field("tasks", &tasks).field("stage", &self.state.stage.get()).finish()
    }
}

impl<E> Family for State<E> {
    fn parents(&self, _: &Parts) -> Vec<TaskRef> {
        vec![self.scope.task().clone()]
    }

    fn members(&self) -> Vec<Range<u64>> {
        self.each_member(|child| child.core().id..child.core().id + 1)
    }
}

impl<E> State<E> {
    fn new(scope: Rc<Scope>) -> State<E> {
        State {
            scope,
            children: RefCell::default(),
            errors: RefCell::default(),
            panic: RefCell::default(),
            stage: Cell::new(Stage::Open),
            failed: Cell::new(false),
            owner: RefCell::new(None),
        }
    }

    fn each_member<R>(&self, mut look: impl FnMut(&TaskRef) -> R) -> Vec<R> {
        self.children.borrow().iter().map(|(_, task)| look(task)).collect()
    }

    /// Cancels children and body, once.
    fn abort(&self) {
        if self.stage.get() == Stage::Open {
            self.stage.set(Stage::Aborting);
            for task in self.each_member(TaskRef::clone) {
                request_cancel(&task, None);
            }
            self.scope.cancel();
        }
    }

    /// A child has ended badly.
    fn fail(&self) {
        self.failed.set(true);
        self.wake();
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) {
        let first = self.panic.borrow().is_none();
        if first {
            self.panic.replace(Some(payload));
        } else {
            report("another task of the group panicked as well".to_owned());
        }
        self.fail();
    }

    fn wake(&self) {
        let owner = self.owner.take();
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// The scope is being polled: sees to what has happened, and is woken from here.
    fn attend(&self, waker: &Waker) {
        if !self.owner.borrow().as_ref().is_some_and(|known| known.is(waker)) {
            let before = self.owner.replace(Some(Waiter::of(waker)));
            drop(before);
        }
        if self.failed.get() {
            self.abort();
        }
    }
}

impl<E: TaskError> State<E> {
    /// What comes out of the scope. `cancelled`: from outside, while the children were waited for.
    fn finish<R>(&self, ended: Result<R, E>, cancelled: bool) -> Result<R, GroupError<E>> {
        let mut group = ExceptionGroup { errors: Vec::new(), origins: Vec::new() };
        for (error, origin) in self.errors.take() {
            group.errors.push(error);
            group.origins.push(Some(origin));
        }
        let ended = ended.map_err(|error| {
            let is_cancel = error.as_cancelled().is_some();
            if !is_cancel {
                group.errors.push(error);
                group.origins.push(None);
            }
            is_cancel
        });
        let outside = self.scope.was_cancelled_from_outside();
        let panic = self.panic.take();
        if let Some(payload) = panic {
            if !group.errors.is_empty() {
                // TG9: the panic comes out, and takes their place.
                report(format!("{} errors of a task group were lost to a panic in it", group.errors.len()));
            }
            resume_unwind(payload);
        }
        if !group.errors.is_empty() {
            if outside {
                self.scope.renew_outside(); // TG6
            }
            return Err(GroupError::Group(group));
        }
        let own = self.scope.has_expired() && !outside;
        if self.scope.has_expired() && outside && ended.is_err() {
            // The group's own may be what the body has seen; the one from outside is what comes out, once.
            self.scope.deliver_outside();
        }
        match ended {
            _ if cancelled => Err(CancelledError.into()),
            Ok(value) => Ok(value),
            Err(true) if own => Err(GroupError::Stopped),
            Err(_) => Err(CancelledError.into()),
        }
    }
}

fn report(message: String) {
    let kind = ReportKind::ErrorNeverRetrieved;
    context::try_with(|runtime| runtime.report(&ErrorReport { kind, task: None, spawned_at: None, message }));
}

/// The end of the scope, however it comes (G1).
struct Over<'a, E>(&'a State<E>);

impl<E> Drop for Over<'_, E> {
    fn drop(&mut self) {
        let _ = self.0.scope.leave();
        self.0.abort();
        self.0.stage.set(Stage::Over);
        let owner = self.0.owner.take();
        drop(owner);
    }
}

/// Polls the body in the group's scope.
struct Body<'a, E, F> {
    state: &'a State<E>,
    body: Pin<&'a mut F>,
}

impl<R, E: TaskError, F: Future<Output = Result<R, E>>> Future for Body<'_, E, F> {
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let this = &mut *self;
        this.state.attend(cx.waker());
        let body = this.body.as_mut();
        let scope = &this.state.scope;
        if let Poll::Ready(ended) = context::in_scope(scope, || body.poll(cx)) {
            return Poll::Ready(ended);
        }
        // It waits for nothing of ours, so it would never see the cancel: it is dropped.
        if scope.is_deaf() {
            scope.deliver();
            return Poll::Ready(Err(CancelledError.into()));
        }
        Poll::Pending
    }
}

/// Waits until no child is left. True when it was cancelled meanwhile.
struct Children<'a, E> {
    state: &'a State<E>,
    point: CancelPoint,
    cancelled: bool,
}

impl<E> Future for Children<'_, E> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        this.state.attend(cx.waker());
        // First, as with a task that is awaited (C10): this wait may be the only one in the scope of the cancel that still
        // hands it on.
        let begun = this.point.has_begun();
        if begun && this.point.check(cx.waker()).is_err() {
            this.cancel();
        }
        if this.state.children.borrow().is_empty() {
            this.point.end();
            return Poll::Ready(this.cancelled);
        }
        if !begun && this.point.begin(cx.waker()).is_err() {
            this.cancel();
            // It was delivered, so the wait begins undisturbed.
            let _ = this.point.begin(cx.waker());
        }
        Poll::Pending
    }
}

impl<E> Children<'_, E> {
    fn cancel(&mut self) {
        self.cancelled = true;
        self.state.abort();
    }
}

/// A place in a group.
struct Member<E> {
    state: Rc<State<E>>,
    key: usize,
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        let mut children = self.state.children.borrow_mut();
        let gone = children.try_remove(self.key);
        let was_last = children.is_empty();
        drop(children);
        drop(gone);
        if was_last {
            self.state.wake();
        }
    }
}

pin_project! {
    /// A child: its body, and its place in the group, which goes after it.
    struct Child<F, E> {
        #[pin]
        body: Option<F>,
        member: Member<E>,
    }
}

/// How a child ended.
enum Ended<T, E> {
    Value(T),
    Error(E),
    /// What went wrong is with the group.
    Moved,
}

impl<T, E: TaskError, F: Future<Output = Result<T, E>>> Future for Child<F, E> {
    type Output = Ended<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<T, E>> {
        let mut this = self.project();
        // The body goes within as well: before anybody sees what came of it.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = this.body.as_mut().as_pin_mut()?.poll(cx);
            if polled.is_ready() {
                this.body.set(None);
            }
            Some(polled)
        }));
        let state = &this.member.state;
        let ended = match polled {
            Ok(Some(Poll::Pending)) => return Poll::Pending,
            Ok(Some(Poll::Ready(result))) => result,
            Ok(None) => return Poll::Ready(Ended::Moved), // it was over before
            Err(payload) => {
                // A second panic while the body of the first one goes says nothing more.
                drop(catch_unwind(AssertUnwindSafe(|| this.body.set(None))));
                if state.stage.get() == Stage::Over {
                    resume_unwind(payload); // there is nobody to give it to
                }
                state.panicked(payload);
                return Poll::Ready(Ended::Moved);
            }
        };
        Poll::Ready(match result_of(ended, state) {
            Some(Ok(value)) => Ended::Value(value),
            Some(Err(error)) => Ended::Error(error),
            None => Ended::Moved,
        })
    }
}

/// Moves an error that is no cancel to the group, if that is there to take it.
fn result_of<T, E: TaskError>(result: Result<T, E>, state: &State<E>) -> Option<Result<T, E>> {
    let error = match result {
        Err(error) if error.as_cancelled().is_none() && state.stage.get() != Stage::Over => error,
        other => return Some(other),
    };
    let id = context::current_task().map_or(0, |task| task.core().id);
    state.errors.borrow_mut().push((error, id));
    state.fail();
    None
}

/// The result of a child as that of a task.
struct Moved;

impl<T, E: TaskError> Finish<Ended<T, E>> for Moved {
    type Result = Result<T, E>;

    fn finish(ended: Ended<T, E>) -> (Result<T, E>, Ending) {
        match ended {
            Ended::Value(value) => (Ok(value), Ending::Value),
            Ended::Error(error) if error.as_cancelled().is_some() => (Err(error), Ending::Cancelled),
            Ended::Error(error) => (Err(error), Ending::Error),
            // It was seen to: nobody has to be told.
            Ended::Moved => (Err(CancelledError.into()), Ending::Value),
        }
    }
}
