//! Where a task stands. Home thread only (W1): a plain number, no atomics.

use std::cell::Cell;

use bitflags::bitflags;

bitflags! {
    // One byte: of two, one would be written alone, and reading both right after that costs the processor a dozen cycles.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Flags: u8 {
        /// In the run queue.
        const SCHEDULED = 1;
        /// The body is gone; there is a result, a panic, or nothing because it was taken.
        const DONE = 1 << 1;
        /// It ended by a cancel that it handed on.
        const CANCELLED = 1 << 2;
        /// It ended with an error or a panic that nobody has looked at.
        const UNSEEN = 1 << 3;
        /// Nobody holds its handle any more.
        const DETACHED = 1 << 4;
        /// There is neither a body nor a result left to drop.
        const EMPTY = 1 << 5;
        /// An error that comes counts as looked at.
        const SILENT = 1 << 6;
        /// It ended with an error or a panic.
        const FAILED = 1 << 7;
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Value,
    Error,
    Cancelled,
    Panic,
}

pub(super) struct State {
    flags: Cell<Flags>,
    /// In the list of its runtime's tasks.
    registered: Cell<bool>,
}

impl State {
    /// A new task is put into the run queue at once.
    pub(super) fn new() -> State {
        State { flags: Cell::new(Flags::empty()), registered: Cell::new(false) }
    }

    /// True when the task has to be put into the run queue now.
    #[inline]
    pub(super) fn schedule(&self) -> bool {
        let flags = self.flags.get();
        if flags.intersects(Flags::SCHEDULED | Flags::DONE) {
            return false;
        }
        self.flags.set(flags | Flags::SCHEDULED);
        true
    }

    /// Taken out of the run queue. True when there is a body to poll.
    #[inline]
    pub(super) fn start(&self) -> bool {
        let flags = self.flags.get();
        self.flags.set(flags - Flags::SCHEDULED);
        !flags.contains(Flags::DONE)
    }

    /// True when an error went unseen because the handle is gone already.
    #[must_use]
    #[inline]
    pub(super) fn end(&self, ending: Ending) -> bool {
        let mut flags = self.flags.get() | Flags::DONE;
        flags.set(Flags::CANCELLED, ending == Ending::Cancelled);
        let bad = matches!(ending, Ending::Error | Ending::Panic);
        flags.set(Flags::FAILED, bad);
        flags.set(Flags::UNSEEN, bad && !flags.contains(Flags::SILENT));
        self.flags.set(flags);
        self.report_due()
    }

    /// The handle goes. True when an error goes with it unseen.
    #[must_use]
    pub(super) fn detach(&self) -> bool {
        self.flags.set(self.flags.get() | Flags::DETACHED);
        self.report_due()
    }

    fn report_due(&self) -> bool {
        let due = self.flags.get().contains(Flags::UNSEEN | Flags::DETACHED);
        if due {
            self.saw();
        }
        due
    }

    /// Whatever comes of it, nobody has to be told.
    pub(super) fn silence(&self) {
        self.flags.set((self.flags.get() | Flags::SILENT) - Flags::UNSEEN);
    }

    /// Somebody has looked at the result.
    pub(super) fn saw(&self) {
        self.flags.set(self.flags.get() - Flags::UNSEEN);
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.flags.get().contains(Flags::DONE)
    }

    #[inline]
    pub(super) fn set_empty(&self, empty: bool) {
        let mut flags = self.flags.get();
        flags.set(Flags::EMPTY, empty);
        self.flags.set(flags);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.flags.get().contains(Flags::EMPTY)
    }

    /// Returns what it was before.
    #[inline]
    pub(super) fn set_registered(&self, registered: bool) -> bool {
        self.registered.replace(registered)
    }

    pub(super) fn is_detached(&self) -> bool {
        self.flags.get().contains(Flags::DETACHED)
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.flags.get().contains(Flags::SCHEDULED)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.flags.get().contains(Flags::FAILED)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.flags.get().contains(Flags::CANCELLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_queued_once_however_often_it_is_woken() {
        // L8
        let state = State::new();
        assert!(state.schedule());
        assert!(!state.schedule());
        assert!(state.start());
        assert!(state.schedule());
        let _ = state.end(Ending::Value);
        assert!(!state.start());
        assert!(!state.schedule());
    }

    #[test]
    fn an_unseen_error_is_reported_once_in_either_order() {
        // E2
        let ended_first = State::new();
        assert!(!ended_first.end(Ending::Error));
        assert!(ended_first.detach());
        assert!(!ended_first.detach());
        let detached_first = State::new();
        assert!(!detached_first.detach());
        assert!(detached_first.end(Ending::Panic));
        let seen = State::new();
        assert!(!seen.end(Ending::Error));
        seen.saw();
        assert!(!seen.detach());
    }
}
