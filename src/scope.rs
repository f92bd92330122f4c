//! Cancel scopes: who asked for a cancel, and which waits it ends.
//!
//! A task has a root scope; `timeout` opens another one around what it runs. Every request to cancel gets a number,
//! larger than all before it. What holds in a scope is the largest number of it and of the scopes around it.
//!
//! - C1 A wait that begins while a request is undelivered ends at once, and the request is delivered. A wait that goes on
//!   while a request comes is ended by it. So one request ends every wait that was pending in its scope, once, and a wait
//!   begun afterwards (the clean-up) is not disturbed.
//! - C2 Delivering marks the scope of the wait and all scopes around it.
//! - C3 Leaving a scope takes its requests with it.
//! - C4 A shielded scope sees no request from outside, and marks none as delivered there.

use std::{cell::Cell, fmt, rc::Rc, task::Waker};

use crate::{
    clock::Tick,
    error::CancelledError,
    executor::{Runtime, TaskRef, TimerKey, context},
};

/// The requests of one scope, by number; zero is none.
#[derive(Debug)]
pub(crate) struct Marks {
    requested: Cell<u64>,
    delivered: Cell<u64>,
}

impl Marks {
    pub(crate) fn new() -> Marks {
        Marks { requested: Cell::new(0), delivered: Cell::new(0) }
    }

    /// Takes back a request that was not delivered (C7 of the contract).
    pub(crate) fn withdraw(&self) {
        self.requested.set(0);
    }

    /// Whether the last request is still to be delivered.
    pub(crate) fn is_pending(&self) -> bool {
        self.requested.get() > self.delivered.get()
    }
}

/// A scope within a task's root scope.
pub(crate) struct Scope {
    marks: Marks,
    outer: Option<Rc<Scope>>,
    /// `None` only while it is a spare one.
    task: Option<TaskRef>,
    /// Waits of ours that are pending in it.
    waits: Cell<usize>,
    pub(crate) deadline: Cell<Option<Tick>>,
    pub(crate) timer: Cell<Option<TimerKey>>,
    stage: Cell<Stage>,
    /// Requests from outside do not get in (C4).
    shielded: Cell<bool>,
    /// What was delivered outside when the scope was entered.
    entered_at: u64,
}

/// So many that were left are kept for the next ones.
const SPARES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Active,
    Expired,
    Left,
}

impl Scope {
    /// A scope inside the current one; `None` outside of a task.
    pub(crate) fn open() -> Option<Rc<Scope>> {
        context::with_task(|runtime, task, outer| {
            let delivered = delivered_in(outer, task);
            let spare = runtime.scopes.borrow_mut().pop();
            let mut opened = spare.unwrap_or_else(|| Rc::new(Scope::unused()));
            // Field by field: a whole one would be put together elsewhere and copied.
            let scope = Rc::get_mut(&mut opened).expect("a spare scope is nobody's");
            (scope.outer, scope.task) = (outer.cloned(), Some(task.clone()));
            scope.marks.requested.set(0);
            scope.marks.delivered.set(delivered);
            scope.entered_at = delivered;
            scope.stage.set(Stage::Active);
            scope.shielded.set(false);
            scope.deadline.set(None);
            opened
        })
    }

    /// Nobody waits in it, and it has no timer: so it is left, too.
    fn unused() -> Scope {
        Scope {
            marks: Marks::new(),
            outer: None,
            task: None,
            waits: Cell::new(0),
            deadline: Cell::new(None),
            timer: Cell::new(None),
            stage: Cell::new(Stage::Left),
            shielded: Cell::new(false),
            entered_at: 0,
        }
    }

    /// Keeps what was left for the next one to be opened, if nobody has it any more.
    pub(crate) fn recycle(mut self: Rc<Scope>) {
        if let Some(scope) = Rc::get_mut(&mut self) {
            (scope.task, scope.outer) = (None, None);
            context::try_with(|runtime| {
                let mut scopes = runtime.scopes.borrow_mut();
                if scopes.len() < SPARES_MAX {
                    scopes.push(self);
                }
            });
        }
    }

    /// The scope's time has come: cancels what runs in it, or lets in what it kept out.
    pub(crate) fn expire(&self) {
        self.timer.set(None);
        if !self.shielded.replace(false) {
            self.cancel();
        } else if requested_in(self.outer.as_ref(), self.task()) > self.entered_at {
            // Under a new number: inside they may have got further meanwhile.
            self.cancel();
        }
    }

    /// Cancels what runs in it, once.
    pub(crate) fn cancel(&self) {
        if self.stage.get() == Stage::Active {
            self.stage.set(Stage::Expired);
            self.marks.requested.set(self.task().core().next_request());
            wake(self.task());
        }
    }

    /// From now on no request from outside gets in, until it expires.
    pub(crate) fn shield(&self) {
        self.shielded.set(true);
    }

    /// What was asked for outside since the scope was entered is delivered once more: it came out as something else.
    pub(crate) fn renew_outside(&self) {
        let renew = |marks: &Marks| {
            if marks.requested.get() > self.entered_at {
                marks.requested.set(self.task().core().next_request());
            }
        };
        let mut next = self.outer.as_ref();
        while let Some(scope) = next {
            renew(&scope.marks);
            if scope.shielded.get() {
                return;
            }
            next = scope.outer.as_ref();
        }
        renew(&self.task().core().marks);
    }

    /// What was asked for outside is what ended the scope.
    pub(crate) fn deliver_outside(&self) {
        deliver(self.outer.as_ref(), self.task(), requested_in(self.outer.as_ref(), self.task()));
    }

    /// Whose scope it is.
    pub(crate) fn task(&self) -> &TaskRef {
        self.task.as_ref().expect("a scope in use has a task")
    }

    pub(crate) fn is_active(&self) -> bool {
        self.stage.get() == Stage::Active
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.stage.get() == Stage::Expired
    }

    /// Whether a cancel from outside the scope came since it was entered, or was still to be delivered then.
    pub(crate) fn was_cancelled_from_outside(&self) -> bool {
        requested_in(self.outer.as_ref(), self.task()) > self.entered_at
    }

    /// A cancel came since the scope was entered, and nothing of ours waits in it that could see one.
    pub(crate) fn is_deaf(&self) -> bool {
        self.waits.get() == 0 && requested_here(self) > self.entered_at
    }

    /// Marks everything asked for so far as delivered.
    pub(crate) fn deliver(self: &Rc<Scope>) {
        deliver(Some(self), self.task(), requested_here(self));
    }

    /// The end; further requests fall on deaf ears. Returns the timer, to be cancelled.
    pub(crate) fn leave(&self) -> Option<TimerKey> {
        if self.stage.get() == Stage::Active {
            self.stage.set(Stage::Left);
        }
        self.timer.take()
    }
}

fn requested_here(scope: &Scope) -> u64 {
    if scope.shielded.get() {
        return scope.marks.requested.get();
    }
    let outer = requested_in(scope.outer.as_ref(), scope.task());
    outer.max(scope.marks.requested.get())
}

/// The largest request of a scope and those around it.
#[inline]
fn requested_in(scope: Option<&Rc<Scope>>, task: &TaskRef) -> u64 {
    if task.core().requests() == 0 {
        return 0;
    }
    let mut largest = 0;
    let mut next = scope;
    while let Some(scope) = next {
        largest = largest.max(scope.marks.requested.get());
        if scope.shielded.get() {
            return largest;
        }
        next = scope.outer.as_ref();
    }
    largest.max(task.core().marks.requested.get())
}

#[inline]
fn delivered_in(scope: Option<&Rc<Scope>>, task: &TaskRef) -> u64 {
    scope.map_or(&task.core().marks, |scope| &scope.marks).delivered.get()
}

/// C2. Numbers only grow, so marking an outer scope with an inner scope's number hides nothing that is yet to come.
fn deliver(scope: Option<&Rc<Scope>>, task: &TaskRef, number: u64) {
    let mut next = scope;
    while let Some(scope) = next {
        scope.marks.delivered.set(number);
        if scope.shielded.get() {
            return;
        }
        next = scope.outer.as_ref();
    }
    task.core().marks.delivered.set(number);
}

/// Asks a task to cancel whatever it waits for.
pub(crate) fn cancel_task(task: &TaskRef) {
    let core = task.core();
    core.cancelling.set(core.cancelling.get() + 1);
    core.marks.requested.set(core.next_request());
    wake(task);
    context::try_with(|runtime| runtime.watch_cancel(task));
}

fn wake(task: &TaskRef) {
    task.schedule();
    task.core().wake_side();
}

/// One wait's view of the scopes it is in: a place where a cancel is delivered.
#[derive(Debug)]
pub(crate) struct CancelPoint {
    /// The largest request when the wait began, or was last ended.
    seen: u64,
    /// Counted in the `waits` of this scope and those around it.
    counted: Option<Rc<Scope>>,
    /// Where in the task's list the waker is that is not the task's own.
    side: Option<Box<(TaskRef, usize)>>,
}

/// `seen` of a wait that has not begun.
const NOT_BEGUN: u64 = u64::MAX;

impl Default for CancelPoint {
    fn default() -> CancelPoint {
        CancelPoint { seen: NOT_BEGUN, counted: None, side: None }
    }
}

impl CancelPoint {
    /// The wait begins: ends it at once if a cancel is still to be delivered.
    #[inline]
    pub(crate) fn begin(&mut self, waker: &Waker) -> Result<(), CancelledError> {
        self.begin_then(waker, |_, _| ()).map(drop)
    }

    /// As `begin`, and lets the task run again in the next turn.
    #[inline]
    pub(crate) fn begin_for_a_turn(&mut self, waker: &Waker) -> Result<(), CancelledError> {
        let own = self.begin_then(waker, Runtime::schedule)?;
        if own.is_none() {
            waker.wake_by_ref();
        }
        Ok(())
    }

    /// Calls `own` when the waker is that of the task itself.
    #[inline]
    fn begin_then<R>(
        &mut self,
        waker: &Waker,
        own: impl FnOnce(&Runtime, &TaskRef) -> R,
    ) -> Result<Option<R>, CancelledError> {
        let begun = context::with_task(|runtime, task, scope| {
            let requested = requested_in(scope, task);
            if requested > 0 && requested > delivered_in(scope, task) {
                deliver(scope, task, requested);
                return Err(CancelledError);
            }
            self.seen = requested;
            if scope.is_some() {
                count(scope, 1);
                self.counted = scope.cloned();
            }
            if task.is_woken_by(waker) {
                return Ok(Some(own(runtime, task)));
            }
            self.side = Some(Box::new((task.clone(), task.core().add_side(waker.clone()))));
            Ok(None)
        });
        // Outside of a task there is nobody to cancel.
        begun.unwrap_or_else(|| {
            self.seen = NOT_BEGUN - 1;
            Ok(None)
        })
    }

    /// The wait goes on: whether a cancel has come since it began. Delivers it.
    #[inline]
    pub(crate) fn check(&mut self, waker: &Waker) -> Result<(), CancelledError> {
        let checked = context::with_task(|_, task, scope| {
            if task.core().requests() <= self.seen {
                return Ok(());
            }
            let requested = requested_in(scope, task);
            if requested > self.seen {
                self.seen = requested;
                deliver(scope, task, requested);
                return Err(CancelledError);
            }
            Ok(())
        });
        if let Some(side) = &self.side {
            side.0.core().update_side(side.1, waker);
        }
        checked.unwrap_or(Ok(()))
    }

    /// Whether a cancel has come since the wait began; it stays undelivered.
    #[inline]
    pub(crate) fn has_request(&self) -> bool {
        context::with_task(|_, task, scope| requested_in(scope, task) > self.seen).unwrap_or(false)
    }

    /// Whether a cancel is on its way to this wait, as others see it. `task` is whom the wait wakes.
    pub(crate) fn is_doomed(&self, task: Option<&TaskRef>) -> bool {
        let task = self.side.as_ref().map(|side| &side.0).or(task);
        task.is_some_and(|task| requested_in(self.counted.as_ref(), task) > self.seen)
    }

    /// The task in whose list the waker is, when it is not the task's own.
    pub(crate) fn side_task(&self) -> Option<&TaskRef> {
        self.side.as_ref().map(|side| &side.0)
    }

    /// Marks the request that ended this wait as delivered.
    pub(crate) fn deliver(&mut self) {
        context::with_task(|_, task, scope| deliver(scope, task, requested_in(scope, task)));
    }

    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        self.seen != NOT_BEGUN
    }

    /// The wait is over.
    #[inline]
    pub(crate) fn end(&mut self) {
        if self.counted.is_some() || self.side.is_some() {
            self.end_slowly();
        }
        self.seen = NOT_BEGUN;
    }

    fn end_slowly(&mut self) {
        count(self.counted.take().as_ref(), -1);
        if let Some(side) = self.side.take() {
            side.0.core().remove_side(side.1);
        }
    }
}

impl Drop for CancelPoint {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

#[inline]
fn count(scope: Option<&Rc<Scope>>, by: isize) {
    let mut next = scope;
    while let Some(scope) = next {
        scope.waits.set(scope.waits.get().wrapping_add_signed(by));
        next = scope.outer.as_ref();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("stage", &self.stage.get()).field("waits", &self.waits.get()).finish()
    }
}
