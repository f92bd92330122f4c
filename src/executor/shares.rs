//! What other threads see of a task: how many of them refer to it (W2, W3 of the cell), and whether it is in the inbox (W4).

use super::primitives::{AtomicBool, AtomicU32, Ordering};

/// One for all local references together, and one for each waker.
pub(super) struct Shared(AtomicU32);

/// The task holds a reference to its home.
const HOLDS_HOME: u32 = 1 << 31;

impl Shared {
    pub(super) fn new() -> Shared {
        Shared(AtomicU32::new(1))
    }

    /// One more; true for the first waker: the task is to hold a reference to its home from now on.
    #[must_use]
    pub(super) fn add(&self) -> bool {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(before & !HOLDS_HOME < HOLDS_HOME / 2, "more than a billion wakers of one task");
        before & HOLDS_HOME == 0 && self.0.fetch_or(HOLDS_HOME, Ordering::Relaxed) & HOLDS_HOME == 0
    }

    /// One fewer; true for the last one.
    #[must_use]
    pub(super) fn release(&self) -> bool {
        // Without a waker there is no other thread to agree with.
        let alone = self.0.load(Ordering::Acquire) & !HOLDS_HOME == 1;
        alone || self.0.fetch_sub(1, Ordering::AcqRel) & !HOLDS_HOME == 1
    }

    /// To be asked by the last one.
    pub(super) fn holds_home(&self) -> bool {
        self.0.load(Ordering::Relaxed) & HOLDS_HOME != 0
    }
}

/// Whether a task is in the inbox.
pub(super) struct Queued(AtomicBool);

impl Queued {
    pub(super) fn new() -> Queued {
        Queued(AtomicBool::new(false))
    }

    /// True for whoever has to put it in.
    #[must_use]
    pub(super) fn enter(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_in(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// It is out, and will be polled. An exchange and no store: whoever found it still in there has brought news, which the
    /// poll has to see.
    pub(super) fn leave(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
