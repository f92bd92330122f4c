//! Where tasks are, and who waits for whom.

use std::{fmt, io, panic::Location};

use crate::executor::TaskRef;

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

/// T12: oldest first, the newest `limit` of them.
pub(super) fn stack(task: &TaskRef, limit: Option<usize>) -> Vec<Frame> {
    if task.is_done() {
        return Vec::new();
    }
    let mut frames = vec![Frame { what: task.body_type().to_owned(), location: Some(task.core().spawned_at) }];
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
