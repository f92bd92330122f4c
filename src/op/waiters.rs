//! Who waits for something that has an owner: all are woken, and look for themselves.

use std::{cell::RefCell, task::Waker};

#[derive(Default)]
pub(crate) struct Waiters {
    wakers: RefCell<Vec<Waker>>,
}

impl Waiters {
    /// Whoever `waker` stands for is woken with the next [`Waiters::wake_all`].
    pub(crate) fn add(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Calls `look` with everybody who waits.
    pub(super) fn each(&self, look: impl FnMut(&Waker)) {
        self.wakers.borrow().iter().for_each(look);
    }

    #[inline]
    pub(crate) fn wake_all(&self) {
        if self.wakers.borrow().is_empty() {
            return;
        }
        // Taken out first: whatever a waker does, it does not find the list borrowed.
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}
