//! Several tasks that somebody waits for: which of them have ended, in the order they did.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
};

use super::{TaskRef, Waiter};

/// The index that stands for a deadline.
pub(crate) const DEADLINE: u32 = u32::MAX;

/// Indices arrive here ([`Waiter::Arrival`]) and are taken out one by one.
#[derive(Default)]
pub(crate) struct Arrivals {
    ended: RefCell<VecDeque<u32>>,
    waiters: RefCell<Vec<Waiter>>,
    overdue: Cell<bool>,
}

impl Arrivals {
    /// Puts an index at the end and wakes whoever waits.
    pub(crate) fn arrive(&self, index: u32) {
        if index == DEADLINE {
            self.overdue.set(true);
        } else {
            self.ended.borrow_mut().push_back(index);
        }
        // Taken out first: whatever a waker does, it finds nothing borrowed.
        self.waiters.take().into_iter().for_each(Waiter::wake);
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
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.iter().any(|known| known.is(waker)) {
            waiters.push(Waiter::of(waker));
        }
    }

    /// Nobody waits any more.
    pub(crate) fn leave(&self) {
        drop(self.waiters.take());
    }

    /// The tasks that wait here.
    pub(crate) fn waiting(&self) -> Vec<TaskRef> {
        let task = |waiter: &Waiter| if let Waiter::Task(task) = waiter { Some(task.clone()) } else { None };
        self.waiters.borrow().iter().filter_map(task).collect()
    }
}
