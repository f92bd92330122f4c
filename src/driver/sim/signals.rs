//! Signals to the simulated process itself: who hears them, and how often each came. The real process hears none of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::{
    World,
    net::Kind,
    state::{Event, State},
};
use crate::sys::number;

#[derive(Default)]
pub(super) struct Signals {
    /// How often each came while anybody listened.
    counts: BTreeMap<i32, u32>,
    listeners: Vec<Listener>,
    /// On their way: the same signal sent again meanwhile is one.
    pending: BTreeSet<i32>,
}

/// Whoever waits at a counter.
struct Listener {
    file: usize,
    numbers: Vec<i32>,
}

impl Signals {
    fn is_heard(&self, signal: i32) -> bool {
        self.listeners.iter().any(|listener| listener.numbers.contains(&signal))
    }
}

impl State {
    /// False when nobody hears it.
    fn raise(&mut self, signal: i32) -> bool {
        if !self.signals.is_heard(signal) {
            return false;
        }
        if self.signals.pending.insert(signal) {
            match self.delay() {
                0 => self.reach_listeners(signal),
                delay => self.add_event(delay, Event::Raise(signal)),
            }
        }
        true
    }

    pub(super) fn reach_listeners(&mut self, signal: i32) {
        self.signals.pending.remove(&signal);
        if !self.signals.is_heard(signal) {
            return; // as if it had been blocked until nobody wanted it
        }
        let count = self.signals.counts.entry(signal).or_default();
        *count = count.wrapping_add(1);
        self.trace.note("signal", signal.unsigned_abs().into());
        let reached = self.signals.listeners.iter().filter(|listener| listener.numbers.contains(&signal));
        for file in reached.map(|listener| listener.file).collect::<Vec<_>>() {
            if let Kind::Counter { rung } = &mut self.net.files[file].kind {
                *rung = true;
            }
            self.poke(Some(file));
        }
    }
}

impl World {
    /// Sends a signal to the simulated process. False when nobody hears it and it would end or stop the process.
    pub(crate) fn raise(&self, signal: i32) -> bool {
        let is_ignored = matches!(signal, number::CHLD | number::CONT | number::WINCH | libc::SIGURG);
        self.state().raise(signal) || is_ignored
    }

    /// As `sys::hear`, with a counter made for the purpose; and the number of that here.
    pub(in super::super) fn hear(&self, numbers: &[i32]) -> io::Result<(OwnedFd, usize)> {
        let mut state = self.state();
        let file = state.net.add(Kind::Counter { rung: false });
        let counter = state.hand_out(file)?;
        state.signals.listeners.push(Listener { file, numbers: numbers.to_vec() });
        Ok((counter, file))
    }

    pub(in super::super) fn stop_hearing(&self, file: usize) {
        self.state().signals.listeners.retain(|listener| listener.file != file);
    }

    pub(in super::super) fn signal_count(&self, signal: i32) -> u32 {
        self.state().signals.counts.get(&signal).copied().unwrap_or(0)
    }

    pub(in super::super) fn clear_counter(&self, counter: BorrowedFd<'_>) {
        let mut state = self.state();
        if let Some(file) = state.net.find(counter.as_raw_fd())
            && let Kind::Counter { rung } = &mut state.net.files[file].kind
        {
            *rung = false;
        }
    }
}
