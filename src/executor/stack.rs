//! The part of an inbox that threads race for: a stack that is emptied as a whole. It follows no pointer.

use std::ptr;

use super::primitives::{AtomicPtr, Ordering};

pub(super) struct Stack<N> {
    top: AtomicPtr<N>,
}

/// The top of a stack that takes no more. Never followed.
fn closed<N>() -> *mut N {
    ptr::without_provenance_mut(1)
}

impl<N> Stack<N> {
    pub(super) fn new() -> Stack<N> {
        Stack { top: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a node on top; before that, `link` is told what will be below it. False when it takes no more.
    pub(super) fn push(&self, node: *mut N, link: impl Fn(*mut N)) -> bool {
        let mut top = self.top.load(Ordering::Relaxed);
        while top != closed() {
            link(top);
            match self.top.compare_exchange_weak(top, node, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => top = now,
            }
        }
        false
    }

    /// To be called after the runtime has said that it falls asleep (D1 of the doorbell).
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.top.load(Ordering::SeqCst).is_null()
    }

    /// All that are in it: the newest one, from which links lead to the others. Null for none.
    #[inline]
    pub(super) fn take(&self) -> *mut N {
        if self.top.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        self.top.swap(ptr::null_mut(), Ordering::Acquire)
    }

    /// [`Stack::take`], for the last time.
    pub(super) fn close(&self) -> *mut N {
        let top = self.top.swap(closed(), Ordering::AcqRel);
        if top == closed() { ptr::null_mut() } else { top }
    }
}
