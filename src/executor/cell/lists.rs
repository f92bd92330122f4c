//! Lists of tasks that are linked through their headers: nothing is allocated, and a task leaves in a few steps.
#![allow(unsafe_code)] // fence: what is in a list has a reference of the list's

use std::{cell::Cell, mem::ManuallyDrop, ptr::NonNull};

use super::{TaskRef, raw::Header};

type Link = Cell<Option<NonNull<Header>>>;

/// Where a task stands in the lists of its runtime.
#[derive(Default)]
pub(super) struct Links {
    next_ready: Link,
    next: Link,
    previous: Link,
}

/// Tasks that are ready, first in, first out. A task that is marked as scheduled is in one such queue.
#[derive(Default)]
pub(in crate::executor) struct Ready {
    first: Link,
    last: Link,
    len: Cell<usize>,
}

/// All tasks of a runtime that have not ended.
#[derive(Default)]
pub(in crate::executor) struct Registry {
    first: Link,
    len: Cell<usize>,
}

/// A task that is in a list.
#[inline]
fn member(link: &Link) -> Option<ManuallyDrop<TaskRef>> {
    // SAFETY: the list has a reference to everything in it.
    link.get().map(|header| unsafe { TaskRef::uncounted(header) })
}

impl Ready {
    /// For a task that was marked as scheduled just now.
    #[inline]
    pub(in crate::executor) fn push(&self, task: TaskRef) {
        let header = task.into_header();
        match member(&self.last) {
            Some(last) => last.header().links.next_ready.set(Some(header)),
            None => self.first.set(Some(header)),
        }
        self.last.set(Some(header));
        self.len.set(self.len.get() + 1);
    }

    pub(in crate::executor) fn each(&self, mut look: impl FnMut(&TaskRef)) {
        let mut next = member(&self.first);
        while let Some(task) = next {
            look(&task);
            next = member(&task.header().links.next_ready);
        }
    }

    #[inline]
    pub(in crate::executor) fn pop(&self) -> Option<TaskRef> {
        let first = member(&self.first)?;
        let next = first.header().links.next_ready.take();
        self.first.set(next);
        if next.is_none() {
            self.last.set(None);
        }
        self.len.set(self.len.get() - 1);
        Some(ManuallyDrop::into_inner(first))
    }

    #[inline]
    pub(in crate::executor) fn len(&self) -> usize {
        self.len.get()
    }
}

impl Registry {
    #[inline]
    pub(in crate::executor) fn insert(&self, task: TaskRef) {
        let links = &task.header().links;
        task.header().state.set_registered(true);
        links.next.set(self.first.get());
        let header = task.into_header();
        if let Some(first) = member(&self.first) {
            first.header().links.previous.set(Some(header));
        }
        self.first.set(Some(header));
        self.len.set(self.len.get() + 1);
    }

    /// The list's reference to `task`, unless it has left already.
    #[inline]
    pub(in crate::executor) fn remove(&self, task: &TaskRef) -> Option<TaskRef> {
        let links = &task.header().links;
        if !task.header().state.set_registered(false) {
            return None;
        }
        if let Some(after) = member(&links.next) {
            after.header().links.previous.set(links.previous.get());
        }
        match member(&links.previous) {
            Some(before) => before.header().links.next.set(links.next.get()),
            None => self.first.set(links.next.get()),
        }
        links.next.set(None);
        links.previous.set(None);
        self.len.set(self.len.get() - 1);
        // SAFETY: the reference that came in with `insert`.
        Some(ManuallyDrop::into_inner(unsafe { TaskRef::uncounted(task.as_header()) }))
    }

    /// Newest first.
    pub(in crate::executor) fn all(&self) -> Vec<TaskRef> {
        let mut all = Vec::with_capacity(self.len());
        let mut next = member(&self.first);
        while let Some(task) = next {
            next = member(&task.header().links.next);
            all.push(TaskRef::clone(&task));
        }
        all
    }

    #[inline]
    pub(in crate::executor) fn len(&self) -> usize {
        self.len.get()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        while let Some(task) = self.pop() {
            drop(task);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        while let Some(task) = member(&self.first).and_then(|first| self.remove(&first)) {
            drop(task);
        }
    }
}
