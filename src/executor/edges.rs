//! Who waits for whom and for what: looked up when somebody asks.

use std::{
    ops::Range,
    rc::{Rc, Weak},
};

use super::{Runtime, TaskRef, context};

/// Tasks that wait, and others, of which nothing is noted in themselves, that they wait for.
pub(crate) trait Family {
    fn parents(&self) -> Vec<TaskRef>;
    /// By their ids; some may have ended.
    fn members(&self) -> Vec<Range<u64>>;
}

/// A family's place in the list of its runtime.
pub(crate) struct Known {
    family: Weak<dyn Family>,
    place: usize,
}

impl Known {
    pub(crate) fn new(family: &Rc<impl Family + 'static>) -> Known {
        let family: Weak<dyn Family> = Rc::downgrade(family) as _;
        let place = context::with(|runtime| runtime.families.borrow_mut().insert(family.clone()));
        Known { family, place }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        context::try_with(|runtime| {
            let mut families = runtime.families.borrow_mut();
            // It may be that another runtime runs here now.
            if families.get(self.place).is_some_and(|known| known.ptr_eq(&self.family)) {
                families.remove(self.place);
            }
        });
    }
}

impl Runtime {
    pub(super) fn families(&self) -> Vec<Rc<dyn Family>> {
        self.families.borrow().iter().filter_map(|(_, family)| family.upgrade()).collect()
    }

    /// The tasks that wait for `task`, in the order of their ids.
    pub(crate) fn awaited_by(&self, task: &TaskRef) -> Vec<TaskRef> {
        let mut waiting = task.core().waiting().0;
        let families = self.families();
        let has = |family: &&Rc<dyn Family>| family.members().iter().any(|ids| ids.contains(&task.core().id));
        families.iter().filter(has).for_each(|family| waiting.extend(family.parents()));
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
