//! Sockets and pipes in memory: what is in them, who holds them, and what a call does to them. Not here: when an operation
//! is carried out, and what becomes of it (`flights.rs`).

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    os::fd::RawFd,
};

use super::{
    arena::Arena,
    datagrams::{Mailbox, Peer, Posted},
    names::{Name, Names, Protocol, is_abstract, loopback},
    state::Waiter,
};
use crate::driver::Token;

/// Everything that descriptors stand for.
pub(super) struct Net {
    pub(super) files: Arena<File>,
    pub(super) channels: Arena<Channel>,
    numbers: BTreeMap<RawFd, usize>,
    pub(super) names: Names,
    /// Datagrams of UDP on their way.
    pub(super) letters: Arena<Posted>,
    /// What waits for room in somebody else's queue.
    pub(super) knocking: Vec<Token>,
    pub(super) opened: u64,
}

/// What one descriptor stands for.
pub(super) struct File {
    pub(super) kind: Kind,
    /// None while it waits in a listener's queue.
    pub(super) number: Option<RawFd>,
    /// For reports: the how manieth of this world.
    pub(super) ordinal: u64,
    /// Who waits for something to change here.
    pub(super) waiting: Vec<Waiter>,
    /// Operations on it, waiting or not.
    pub(super) flights: u32,
    /// Its close breaks the connection off.
    pub(super) resets: bool,
    pub(super) local: Option<Name>,
    pub(super) peer: Option<Name>,
}

pub(super) enum Kind {
    /// A stream socket that is neither connected nor listens.
    Fresh {
        family: Family,
    },
    Listener {
        family: Family,
        queue: VecDeque<usize>,
        backlog: usize,
    },
    Stream(Stream),
    Datagrams(Mailbox),
    /// Ends for who reads, and takes all.
    Null,
    /// A pidfd.
    Child(usize),
    /// An event counter.
    Counter {
        rung: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Unix,
}

impl Family {
    pub(super) fn of(address: &SocketAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn of_name(name: &Name) -> Family {
        name.internet().map_or(Family::Unix, |address| Family::of(&address))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) reading: Option<usize>,
    pub(super) writing: Option<usize>,
    /// None for a pipe.
    pub(super) family: Option<Family>,
}

impl Stream {
    /// Something lies between its ends: what is sent takes its way, and may be cut off.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.family, Some(Family::V4 | Family::V6))
    }
}

/// One direction of a connection, or a pipe.
#[derive(Default)]
pub(super) struct Channel {
    /// Can be read.
    pub(super) arrived: VecDeque<u8>,
    /// Sent and still on the way; empty pieces stand for the end.
    pub(super) travelling: VecDeque<Vec<u8>>,
    pub(super) capacity: usize,
    /// Bytes in it, arrived or not.
    pub(super) held: usize,
    pub(super) writer_shut: bool,
    pub(super) ended: bool,
    pub(super) reset: bool,
    pub(super) reader: Option<usize>,
    pub(super) writer: Option<usize>,
    /// When the last piece arrives: nothing overtakes.
    pub(super) last_due: u64,
}

impl Channel {
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.held)
    }

    /// Takes the first bytes out.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        self.held -= count;
        self.arrived.drain(..count).collect()
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.ended || self.reset
    }

    pub(super) fn is_writable(&self) -> bool {
        self.room() > 0 || self.reset || self.writer_shut || self.reader.is_none()
    }
}

impl Net {
    pub(super) fn new() -> Net {
        Net {
            files: Arena::default(),
            channels: Arena::default(),
            numbers: BTreeMap::new(),
            names: Names::new(),
            letters: Arena::default(),
            knocking: Vec::new(),
            opened: 0,
        }
    }

    pub(super) fn add(&mut self, kind: Kind) -> usize {
        self.opened += 1;
        let ordinal = self.opened;
        self.files.insert(File {
            kind,
            number: None,
            ordinal,
            waiting: Vec::new(),
            flights: 0,
            resets: false,
            local: None,
            peer: None,
        })
    }

    pub(super) fn name(&mut self, file: usize, number: RawFd) {
        self.files[file].number = Some(number);
        self.numbers.insert(number, file);
    }

    /// Nobody of this process holds it any more.
    pub(super) fn unname(&mut self, file: usize) {
        if let Some(number) = self.files[file].number.take() {
            self.numbers.remove(&number);
        }
    }

    pub(super) fn find(&self, number: RawFd) -> Option<usize> {
        self.numbers.get(&number).copied()
    }

    /// Descriptors that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.numbers.values().copied()
    }

    pub(super) fn stream(&self, file: usize) -> Option<Stream> {
        match self.files.get(file)?.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Fresh { .. }
            | Kind::Listener { .. }
            | Kind::Datagrams(_)
            | Kind::Null
            | Kind::Child(_)
            | Kind::Counter { .. } => None,
        }
    }

    /// None for what is no socket.
    pub(super) fn family(&self, file: usize) -> Option<Family> {
        match &self.files[file].kind {
            Kind::Fresh { family } | Kind::Listener { family, .. } => Some(*family),
            Kind::Stream(stream) => stream.family,
            Kind::Datagrams(mailbox) => Some(mailbox.family),
            Kind::Null | Kind::Child(_) | Kind::Counter { .. } => None,
        }
    }

    /// A pipe: the end that is read, and the one that is written.
    pub(super) fn add_pipe(&mut self, capacity: usize) -> (usize, usize) {
        let channel = self.channels.insert(Channel { capacity, ..Channel::default() });
        let end = |reading, writing| Kind::Stream(Stream { reading, writing, family: None });
        let reader = self.add(end(Some(channel), None));
        let writer = self.add(end(None, Some(channel)));
        self.channels[channel].reader = Some(reader);
        self.channels[channel].writer = Some(writer);
        (reader, writer)
    }

    /// Makes `client` one end of a connection; returns the other, which has no number yet.
    pub(super) fn connect(&mut self, client: usize, to: Name, capacity: usize) -> usize {
        let family = Family::of_name(&to);
        let server = self.add(Kind::Fresh { family });
        if let Name::Internet(to) = to {
            let bound = self.files[client].local.as_ref().and_then(Name::internet);
            let mut local = bound.unwrap_or_else(|| SocketAddr::new(loopback(to.is_ipv6()), self.names.free_port()));
            if local.ip().is_unspecified() {
                local.set_ip(loopback(to.is_ipv6()));
            }
            self.files[client].local = Some(Name::Internet(local));
        }
        self.files[server].local = Some(to);
        self.join(client, server, family, capacity);
        server
    }

    /// Makes two sockets the ends of one connection.
    pub(super) fn join(&mut self, one: usize, other: usize, family: Family, capacity: usize) {
        let there =
            self.channels.insert(Channel { capacity, writer: Some(one), reader: Some(other), ..Channel::default() });
        let back =
            self.channels.insert(Channel { capacity, writer: Some(other), reader: Some(one), ..Channel::default() });
        let names = (self.files[one].local.clone(), self.files[other].local.clone());
        let mut end = |file: usize, reading, writing, peer| {
            let stream = Stream { reading: Some(reading), writing: Some(writing), family: Some(family) };
            self.files[file].kind = Kind::Stream(stream);
            self.files[file].peer = peer;
        };
        end(one, back, there, names.1);
        end(other, there, back, names.0);
    }

    /// Two sockets for datagrams that are each other's peer.
    pub(super) fn add_mailboxes(&mut self) -> (usize, usize) {
        let one = self.add(Kind::Datagrams(Mailbox::new(Family::Unix)));
        let other = self.add(Kind::Datagrams(Mailbox::new(Family::Unix)));
        for (file, peer) in [(one, other), (other, one)] {
            if let Kind::Datagrams(mailbox) = &mut self.files[file].kind {
                mailbox.peer = Some(Peer::Socket(peer));
            }
        }
        (one, other)
    }

    /// Who listens by this name, or why nobody does.
    pub(super) fn listener(&self, name: &Name) -> Result<usize, i32> {
        let file = match name {
            Name::Internet(address) => self.names.at(Protocol::Tcp, *address).ok_or(libc::ECONNREFUSED)?,
            Name::Unix(_) => self.unix_socket_at(name)?,
        };
        match self.files[file].kind {
            Kind::Listener { .. } => Ok(file),
            Kind::Datagrams(_) => Err(libc::EPROTOTYPE),
            Kind::Fresh { .. } | Kind::Stream(_) | Kind::Null | Kind::Child(_) | Kind::Counter { .. } => {
                Err(libc::ECONNREFUSED)
            }
        }
    }

    /// The open socket at a path, or why there is none.
    pub(super) fn unix_socket_at(&self, name: &Name) -> Result<usize, i32> {
        let path = name.path().ok_or(libc::EAFNOSUPPORT)?;
        let nobody = if is_abstract(path) { libc::ECONNREFUSED } else { libc::ENOENT };
        let file = self.names.at_path(path).ok_or(nobody)?;
        if self.files.contains(file) { Ok(file) } else { Err(libc::ECONNREFUSED) }
    }

    /// Takes a file out; what it was is the caller's to end.
    pub(super) fn remove(&mut self, file: usize) -> File {
        let removed = self.files.remove(file);
        if let Some(number) = removed.number {
            self.numbers.remove(&number);
        }
        if let Some(local) = &removed.local {
            self.names.release(file, local);
        }
        removed
    }

    /// A channel whose two ends are gone goes too.
    pub(super) fn drop_channel(&mut self, channel: usize) {
        let ends = &self.channels[channel];
        if ends.reader.is_none() && ends.writer.is_none() {
            self.channels.remove(channel);
        }
    }

    /// What a descriptor is, for reports.
    pub(super) fn describe(&self, file: usize) -> String {
        let Some(file) = self.files.get(file) else { return "nothing".to_owned() };
        let ordinal = file.ordinal;
        let name = |name: &Option<Name>| name.as_ref().map_or_else(|| "nobody".to_owned(), Name::to_string);
        let (local, peer) = (name(&file.local), name(&file.peer));
        match &file.kind {
            Kind::Fresh { .. } => format!("socket #{ordinal}"),
            Kind::Listener { queue, .. } => format!("listener #{ordinal} on {local}, {} waiting", queue.len()),
            Kind::Stream(Stream { family: Some(_), .. }) => format!("#{ordinal} {local} to {peer}"),
            Kind::Stream(_) => format!("pipe #{ordinal}"),
            Kind::Datagrams(_) => format!("datagrams #{ordinal} of {local}"),
            Kind::Null => format!("nothing #{ordinal}"),
            Kind::Child(_) => format!("child #{ordinal}"),
            Kind::Counter { .. } => format!("counter #{ordinal}"),
        }
    }
}
