//! Who waits for whom and for what: looked up when somebody asks.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    ops::Range,
    panic::Location,
    rc::{Rc, Weak},
    task::{RawWakerVTable, Waker},
};

use super::{Runtime, TaskRef, Waiter, context};

/// Tasks that wait, and others, of which nothing is noted in themselves, that they wait for.
pub(crate) trait Family {
    fn parents(&self, parts: &Parts) -> Vec<TaskRef>;
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

/// Parts of tasks that have wakers of their own (`FuturesUnordered` and the like), and whose they are.
#[derive(Default)]
pub(crate) struct Parts(BTreeMap<Part, TaskRef>);

/// What makes a waker the same as another.
type Part = (*const (), *const RawWakerVTable);

fn part(waker: &Waker) -> Part {
    (waker.data(), waker.vtable())
}

impl Parts {
    pub(crate) fn task_of(&self, waiter: &Waiter) -> Option<TaskRef> {
        match waiter {
            Waiter::Task(task) => Some(task.clone()),
            Waiter::Foreign(waker) => self.0.get(&part(waker)).cloned(),
            Waiter::Arrival(..) => None,
        }
    }

    pub(super) fn task_of_waker(&self, waker: &Waker) -> Option<TaskRef> {
        TaskRef::of_waker(waker).or_else(|| self.0.get(&part(waker)).cloned())
    }
}

/// What is called to wait: a type, and its method.
pub(crate) type Call = [&'static str; 2];

/// Where a task stands in line for something of this thread.
pub(crate) struct Standing {
    pub(crate) call: &'static Call,
    pub(crate) made_at: &'static Location<'static>,
    /// How many get it first.
    pub(crate) before: usize,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { call: [object, call], made_at, before } = self;
        write!(f, "{object}.{call} (made at {made_at}")?;
        if *before > 0 {
            write!(f, ", {before} before it")?;
        }
        f.write_str(")")
    }
}

/// Calls back with each task that stands in line somewhere on this thread.
type EachInLine = fn(&mut dyn FnMut(&TaskRef, Standing));

thread_local! {
    /// The lines are of a higher rank.
    static IN_LINE: Cell<Option<EachInLine>> = const { Cell::new(None) };
}

/// Whoever asks what tasks wait for looks there, from now on.
pub(crate) fn look_here_too(each: EachInLine) {
    IN_LINE.set(Some(each));
}

pub(super) fn each_in_line(mut look: impl FnMut(&TaskRef, Standing)) {
    if let Some(each) = IN_LINE.get() {
        each(&mut look);
    }
}

/// Says what the current task waits for, as long as it is kept. For waits that cross threads, or that are rare: where
/// they are cannot be found otherwise.
pub(crate) struct Note {
    task: u64,
    place: usize,
}

impl Note {
    /// `None` outside of a task.
    #[inline(never)]
    pub(crate) fn new(wait: &'static str) -> Option<Note> {
        context::with_task(|runtime, task, _| {
            let task = task.core().id;
            Note { task, place: runtime.notes.borrow_mut().insert((task, wait)) }
        })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        context::try_with(|runtime| {
            let mut notes = runtime.notes.borrow_mut();
            // It may be that another runtime runs here now; no two tasks have the same number.
            if notes.get(self.place).is_some_and(|(task, _)| *task == self.task) {
                notes.remove(self.place);
            }
        });
    }
}

impl Runtime {
    pub(super) fn families(&self) -> Vec<Rc<dyn Family>> {
        self.families.borrow().iter().filter_map(|(_, family)| family.upgrade()).collect()
    }

    /// Found among what their waits have left with the tasks, so that a cancel reaches them.
    pub(super) fn parts(&self, tasks: &[TaskRef]) -> Parts {
        let mut parts = BTreeMap::new();
        for task in tasks {
            task.core().each_side(|waker| {
                parts.insert(part(waker), task.clone());
            });
        }
        Parts(parts)
    }

    /// The tasks that wait for `task`, in the order of their ids.
    pub(crate) fn awaited_by(&self, task: &TaskRef) -> Vec<TaskRef> {
        let parts = self.parts(&self.all_tasks());
        let mut waiting = task.core().waiting(&parts).0;
        let families = self.families();
        let has = |family: &&Rc<dyn Family>| family.members().iter().any(|ids| ids.contains(&task.core().id));
        families.iter().filter(has).for_each(|family| waiting.extend(family.parents(&parts)));
        waiting.sort_by_key(|task| task.core().id);
        waiting.dedup_by_key(|task| task.core().id);
        waiting
    }

    /// What a task waits for, in words; tasks by their names.
    pub(crate) fn wait_of(&self, task: &TaskRef) -> Option<String> {
        let tasks = self.all_tasks();
        let parts = self.parts(&tasks);
        let (id, edges) = (task.core().id, self.edges(&tasks, &parts));
        let mut waits = self.waits(&parts).remove(&id).unwrap_or_default();
        let awaited = tasks.iter().filter(|other| edges.get(&other.core().id).is_some_and(|ids| ids.contains(&id)));
        waits.extend(awaited.map(|other| other.core().name().to_string()));
        (!waits.is_empty()).then(|| waits.join("; "))
    }
}
