//! What is known of a task beside its body.

use std::{
    cell::{Cell, RefCell},
    panic::Location,
    rc::Rc,
    task::Waker,
};

use slab::Slab;

use super::TaskRef;
use crate::scope::Marks;

/// The part of a task that does not depend on its body's type. Home thread only (W1).
pub(crate) struct Core {
    pub(crate) id: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    /// Its place in the registry of all tasks.
    pub(crate) key: Cell<u32>,
    /// How many cancels were asked for, in any of its scopes: they are numbered.
    requests: Cell<u64>,
    /// Cancels of the root scope.
    pub(crate) marks: Marks,
    /// Cancels asked for and not taken back (`cancelling()`).
    pub(crate) cancelling: Cell<u32>,
    joiner: RefCell<Option<Waiter>>,
    extra: RefCell<Option<Box<Extra>>>,
}

/// What few tasks have.
#[derive(Default)]
struct Extra {
    name: Option<Rc<str>>,
    message: Option<Rc<str>>,
    joiners: Vec<Waiter>,
    side: Slab<Waker>,
}

impl Core {
    pub(crate) fn new(id: u64, spawned_at: &'static Location<'static>) -> Core {
        Core {
            id,
            spawned_at,
            key: Cell::new(0),
            requests: Cell::new(0),
            marks: Marks::new(),
            cancelling: Cell::new(0),
            joiner: RefCell::new(None),
            extra: RefCell::new(None),
        }
    }

    fn extra<R>(&self, with: impl FnOnce(&mut Extra) -> R) -> R {
        with(self.extra.borrow_mut().get_or_insert_default())
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        self.requests.get()
    }

    pub(crate) fn name(&self) -> Rc<str> {
        let given = self.extra.borrow().as_ref().and_then(|extra| extra.name.clone());
        given.unwrap_or_else(|| format!("Task-{}", self.id).into())
    }

    pub(crate) fn set_name(&self, name: Rc<str>) {
        self.extra(|extra| extra.name = Some(name));
    }

    /// The message of the first cancel that was not delivered yet (C5).
    pub(crate) fn message(&self) -> Option<Rc<str>> {
        self.extra.borrow().as_ref().and_then(|extra| extra.message.clone())
    }

    pub(crate) fn set_message(&self, message: Option<Rc<str>>) {
        if message.is_some() || self.extra.borrow().is_some() {
            self.extra(|extra| extra.message = message);
        }
    }

    /// Whoever `waker` stands for is woken when the task is done.
    pub(crate) fn add_joiner(&self, waker: &Waker) {
        let mut first = self.joiner.borrow_mut();
        match &*first {
            None => *first = Some(Waiter::of(waker)),
            Some(known) if known.is(waker) => {}
            Some(_) => self.extra(|extra| {
                if !extra.joiners.iter().any(|known| known.is(waker)) {
                    extra.joiners.push(Waiter::of(waker));
                }
            }),
        }
    }

    #[inline]
    pub(super) fn wake_joiners(&self) {
        let first = self.joiner.take();
        if let Some(waiter) = first {
            waiter.wake();
            let others = self.extra.borrow_mut().as_mut().map(|extra| std::mem::take(&mut extra.joiners));
            others.into_iter().flatten().for_each(Waiter::wake);
        }
    }

    /// Lets go of all that belongs to the home thread.
    pub(super) fn clear(&self) {
        if self.joiner.borrow().is_some() {
            drop(self.joiner.take());
        }
        if self.extra.borrow().is_some() {
            drop(self.extra.take());
        }
    }

    /// Remembers the waker of a leaf that is not woken with the task, so that a cancel reaches it.
    pub(crate) fn add_side(&self, waker: Waker) -> usize {
        self.extra(|extra| extra.side.insert(waker))
    }

    pub(crate) fn update_side(&self, key: usize, waker: &Waker) {
        self.extra(|extra| extra.side[key].clone_from(waker));
    }

    pub(crate) fn remove_side(&self, key: usize) {
        let removed = self.extra(|extra| extra.side.remove(key));
        drop(removed);
    }

    pub(crate) fn wake_side(&self) {
        let wakers: Vec<Waker> = match &*self.extra.borrow() {
            Some(extra) => extra.side.iter().map(|(_, waker)| waker.clone()).collect(),
            None => return,
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

/// Whom to wake: a task of this thread without any atomics, or whatever a waker stands for.
pub(crate) enum Waiter {
    Task(TaskRef),
    Foreign(Waker),
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
        }
    }

    #[inline]
    pub(crate) fn wake(self) {
        match self {
            Waiter::Task(task) => task.schedule(),
            Waiter::Foreign(waker) => waker.wake(),
        }
    }
}
