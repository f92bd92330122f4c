//! Several tasks that somebody waits for: which of them have ended, in the order they did.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ops::Range,
    task::Waker,
};

use super::{Family, Parts, TaskRef, Waiter};

/// The index that stands for a deadline.
pub(crate) const DEADLINE: u32 = u32::MAX;

/// Indices arrive here and are taken out one by one: from tasks that were made for this wait, which tell of themselves, and
/// from others ([`Waiter::Arrival`]).
#[derive(Default)]
pub(crate) struct Arrivals {
    /// How many have not arrived.
    left: Cell<u32>,
    /// Whether each one is told of, or only what may have gone wrong.
    each: bool,
    ended: RefCell<VecDeque<u32>>,
    first: Cell<Option<Waiter>>,
    others: RefCell<Vec<Waiter>>,
    overdue: Cell<bool>,
    /// The ids of the tasks that tell of themselves.
    members: RefCell<Vec<Range<u64>>>,
}

impl Arrivals {
    /// All that arrive are told of.
    pub(crate) fn of_each(count: usize) -> Arrivals {
        Arrivals { each: true, ended: RefCell::new(VecDeque::with_capacity(count)), ..Arrivals::default() }
    }

    /// One more will arrive.
    #[inline]
    pub(crate) fn expect(&self) {
        self.left.set(self.left.get() + 1);
    }

    /// The one that was expected last is this task, and tells of itself.
    #[inline]
    pub(crate) fn enlist(&self, id: u64) {
        let mut members = self.members.borrow_mut();
        match members.last_mut() {
            // New tasks have their numbers in a row.
            Some(last) if last.end == id => last.end = id + 1,
            _ => members.push(id..id + 1),
        }
    }

    /// How many have not arrived.
    #[inline]
    pub(crate) fn left(&self) -> u32 {
        self.left.get()
    }

    /// Puts an index at the end and wakes whoever waits.
    pub(crate) fn arrive(&self, index: u32) {
        if index == DEADLINE {
            self.overdue.set(true);
        } else {
            self.left.set(self.left.get() - 1);
            self.ended.borrow_mut().push_back(index);
        }
        self.wake();
    }

    /// As `arrive`, for one that has a value.
    #[inline]
    pub(crate) fn arrive_well(&self, index: u32) {
        if self.each {
            return self.arrive(index);
        }
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // Taken out first: whatever a waker does, it finds nothing borrowed.
        let (first, others) = (self.first.take(), self.others.take());
        first.into_iter().chain(others).for_each(Waiter::wake);
    }

    /// Takes out the index that has been here longest.
    #[inline]
    pub(crate) fn next(&self) -> Option<u32> {
        self.ended.borrow_mut().pop_front()
    }

    /// Whether the deadline has arrived.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.get()
    }

    /// Wakes whoever `waker` stands for with the next arrival.
    pub(crate) fn wait(&self, waker: &Waker) {
        let first = self.first.take();
        let is_first = first.as_ref().is_none_or(|known| known.is(waker));
        self.first.set(Some(first.unwrap_or_else(|| Waiter::of(waker))));
        if !is_first {
            let mut others = self.others.borrow_mut();
            if !others.iter().any(|known| known.is(waker)) {
                others.push(Waiter::of(waker));
            }
        }
    }

    /// Nobody waits any more.
    pub(crate) fn leave(&self) {
        drop((self.first.take(), self.others.take()));
    }

    /// The tasks that wait here.
    pub(crate) fn waiting(&self, parts: &Parts) -> Vec<TaskRef> {
        let first = self.first.take();
        let others = self.others.borrow();
        let waiting = first.iter().chain(&*others).filter_map(|waiter| parts.task_of(waiter)).collect();
        self.first.set(first);
        waiting
    }
}

impl Family for Arrivals {
    fn parents(&self, parts: &Parts) -> Vec<TaskRef> {
        self.waiting(parts)
    }

    fn members(&self) -> Vec<Range<u64>> {
        self.members.borrow().clone()
    }
}
