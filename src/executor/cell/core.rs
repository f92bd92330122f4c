//! What is known of a task beside its body.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    rc::Rc,
    task::Waker,
};

use slab::Slab;

use super::TaskRef;
use crate::{
    clock::Tick,
    executor::{Arrivals, Parts, Vars, runtime::report_panic_in_drop},
    scope::Marks,
};

/// What a task is made with, whatever its body.
#[derive(Clone, Copy)]
pub(in crate::executor) struct Birth {
    pub(in crate::executor) id: u64,
    pub(in crate::executor) spawned_at: &'static Location<'static>,
}

/// The part of a task that does not depend on its body's type. Home thread only (W1).
pub(crate) struct Core {
    pub(crate) id: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    /// How many cancels were asked for, in any of its scopes: they are numbered.
    requests: Cell<u64>,
    /// Cancels of the root scope.
    pub(crate) marks: Marks,
    /// Cancels asked for and not taken back (`cancelling()`).
    pub(crate) cancelling: Cell<u32>,
    /// The task that waits for this one's end; further waits are in `extra`.
    joiner: Cell<Option<TaskRef>>,
    /// Whether there is any, so that most tasks need not look.
    has_extra: Cell<bool>,
    extra: Cell<Option<Box<Extra>>>,
}

const _: () = assert!(size_of::<Core>() <= 64);

/// What few tasks have.
#[derive(Default)]
struct Extra {
    name: Option<Rc<str>>,
    message: Option<Rc<str>>,
    /// The first of the waits for several tasks that this is one of.
    arrival: Option<Waiter>,
    joiners: Vec<Waiter>,
    vars: Option<Vars>,
    callbacks: Vec<Callback>,
    side: Slab<Waker>,
    /// When its last step began, where that is wanted.
    stepped: Option<Tick>,
}

/// What is called when the task is done, in which context.
pub(crate) struct Callback {
    pub(crate) id: u64,
    pub(crate) vars: Option<Vars>,
    pub(crate) call: Box<dyn FnOnce(TaskRef)>,
}

impl Core {
    pub(super) fn new(Birth { id, spawned_at }: Birth) -> Core {
        Core {
            id,
            spawned_at,
            requests: Cell::new(0),
            marks: Marks::new(),
            cancelling: Cell::new(0),
            joiner: Cell::new(None),
            has_extra: Cell::new(false),
            extra: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn has_extra(&self) -> bool {
        self.has_extra.get()
    }

    /// Nothing of the user's may run in `with`: what it touches is out of its place meanwhile.
    fn extra<R>(&self, with: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        self.has_extra.set(true);
        let result = with(&mut extra);
        self.extra.set(Some(extra));
        result
    }

    /// As `extra`, if there is any.
    #[inline]
    fn if_extra<R>(&self, with: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        if !self.has_extra() {
            return None;
        }
        let mut extra = self.extra.take()?;
        let result = with(&mut extra);
        self.extra.set(Some(extra));
        Some(result)
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        self.requests.get()
    }

    /// The largest number of all requests so far; zero for none.
    #[inline]
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    pub(crate) fn name(&self) -> Rc<str> {
        let given = self.if_extra(|extra| extra.name.clone()).flatten();
        given.unwrap_or_else(|| format!("Task-{}", self.id).into())
    }

    /// Appends the name that it was given, if it was.
    pub(crate) fn write_name(&self, to: &mut String) {
        self.if_extra(|extra| to.push_str(extra.name.as_deref().unwrap_or_default()));
    }

    pub(crate) fn set_name(&self, name: Rc<str>) {
        self.extra(|extra| extra.name = Some(name));
    }

    pub(crate) fn set_stepped(&self, now: Tick) {
        self.extra(|extra| extra.stepped = Some(now));
    }

    pub(crate) fn stepped(&self) -> Option<Tick> {
        self.if_extra(|extra| extra.stepped).flatten()
    }

    /// The message of the first cancel that was not delivered yet (C5).
    pub(crate) fn message(&self) -> Option<Rc<str>> {
        self.if_extra(|extra| extra.message.clone()).flatten()
    }

    pub(crate) fn set_message(&self, message: Option<Rc<str>>) {
        match message {
            Some(message) => self.extra(|extra| extra.message = Some(message)),
            None => drop(self.if_extra(|extra| extra.message = None)),
        }
    }

    /// Whoever `waker` stands for is woken when the task is done.
    pub(crate) fn add_joiner(&self, waker: &Waker) {
        let first = self.joiner.take().or_else(|| TaskRef::of_waker(waker));
        let known = first.as_ref().is_some_and(|task| task.is_woken_by(waker));
        self.joiner.set(first);
        if known || self.if_extra(|extra| extra.joiners.iter().any(|known| known.is(waker))) == Some(true) {
            return;
        }
        let waiter = Waiter::of(waker);
        self.extra(|extra| extra.joiners.push(waiter));
    }

    /// `arrivals` is told, with this index, when the task is done.
    pub(crate) fn add_arrival(&self, arrivals: &Rc<Arrivals>, index: u32) {
        let arrival = Waiter::Arrival(arrivals.clone(), index);
        self.extra(|extra| match extra.arrival {
            None => extra.arrival = Some(arrival),
            Some(_) => extra.joiners.push(arrival),
        });
    }

    /// `arrivals` need not be told any more.
    pub(crate) fn remove_arrival(&self, arrivals: &Rc<Arrivals>) {
        let gone = self.if_extra(|extra| {
            let first = extra.arrival.take_if(|waiter| waiter.is_arrival(arrivals));
            (first, extra.joiners.extract_if(.., |waiter| waiter.is_arrival(arrivals)).collect::<Vec<_>>())
        });
        drop(gone);
    }

    /// The tasks that wait for this one's end, and how many waits there are in all.
    pub(crate) fn waiting(&self, parts: &Parts) -> (Vec<TaskRef>, usize) {
        let first = self.joiner.take();
        let mut tasks: Vec<TaskRef> = first.iter().cloned().collect();
        self.joiner.set(first);
        let mut count = tasks.len();
        self.if_extra(|extra| {
            for waiter in extra.arrival.iter().chain(&extra.joiners) {
                count += 1;
                match waiter {
                    Waiter::Arrival(arrivals, _) => tasks.extend(arrivals.waiting(parts)),
                    Waiter::Task(_) | Waiter::Foreign(_) => tasks.extend(parts.task_of(waiter)),
                }
            }
        });
        (tasks, count)
    }

    pub(crate) fn vars(&self) -> Option<Vars> {
        self.if_extra(|extra| extra.vars.clone()).flatten()
    }

    pub(crate) fn set_vars(&self, vars: Vars) {
        drop(self.extra(|extra| extra.vars.replace(vars)));
    }

    pub(crate) fn add_callback(&self, callback: Callback) {
        self.extra(|extra| extra.callbacks.push(callback));
    }

    /// True when there was such a callback.
    pub(crate) fn remove_callback(&self, id: u64) -> bool {
        let found = self.if_extra(|extra| {
            let at = extra.callbacks.iter().position(|callback| callback.id == id)?;
            Some(extra.callbacks.remove(at))
        });
        found.flatten().is_some()
    }

    #[inline]
    pub(crate) fn take_callbacks(&self) -> Vec<Callback> {
        self.if_extra(|extra| std::mem::take(&mut extra.callbacks)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn wake_joiners(&self) {
        if let Some(task) = self.joiner.take() {
            task.schedule();
        }
        if let Some((first, others)) = self.if_extra(|extra| (extra.arrival.take(), std::mem::take(&mut extra.joiners)))
        {
            first.into_iter().chain(others).for_each(Waiter::wake);
        }
    }

    /// Lets go of all that there is to drop, on the home thread.
    #[inline]
    pub(super) fn clear(&self) {
        drop(self.joiner.take());
        if self.has_extra.take()
            && let Some(extra) = self.extra.take()
        {
            drop_quietly(extra);
        }
    }

    /// Remembers the waker of a leaf that is not woken with the task, so that a cancel reaches it.
    pub(crate) fn add_side(&self, waker: Waker) -> usize {
        self.extra(|extra| extra.side.insert(waker))
    }

    pub(crate) fn update_side(&self, key: usize, waker: &Waker) {
        if self.if_extra(|extra| extra.side[key].will_wake(waker)) == Some(false) {
            let waker = waker.clone();
            let old = self.extra(|extra| std::mem::replace(&mut extra.side[key], waker));
            drop(old);
        }
    }

    pub(crate) fn remove_side(&self, key: usize) {
        let removed = self.extra(|extra| extra.side.remove(key));
        drop(removed);
    }

    /// Calls `look` with the wakers of such leaves.
    pub(crate) fn each_side(&self, mut look: impl FnMut(&Waker)) {
        self.if_extra(|extra| extra.side.iter().for_each(|(_, waker)| look(waker)));
    }

    pub(crate) fn wake_side(&self) {
        let keys: Vec<usize> =
            self.if_extra(|extra| extra.side.iter().map(|(key, _)| key).collect()).unwrap_or_default();
        for key in keys {
            // Out of its place while it is called: that may do whatever it likes to the list.
            if let Some(waker) = self.swap_side(key, Waker::noop().clone()) {
                waker.wake_by_ref();
                drop(self.swap_side(key, waker));
            }
        }
    }

    fn swap_side(&self, key: usize, waker: Waker) -> Option<Waker> {
        self.if_extra(|extra| Some(std::mem::replace(extra.side.get_mut(key)?, waker))).flatten()
    }
}

/// What users put into callbacks and context variables may panic when it goes: that harms nobody here.
fn drop_quietly<T>(users: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(users))).is_err() {
        report_panic_in_drop();
    }
}

/// Whom to wake: a task of this thread without any atomics, or whatever a waker stands for.
pub(crate) enum Waiter {
    Task(TaskRef),
    Foreign(Waker),
    /// One of several that somebody waits for.
    Arrival(Rc<Arrivals>, u32),
}

impl Waiter {
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Waiter {
        TaskRef::of_waker(waker).map_or_else(|| Waiter::Foreign(waker.clone()), Waiter::Task)
    }

    #[inline]
    pub(crate) fn is(&self, waker: &Waker) -> bool {
        match self {
            Waiter::Task(task) => task.is_woken_by(waker),
            Waiter::Foreign(known) => known.will_wake(waker),
            Waiter::Arrival(..) => false,
        }
    }

    fn is_arrival(&self, of: &Rc<Arrivals>) -> bool {
        matches!(self, Waiter::Arrival(arrivals, _) if Rc::ptr_eq(arrivals, of))
    }

    #[inline]
    pub(crate) fn wake(self) {
        match self {
            Waiter::Task(task) => task.schedule(),
            Waiter::Foreign(waker) => waker.wake(),
            Waiter::Arrival(arrivals, index) => arrivals.arrive(index),
        }
    }
}
