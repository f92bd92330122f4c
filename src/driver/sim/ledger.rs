//! What has to hold at every step and at the end, whatever happens: who owns which memory, and which descriptors are
//! open. A breach is kept, and ends the run.

use std::{collections::BTreeSet, os::fd::RawFd};

use super::{
    children::Process,
    flights::{Asked, Order},
    kernel::Memory,
    state::State,
};
use crate::driver::Token;

/// A number for what stands in lent memory: of its beginning and its end, because all of it would take long.
pub(super) fn digest(pieces: &[Memory]) -> u64 {
    const LOOK: usize = 64;
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for piece in pieces {
        let head = piece.len().min(LOOK);
        for byte in piece.read(0, head).into_iter().chain(piece.read(piece.len() - head, head)) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    digest
}

/// Who took the status of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaped {
    Not,
    Here,
    /// It was let go, and lives on without the runtime.
    ByOthers,
}

impl State {
    /// The first breach is the one that counts.
    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// What can be said of a request when it is pushed.
    pub(super) fn check_push(&mut self, token: Token, asked: &Asked) {
        let name = asked.order.name();
        let flying = self.flights.contains_key(&token.to_user_data());
        if flying || self.queue.iter().any(|entry| entry.is_push_of(token)) {
            self.violate(format!("S2: a {name} was pushed under the token of an operation that is in flight"));
        }
        if let Some(fd) = asked.fd.filter(|fd| *fd >= 0)
            && self.net.find(fd).is_none()
            && (self.is_buried(fd) || !matches!(asked.order, Order::ReadFile { .. }))
        {
            self.violate(match self.is_buried(fd) {
                true => format!("S6: a {name} was pushed for descriptor {fd}, which is closed"),
                false => format!(
                    "a {name} was pushed for descriptor {fd}, which is not of this simulation; in it, make pipes with \
                     testing::pipe() and sockets with connect and bind"
                ),
            });
        }
        self.check_overlap(asked);
        if matches!(asked.order, Order::Close) {
            self.check_close(asked.fd);
        }
    }

    /// No memory has two owners: what is received into is lent once.
    fn check_overlap(&mut self, asked: &Asked) {
        let Some(new) = asked.order.target() else { return };
        let overlaps = |other: &Memory| {
            new.start() < other.start() + other.len() && other.start() < new.start() + new.len() && other.len() > 0
        };
        let flying = self.flights.values().map(|flight| &flight.asked);
        let queued = self.queue.iter().filter_map(|entry| entry.asked());
        if flying
            .chain(queued)
            .any(|other| other.order.target().is_some_and(overlaps) || other.order.source().iter().any(overlaps))
        {
            self.violate("memory that is lent already was lent to a receive".to_owned());
        }
    }

    /// S6: the close comes after the last operation.
    fn check_close(&mut self, fd: Option<RawFd>) {
        let Some(file) = fd.and_then(|fd| self.net.find(fd)) else { return };
        let queued = self.queue.iter().filter_map(|entry| entry.asked()).any(|asked| asked.fd == fd);
        if self.net.files[file].flights > 0 || queued {
            let names: Vec<_> = self.flights_on(file).collect();
            let what = self.net.describe(file);
            self.violate(format!("S6: {what} is closed while operations are in flight: {}", names.join(", ")));
        }
    }

    fn flights_on(&self, file: usize) -> impl Iterator<Item = &'static str> + '_ {
        self.flights.values().filter(move |flight| flight.file == Some(file)).map(|flight| flight.asked.order.name())
    }

    /// What is left when nothing should be: operations without an end, descriptors without a close.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let flights = self.flights.values().map(|flight| {
            let place = flight.file.map_or_else(String::new, |file| format!(" on {}", self.net.describe(file)));
            format!("a {}{place} has no final completion", flight.asked.order.name())
        });
        let open: BTreeSet<usize> = self.net.open().collect();
        let files = open.into_iter().map(|file| format!("{} was never closed", self.net.describe(file)));
        let left = self.children.values().filter(|child| child.reaped == Reaped::Not);
        let children = left.map(|child| format!("the child {:?} was never reaped", child.name));
        flights.chain(files).chain(children).collect()
    }

    /// What is in flight, for whoever has to find out why nothing happens any more.
    pub(super) fn in_flight(&self) -> Vec<String> {
        let now = self.now();
        let flights = self.flights.values().map(|flight| {
            let place = flight.file.map_or_else(|| "nothing".to_owned(), |file| self.net.describe(file));
            let since = (now - flight.since) / 1000;
            format!("{} on {place}, since {since} us", flight.asked.order.name())
        });
        let children = self.children.values().filter_map(Process::waiting);
        flights.chain(children).collect()
    }
}
