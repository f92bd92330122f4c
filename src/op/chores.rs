//! Things an operation has to do later: repeat a cancel, give up lingering.

use std::{cmp::Reverse, collections::BinaryHeap, rc::Rc, time::Duration};

use super::Socket;
use crate::{clock::Tick, driver::Token};

/// What is to be done.
pub(super) enum Chore {
    /// Cancel again (S5): the kernel may have answered "not found" to a live operation.
    Cancel { target: Token, pause: Duration },
    /// The peer had its time to read our last bytes.
    StopLingering(Rc<Socket>),
    /// The peer had its time to take what was to be sent before the close.
    Abort(Rc<Socket>),
}

/// The first pause before a cancel is repeated, the factor to the next one, and the longest.
pub(super) const CANCEL_PAUSE: Duration = Duration::from_millis(1);
const CANCEL_FACTOR: u32 = 10;
const CANCEL_PAUSE_MAX: Duration = Duration::from_millis(100);

pub(super) fn next_pause(pause: Duration) -> Duration {
    (pause * CANCEL_FACTOR).min(CANCEL_PAUSE_MAX)
}

/// Chores, soonest first.
#[derive(Default)]
pub(super) struct Chores {
    heap: BinaryHeap<Reverse<Entry>>,
    made: u64,
}

struct Entry {
    due: Tick,
    number: u64,
    chore: Chore,
}

impl Chores {
    pub(super) fn add(&mut self, due: Tick, chore: Chore) {
        self.made += 1;
        self.heap.push(Reverse(Entry { due, number: self.made, chore }));
    }

    /// When the next one is due; those that `is_over` says are moot are dropped on the way.
    pub(super) fn next_due(&mut self, mut is_over: impl FnMut(&Chore) -> bool) -> Option<Tick> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if !is_over(&entry.chore) {
                return Some(entry.due);
            }
            self.heap.pop();
        }
        None
    }

    pub(super) fn take_due(&mut self, now: Tick) -> Option<Chore> {
        let due = self.heap.peek().is_some_and(|Reverse(entry)| entry.due <= now);
        due.then(|| self.heap.pop())?.map(|Reverse(entry)| entry.chore)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(super) fn clear(&mut self) -> Vec<Chore> {
        self.heap.drain().map(|Reverse(entry)| entry.chore).collect()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
