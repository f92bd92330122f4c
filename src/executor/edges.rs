//! Who waits for whom and for what: looked up when somebody asks.

use std::rc::{Rc, Weak};

use super::{Runtime, TaskRef, context};

/// A task and others that it waits for all the time.
pub(crate) trait Family {
    fn parent(&self) -> TaskRef;
    fn has(&self, task: &TaskRef) -> bool;
}

/// A family's place in the list of its runtime.
pub(crate) struct Known(usize);

impl Known {
    pub(crate) fn new(family: &Rc<impl Family + 'static>) -> Known {
        let family: Weak<dyn Family> = Rc::downgrade(family) as _;
        Known(context::with(|runtime| runtime.families.borrow_mut().insert(family)))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        context::try_with(|runtime| drop(runtime.families.borrow_mut().try_remove(self.0)));
    }
}

impl Runtime {
    /// The tasks that wait for `task`, in the order of their ids.
    pub(crate) fn awaited_by(&self, task: &TaskRef) -> Vec<TaskRef> {
        let mut waiting = task.core().waiting().0;
        let families: Vec<Rc<dyn Family>> =
            self.families.borrow().iter().filter_map(|(_, family)| family.upgrade()).collect();
        waiting.extend(families.iter().filter(|family| family.has(task)).map(|family| family.parent()));
        waiting.sort_by_key(|task| task.core().id);
        waiting.dedup_by_key(|task| task.core().id);
        waiting
    }

    /// What a task waits for, in words, if it is one of: time, other tasks, an operation of its own.
    pub(crate) fn wait_of(&self, task: &TaskRef) -> Option<String> {
        let awaited: Vec<String> = self
            .all_tasks()
            .iter()
            .filter(|other| self.awaited_by(other).iter().any(|waiting| waiting.is(task)))
            .map(|other| other.core().name().to_string())
            .collect();
        if !awaited.is_empty() {
            return Some(awaited.join(", "));
        }
        if let Some(deadline) = self.timers.borrow().deadline_of(task) {
            return Some(format!("{:?} to pass", self.port.clock().now().until(deadline)));
        }
        let mut operation = None;
        self.port.each_wait(|name, waker| {
            if task.is_woken_by(waker) {
                operation = Some(format!("an operation of the kernel's: {name}"));
            }
        });
        operation
    }
}
