//! Where tasks are, and who waits for whom. Found by looking at timers, tasks and operations when somebody asks: a wait
//! pays nothing for it.

use std::{fmt, fmt::Write, io, panic::Location};

use super::AnyTask;
use crate::executor::{TaskRef, context};

/// One line of a task's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The name of the body's type, or what is waited for.
    pub what: String,
    /// Where that is in the program, as far as it is known.
    pub location: Option<&'static Location<'static>>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.location {
            write!(f, "File {:?}, line {}, in ", place.file(), place.line())?;
        }
        f.write_str(&self.what)
    }
}

/// A task, where it is, and the tasks that wait for it.
#[doc(alias = "asyncio.FutureCallGraph")]
#[derive(Debug, Clone)]
pub struct CallGraph {
    /// The task.
    pub task: AnyTask,
    /// Oldest first: where it was made, and what it waits for.
    pub call_stack: Vec<Frame>,
    /// Those that wait for it, each with those that wait for them. A task that is on the way already is left out: tasks
    /// that wait for each other do not make this endless.
    pub awaited_by: Vec<CallGraph>,
}

/// How much of call stacks is wanted: a number alone is a limit, `None` is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameLimits {
    limit: Option<isize>,
    depth: usize,
}

impl FrameLimits {
    /// All of them.
    pub fn new() -> FrameLimits {
        FrameLimits::default()
    }

    /// Of each call stack the newest `limit` lines, or the oldest, if it is negative; `None` for all.
    pub fn limit(mut self, limit: impl Into<Option<isize>>) -> FrameLimits {
        self.limit = limit.into();
        self
    }

    /// Leaves out so many of the newest lines of the task that asks (none unless set), and of no other.
    pub fn depth(mut self, depth: usize) -> FrameLimits {
        self.depth = depth;
        self
    }

    fn cut(self, frames: &mut Vec<Frame>) {
        match self.limit {
            Some(limit) if limit >= 0 => drop(frames.drain(..frames.len().saturating_sub(limit.unsigned_abs()))),
            Some(limit) => frames.truncate(limit.unsigned_abs()),
            None => {}
        }
    }
}

impl From<isize> for FrameLimits {
    fn from(limit: isize) -> FrameLimits {
        FrameLimits::new().limit(limit)
    }
}

impl From<Option<isize>> for FrameLimits {
    fn from(limit: Option<isize>) -> FrameLimits {
        FrameLimits::new().limit(limit)
    }
}

/// Who waits for `task` (`None`: the current one), and who for those. Of each call stack the newest `limits` lines, or the
/// oldest, if it is a negative number; more with [`FrameLimits`]. `None` outside of a task.
///
/// ```
/// # ringio::run(async {
/// let inner = ringio::create_task(ringio::sleep(std::time::Duration::from_millis(1)));
/// let known = inner.to_any();
/// let outer = ringio::Task::builder().name("outer").spawn(inner);
/// ringio::yield_now().await?;
/// let graph = ringio::capture_call_graph(known, None).unwrap();
/// assert_eq!(&*graph.awaited_by[0].task.name(), "outer");
/// outer.await
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.capture_call_graph")]
pub fn capture_call_graph(task: impl Into<Option<AnyTask>>, limits: impl Into<FrameLimits>) -> Option<CallGraph> {
    let task = match task.into() {
        Some(task) => task.into_ref(),
        None => context::current_task()?,
    };
    Some(graph(&task, limits.into(), &mut Vec::new()))
}

fn graph(task: &TaskRef, limits: FrameLimits, path: &mut Vec<u64>) -> CallGraph {
    let mut call_stack = frames(task);
    if context::current_task().is_some_and(|current| current.is(task)) {
        call_stack.truncate(call_stack.len().saturating_sub(limits.depth));
    }
    limits.cut(&mut call_stack);
    path.push(task.core().id);
    let waiting = context::try_with(|runtime| runtime.awaited_by(task)).unwrap_or_default();
    let awaited_by = waiting.iter().filter(|task| !path.contains(&task.core().id)).cloned().collect::<Vec<_>>();
    let awaited_by = awaited_by.iter().map(|task| graph(task, limits, path)).collect();
    path.pop();
    CallGraph { task: AnyTask::new(task.clone()), call_stack, awaited_by }
}

/// [`capture_call_graph`] as text.
#[doc(alias = "asyncio.format_call_graph")]
pub fn format_call_graph(task: impl Into<Option<AnyTask>>, limits: impl Into<FrameLimits>) -> String {
    let mut text = String::new();
    if let Some(graph) = capture_call_graph(task, limits) {
        describe(&graph, 0, &mut text);
    }
    text
}

fn describe(graph: &CallGraph, depth: usize, text: &mut String) {
    let margin = "    ".repeat(depth);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{margin}* Task(name='{}', id={})", graph.task.name(), graph.task.id());
    if !graph.call_stack.is_empty() {
        let _ = writeln!(text, "{margin}  + Call stack:");
        for frame in &graph.call_stack {
            let _ = writeln!(text, "{margin}  |   {frame}");
        }
    }
    if !graph.awaited_by.is_empty() {
        let _ = writeln!(text, "{margin}  + Awaited by:");
        for waiting in &graph.awaited_by {
            describe(waiting, depth + 1, text);
        }
    }
}

/// Writes [`format_call_graph`].
///
/// # Errors
/// Those of `out`.
#[doc(alias = "asyncio.print_call_graph")]
pub fn print_call_graph(
    task: impl Into<Option<AnyTask>>,
    limits: impl Into<FrameLimits>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    out.write_all(format_call_graph(task, limits).as_bytes())
}

/// Writes what every task of this thread's runtime waits for, as far as that is known, one line each. See also
/// [`dump_tasks_on`](crate::dump_tasks_on) and [`RunnerBuilder::dump_on_stall`](crate::RunnerBuilder::dump_on_stall).
///
/// # Errors
/// Those of `out`.
pub fn dump_tasks(out: &mut dyn io::Write) -> io::Result<()> {
    let text = context::try_with(|runtime| runtime.dump()).unwrap_or_default();
    out.write_all(text.as_bytes())
}

fn frames(task: &TaskRef) -> Vec<Frame> {
    if task.is_done() {
        return Vec::new();
    }
    let mut frames = vec![Frame { what: task.body_type().to_owned(), location: Some(task.core().spawned_at) }];
    if let Some(Some(wait)) = context::try_with(|runtime| runtime.wait_of(task)) {
        frames.push(Frame { what: wait, location: None });
    }
    frames
}

/// T12: oldest first, the newest `limit` of them.
pub(super) fn stack(task: &TaskRef, limit: Option<usize>) -> Vec<Frame> {
    let mut frames = frames(task);
    let surplus = limit.map_or(0, |limit| frames.len().saturating_sub(limit));
    frames.drain(..surplus);
    frames
}

pub(super) fn print_stack(task: &TaskRef, limit: Option<usize>, out: &mut dyn io::Write) -> io::Result<()> {
    let frames = stack(task, limit);
    let name = task.core().name();
    if frames.is_empty() {
        return writeln!(out, "No stack for {name}");
    }
    writeln!(out, "Stack for {name} (most recent call last):")?;
    frames.iter().try_for_each(|frame| writeln!(out, "  {frame}"))
}
