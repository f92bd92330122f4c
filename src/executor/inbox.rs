//! Wakes from other threads: a lock-free stack of tasks, emptied as a whole by the home thread. No bound but the number
//! of tasks, because each is in it at most once (W4).
#![allow(unsafe_code)] // fence: links tasks through their headers

use std::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use super::cell::{Header, release_from_inbox};
use crate::driver::Doorbell;

pub(crate) struct Inbox {
    top: AtomicPtr<Header>,
    doorbell: Doorbell,
}

/// The top of an inbox whose runtime is gone. Never followed.
fn closed() -> *mut Header {
    ptr::without_provenance_mut(1)
}

impl Inbox {
    pub(super) fn new(doorbell: Doorbell) -> Inbox {
        Inbox { top: AtomicPtr::new(ptr::null_mut()), doorbell }
    }

    /// Puts a task in and wakes its runtime; false when that is gone.
    pub(super) fn push(&self, task: NonNull<Header>) -> bool {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            if top == closed() {
                return false;
            }
            // SAFETY: the caller has a reference, which is the inbox's from now on.
            unsafe { task.as_ref() }.next.store(top, Ordering::Relaxed);
            match self.top.compare_exchange_weak(top, task.as_ptr(), Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        self.doorbell.ring();
        true
    }

    /// To be called after the runtime has said that it falls asleep (D1).
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.top.load(Ordering::SeqCst).is_null()
    }

    /// Schedules all that are in it, oldest first.
    #[inline]
    pub(super) fn empty(&self) {
        if !self.top.load(Ordering::Relaxed).is_null() {
            release(self.top.swap(ptr::null_mut(), Ordering::Acquire), true);
        }
    }

    /// From now on nothing gets in.
    pub(super) fn close(&self) {
        release(self.top.swap(closed(), Ordering::AcqRel), false);
    }
}

/// Turns the stack round, so that the oldest comes first, and lets each task go.
fn release(mut top: *mut Header, schedule: bool) {
    if top == closed() {
        return;
    }
    let mut oldest: *mut Header = ptr::null_mut();
    while let Some(task) = NonNull::new(top) {
        // SAFETY: the inbox's reference keeps it alive; out of the stack, its link is ours.
        let next = unsafe { &task.as_ref().next };
        top = next.swap(oldest, Ordering::Relaxed);
        oldest = task.as_ptr();
    }
    while let Some(task) = NonNull::new(oldest) {
        // SAFETY: as above; read before the reference goes.
        oldest = unsafe { task.as_ref() }.next.load(Ordering::Relaxed);
        release_from_inbox(task, schedule);
    }
}
