//! Waiting for several tasks at once, or for one without taking its result.

use std::{
    any::Any,
    future::Future,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{Task, spawn::spawn_at};
use crate::{
    error::{CancelledError, Outcome},
    executor::{Arrivals, TaskRef},
    scope::CancelPoint,
};

/// The task that a future is, if it is one, else a new one.
pub(super) fn as_task<F>(
    future: F,
    spawned_at: &'static Location<'static>,
) -> Task<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>
where
    F: Future + 'static,
    F::Output: Outcome,
    <F::Output as Outcome>::Value: 'static,
{
    let mut future = Some(future);
    let own: &mut dyn Any = &mut future;
    type Own<O> = Option<Task<<O as Outcome>::Value, <O as Outcome>::Error>>;
    if let Some(task) = own.downcast_mut::<Own<F::Output>>().and_then(Option::take) {
        return task;
    }
    spawn_at(future.expect("it was no task, so nobody took it"), spawned_at)
}

/// Tasks that somebody waits for. Each is told of once, in the order in which they end; those that have ended before, in
/// the order given.
pub(super) struct Several {
    arrivals: Rc<Arrivals>,
    tasks: Vec<TaskRef>,
    left: usize,
}

impl Several {
    pub(super) fn new(tasks: Vec<TaskRef>) -> Several {
        let arrivals = Rc::<Arrivals>::default();
        for (index, task) in (0..).zip(&tasks) {
            if task.is_done() {
                arrivals.arrive(index);
            } else {
                task.core().add_arrival(&arrivals, index);
            }
        }
        let left = tasks.len();
        Several { arrivals, tasks, left }
    }

    /// The index of one that has ended.
    pub(super) fn next(&mut self) -> Option<usize> {
        let index = self.arrivals.next()?;
        self.left -= 1;
        Some(index as usize)
    }

    /// How many were not told of yet.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn tasks(&self) -> &[TaskRef] {
        &self.tasks
    }

    pub(super) fn arrivals(&self) -> &Rc<Arrivals> {
        &self.arrivals
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.arrivals.leave();
        for task in &self.tasks {
            // No link to this wait outlives it, however long the task runs (SH4).
            if !task.is_done() {
                task.core().remove_arrival(&self.arrivals);
            }
        }
    }
}

/// The wait of [`AnyTask::wait_done`](crate::AnyTask::wait_done).
///
/// # Cancellation
/// **Nothing lost**: the task is not cancelled, and its result stays in it.
#[must_use = "a wait does nothing until it is awaited"]
pub struct WaitDone {
    task: TaskRef,
    several: Option<Several>,
    point: CancelPoint,
}

impl WaitDone {
    pub(super) fn new(task: TaskRef) -> WaitDone {
        WaitDone { task, several: None, point: CancelPoint::default() }
    }
}

impl Future for WaitDone {
    type Output = Result<(), CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let point = match (this.point.has_begun(), this.task.is_done()) {
            (false, true) => return Poll::Ready(Ok(())),
            (false, false) => this.point.begin(cx.waker()),
            (true, _) => this.point.check(cx.waker()),
        };
        if point.is_err() || this.task.is_done() {
            this.several = None;
            this.point.end();
            return Poll::Ready(point);
        }
        let several = this.several.get_or_insert_with(|| Several::new(vec![this.task.clone()]));
        several.arrivals.wait(cx.waker());
        Poll::Pending
    }
}

impl std::fmt::Debug for WaitDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitDone").field("task", &self.task).finish_non_exhaustive()
    }
}
