//! Waiting for several tasks at once, or for one without taking its result.

use std::{
    any::Any,
    future::Future,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;

use super::{
    Task,
    spawn::{Settings, ended},
};
use crate::{
    error::{CancelledError, Outcome},
    executor::{Arrivals, Ending, Finish, Known, TaskRef},
    scope::CancelPoint,
};

/// What a future of the type `F` becomes as a task.
pub(super) type TaskOf<F> = Task<<<F as Future>::Output as Outcome>::Value, <<F as Future>::Output as Outcome>::Error>;

/// The task that a future is, if it is one.
fn task_in<F>(future: &mut Option<F>) -> Option<TaskOf<F>>
where
    F: Future + 'static,
    F::Output: Outcome,
    <F::Output as Outcome>::Value: 'static,
{
    let future: &mut dyn Any = future;
    future.downcast_mut::<Option<TaskOf<F>>>()?.take()
}

/// The task that a future is, if it is one, else a new one.
pub(super) fn as_task<F>(future: F, spawned_at: &'static Location<'static>) -> TaskOf<F>
where
    F: Future + 'static,
    F::Output: Outcome,
    <F::Output as Outcome>::Value: 'static,
{
    let mut future = Some(future);
    let task = task_in(&mut future);
    task.unwrap_or_else(|| Settings::at(spawned_at).spawn(future.expect("it was no task, so nobody took it")))
}

/// Tasks that somebody waits for. Each is told of once, in the order in which they end; those that have ended before, in
/// the order given.
pub(super) struct Several {
    arrivals: Rc<Arrivals>,
    count: u32,
    /// Those that were tasks before.
    given: Vec<TaskRef>,
    /// While somebody waits for those that were not.
    known: Option<Known>,
}

impl Several {
    /// Only those that do not end with a value are sure to be told of, and when all have ended.
    pub(super) fn failing() -> Several {
        Several::with(Arrivals::default())
    }

    /// For about so many.
    pub(super) fn each(count: usize) -> Several {
        Several::with(Arrivals::of_each(count))
    }

    fn with(arrivals: Arrivals) -> Several {
        Several { arrivals: Rc::new(arrivals), count: 0, given: Vec::new(), known: None }
    }

    fn expect(&mut self) -> u32 {
        let index = self.count;
        self.count += 1;
        self.arrivals.expect();
        index
    }

    /// Adds the task that a future is, or else a new one.
    pub(super) fn add<F>(&mut self, future: F, spawned_at: &'static Location<'static>) -> TaskOf<F>
    where
        F: Future + 'static,
        F::Output: Outcome,
        <F::Output as Outcome>::Value: 'static,
    {
        let mut future = Some(future);
        if let Some(task) = task_in(&mut future) {
            self.add_task(task.task());
            return task;
        }
        let body = future.expect("it was no task, so nobody took it");
        let place = Place { arrivals: self.arrivals.clone(), index: self.expect(), told: false };
        let task = Settings::at(spawned_at).spawn_as::<_, Told, _, _>(Telling { body: Some(body), place }, |_| ());
        self.arrivals.enlist(task.task().core().id);
        task
    }

    pub(super) fn add_task(&mut self, task: &TaskRef) {
        let index = self.expect();
        if task.is_done() {
            self.arrivals.arrive(index);
        } else {
            task.core().add_arrival(&self.arrivals, index);
            self.given.push(task.clone());
        }
    }

    /// The index of one that has ended.
    #[inline]
    pub(super) fn next(&self) -> Option<usize> {
        self.arrivals.next().map(|index| index as usize)
    }

    /// How many have not ended.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.arrivals.left() as usize
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.arrivals.is_overdue()
    }

    /// Wakes whoever `waker` stands for when there is something to tell.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if self.known.is_none() && self.given.len() < self.count as usize {
            self.known = Some(Known::new(&self.arrivals));
        }
        self.arrivals.wait(waker);
    }

    pub(super) fn arrivals(&self) -> &Rc<Arrivals> {
        &self.arrivals
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.arrivals.leave();
        for task in &self.given {
            // No link to this wait outlives it, however long the task runs (SH4).
            if !task.is_done() {
                task.core().remove_arrival(&self.arrivals);
            }
        }
    }
}

pin_project! {
    /// The body of a task that was made to be waited for with others: it tells of its end itself.
    struct Telling<F> {
        #[pin]
        body: Option<F>,
        place: Place,
    }
}

/// A body that goes without having told, as in a panic, tells of that.
struct Place {
    arrivals: Rc<Arrivals>,
    index: u32,
    told: bool,
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        if !self.told {
            self.arrivals.arrive(self.index);
        }
    }
}

impl<F: Future> Future for Telling<F>
where
    F::Output: Outcome,
{
    type Output = (Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>, Ending);

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let body = this.body.as_mut().as_pin_mut().expect("a task is not polled again after its end");
        let ended = ended(ready!(body.poll(cx)));
        // Before it is told: a panic on the way is no value.
        this.body.set(None);
        if ended.1 == Ending::Value {
            this.place.told = true;
            this.place.arrivals.arrive_well(this.place.index);
        }
        Poll::Ready(ended)
    }
}

struct Told;

impl<R> Finish<(R, Ending)> for Told {
    type Result = R;

    fn finish(ended: (R, Ending)) -> (R, Ending) {
        ended
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
        let several = this.several.get_or_insert_with(|| {
            let mut several = Several::failing();
            several.add_task(&this.task);
            several
        });
        several.wait(cx.waker());
        Poll::Pending
    }
}

impl std::fmt::Debug for WaitDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitDone").field("task", &self.task).finish_non_exhaustive()
    }
}
