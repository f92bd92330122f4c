//! Wakes from other threads: a lock-free stack of tasks, emptied as a whole by the home thread. No bound but the number
//! of tasks, because each is in it at most once (W4).
#![allow(unsafe_code)] // fence: links tasks through their headers

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

use super::{
    cell::{Header, release_from_inbox},
    stack::Stack,
};
use crate::driver::Doorbell;

pub(crate) struct Inbox {
    stack: Stack<Header>,
    doorbell: Doorbell,
}

impl Inbox {
    pub(super) fn new(doorbell: Doorbell) -> Inbox {
        Inbox { stack: Stack::new(), doorbell }
    }

    /// Puts a task in and wakes its runtime; false when that is gone.
    pub(super) fn push(&self, task: NonNull<Header>) -> bool {
        // SAFETY: the caller has a reference, which is the inbox's from now on.
        let link = |below| unsafe { task.as_ref() }.next.store(below, Ordering::Relaxed);
        let is_in = self.stack.push(task.as_ptr(), link);
        if is_in {
            self.doorbell.ring();
        }
        is_in
    }

    /// To be called after the runtime has said that it falls asleep (D1).
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Schedules all that are in it, oldest first.
    #[inline]
    pub(super) fn empty(&self) {
        let top = self.stack.take();
        if !top.is_null() {
            release(top, true);
        }
    }

    /// From now on nothing gets in.
    pub(super) fn close(&self) {
        release(self.stack.close(), false);
    }
}

/// Turns the stack round, so that the oldest comes first, and lets each task go.
fn release(mut top: *mut Header, schedule: bool) {
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
