//! All tasks of a runtime as they are at one moment, for whoever asks: found by looking at where the waits are.

use std::{collections::BTreeMap, fmt, fmt::Write, panic::Location, time::Duration};

use super::{Alarm, Parts, Runtime, TaskRef, edges::each_in_line};
use crate::clock::Tick;

/// A task that has not ended, as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// A number that no other task of the process has.
    pub id: u64,
    /// The task's name.
    pub name: String,
    /// Whether it waits.
    pub state: TaskState,
    /// The name of the type of its body.
    pub body_type_name: &'static str,
    /// Where the task was made.
    pub spawned_at: &'static Location<'static>,
    /// What it waits for, as far as that is known: operations with their descriptors, times, locks and queues with the
    /// place where they were made, other tasks.
    pub waits_for: Vec<String>,
    /// The ids of the tasks that wait for it.
    pub awaited_by: Vec<u64>,
    /// How long ago its last step began, and so for how long it has waited, in runtimes that note it: those that may be
    /// [inspected](crate::RunnerBuilder::inspect), or that [dump](crate::dump_tasks_on) their tasks.
    pub idle: Option<Duration>,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It runs, or will in this turn or the next.
    Ready,
    /// It waits for something.
    Waiting,
    /// It was cancelled, and has not ended.
    Cancelling,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskState::Ready => "ready",
            TaskState::Waiting => "waiting",
            TaskState::Cancelling => "cancelling",
        })
    }
}

/// So many tasks that one waits for are named.
const NAMED_MAX: usize = 16;

impl Runtime {
    /// All tasks that have not ended, in the order they were made.
    pub(crate) fn snapshot(&self) -> Vec<TaskSnapshot> {
        let tasks = self.all_tasks();
        let parts = self.parts(&tasks);
        let mut edges = self.edges(&tasks, &parts);
        let mut waits = self.waits(&parts);
        let now = self.port.clock().now();
        let awaited = awaited(&edges);
        let live = tasks.iter().filter(|task| !task.is_done());
        live.map(|task| {
            let core = task.core();
            let mut waits_for = waits.remove(&core.id).unwrap_or_default();
            waits_for
                .extend(awaited.get(&core.id).into_iter().flatten().take(NAMED_MAX).map(|id| format!("task {id}")));
            let more = awaited.get(&core.id).map_or(0, |ids| ids.len().saturating_sub(NAMED_MAX));
            if more > 0 {
                waits_for.push(format!("{more} more tasks"));
            }
            TaskSnapshot {
                id: core.id,
                name: core.name().to_string(),
                state: match (core.cancelling.get() > 0, task.is_scheduled()) {
                    (true, _) => TaskState::Cancelling,
                    (false, true) => TaskState::Ready,
                    (false, false) => TaskState::Waiting,
                },
                body_type_name: task.body_type(),
                spawned_at: core.spawned_at,
                waits_for,
                awaited_by: edges.remove(&core.id).unwrap_or_default(),
                idle: core.stepped().map(|at| at.until(now)),
            }
        })
        .collect()
    }

    /// The tasks that wait for each one, by ids.
    pub(super) fn edges(&self, tasks: &[TaskRef], parts: &Parts) -> BTreeMap<u64, Vec<u64>> {
        let mut edges: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for task in tasks {
            let waiting = task.core().waiting(parts).0;
            edges.insert(task.core().id, waiting.iter().map(|waiting| waiting.core().id).collect());
        }
        for family in self.families() {
            let parents: Vec<u64> = family.parents(parts).iter().map(|parent| parent.core().id).collect();
            for ids in family.members() {
                edges.range_mut(ids).for_each(|(_, waiting)| waiting.extend(&parents));
            }
        }
        for waiting in edges.values_mut() {
            waiting.sort_unstable();
            waiting.dedup();
        }
        edges
    }

    /// What each task waits for beside other tasks, by its id.
    pub(super) fn waits(&self, parts: &Parts) -> BTreeMap<u64, Vec<String>> {
        let mut waits: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut add = |task: u64, what: String| waits.entry(task).or_default().push(what);
        self.port.each_awaited(|waker, awaited| {
            if let Some(task) = parts.task_of_waker(waker) {
                let what = awaited.fd.map_or_else(|| awaited.name.to_owned(), |fd| format!("{} fd {fd}", awaited.name));
                add(task.core().id, what);
            }
        });
        let now = self.port.clock().now();
        for (deadline, alarm) in self.timers.borrow().each() {
            match alarm {
                Alarm::Wake(waiter) => {
                    if let Some(task) = parts.task_of(waiter) {
                        add(task.core().id, format!("sleep {}", Left(now, deadline)));
                    }
                }
                Alarm::Expire(scope) => add(scope.task().core().id, format!("timeout {}", Left(now, deadline))),
                Alarm::Watch(_) => {}
            }
        }
        each_in_line(|task, standing| add(task.core().id, standing.to_string()));
        for (_, (task, wait)) in &*self.notes.borrow() {
            add(*task, (*wait).to_owned());
        }
        waits
    }

    /// All tasks in words, one line each.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for task in self.snapshot() {
            let TaskSnapshot { id, name, state, spawned_at, waits_for, idle, .. } = task;
            let waits = match (waits_for.is_empty(), state) {
                (true, TaskState::Ready) => String::new(),
                (true, TaskState::Waiting | TaskState::Cancelling) => {
                    ": waits for something that is not of this crate".to_owned()
                }
                (false, _) => format!(": waits for {}", waits_for.join("; ")),
            };
            let since = match (state, idle) {
                (TaskState::Waiting, Some(idle)) => format!(" for {:.3} s", idle.as_secs_f64()),
                (TaskState::Cancelling, Some(idle)) => format!(", {:.3} s since its last step", idle.as_secs_f64()),
                (TaskState::Ready, _) | (_, None) => String::new(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} (id {id}, {state}{since}, spawned at {spawned_at}){waits}");
        }
        text
    }
}

/// The tasks that each one waits for.
fn awaited(edges: &BTreeMap<u64, Vec<u64>>) -> BTreeMap<u64, Vec<u64>> {
    let mut awaited: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (id, waiting) in edges {
        waiting.iter().for_each(|waiting| awaited.entry(*waiting).or_default().push(*id));
    }
    awaited
}

/// How long it is from one tick to another.
struct Left(Tick, Tick);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.until(self.1).as_secs_f64())
    }
}
