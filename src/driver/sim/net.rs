//! Sockets and pipes in memory: what is in them, who holds them, and what a call does to them. Not here: when an operation
//! is carried out, and what becomes of it (`flights.rs`).

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::RawFd,
};

use super::arena::Arena;
use crate::driver::Token;

/// Everything that descriptors stand for.
pub(super) struct Net {
    pub(super) files: Arena<File>,
    pub(super) channels: Arena<Channel>,
    numbers: BTreeMap<RawFd, usize>,
    listeners: BTreeMap<SocketAddr, usize>,
    /// Connects that wait for room in a listener's queue.
    pub(super) knocking: Vec<Token>,
    next_port: u16,
    pub(super) opened: u64,
}

/// What one descriptor stands for.
pub(super) struct File {
    pub(super) kind: Kind,
    /// None while it waits in a listener's queue.
    pub(super) number: Option<RawFd>,
    /// For reports: the how manieth of this world.
    pub(super) ordinal: u64,
    /// Operations that wait for something to change here.
    pub(super) waiting: Vec<Token>,
    /// Operations on it, waiting or not.
    pub(super) flights: u32,
    /// Its close breaks the connection off.
    pub(super) resets: bool,
}

pub(super) enum Kind {
    /// A socket that is neither connected nor listens.
    Fresh {
        v6: bool,
    },
    Listener {
        local: SocketAddr,
        queue: VecDeque<usize>,
        backlog: usize,
    },
    Stream(Stream),
}

#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) reading: Option<usize>,
    pub(super) writing: Option<usize>,
    /// Local and remote; none for a pipe.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
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

/// The first port that is given to sockets that do not choose one.
const FIRST_PORT: u16 = 40_000;

impl Net {
    pub(super) fn new() -> Net {
        Net {
            files: Arena::default(),
            channels: Arena::default(),
            numbers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            knocking: Vec::new(),
            next_port: FIRST_PORT,
            opened: 0,
        }
    }

    pub(super) fn add(&mut self, kind: Kind) -> usize {
        self.opened += 1;
        let ordinal = self.opened;
        self.files.insert(File { kind, number: None, ordinal, waiting: Vec::new(), flights: 0, resets: false })
    }

    pub(super) fn name(&mut self, file: usize, number: RawFd) {
        self.files[file].number = Some(number);
        self.numbers.insert(number, file);
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
            Kind::Fresh { .. } | Kind::Listener { .. } => None,
        }
    }

    /// A pipe: the end that is read, and the one that is written.
    pub(super) fn add_pipe(&mut self, capacity: usize) -> (usize, usize) {
        let channel = self.channels.insert(Channel { capacity, ..Channel::default() });
        let end = |reading, writing| Kind::Stream(Stream { reading, writing, addresses: None });
        let reader = self.add(end(Some(channel), None));
        let writer = self.add(end(None, Some(channel)));
        self.channels[channel].reader = Some(reader);
        self.channels[channel].writer = Some(writer);
        (reader, writer)
    }

    /// Makes `client` one end of a connection; returns the other, which has no number yet.
    pub(super) fn connect(&mut self, client: usize, to: SocketAddr, capacity: usize) -> usize {
        let local = SocketAddr::new(loopback(to.is_ipv6()), self.free_port());
        let there = self.channels.insert(Channel { capacity, writer: Some(client), ..Channel::default() });
        let back = self.channels.insert(Channel { capacity, reader: Some(client), ..Channel::default() });
        let server =
            self.add(Kind::Stream(Stream { reading: Some(there), writing: Some(back), addresses: Some((to, local)) }));
        self.channels[there].reader = Some(server);
        self.channels[back].writer = Some(server);
        self.files[client].kind =
            Kind::Stream(Stream { reading: Some(back), writing: Some(there), addresses: Some((local, to)) });
        server
    }

    pub(super) fn free_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    /// False when the address is in use.
    pub(super) fn add_listener(&mut self, mut local: SocketAddr, backlog: usize) -> Option<usize> {
        if local.port() == 0 {
            local.set_port(self.free_port());
        }
        if self.listeners.contains_key(&local) {
            return None;
        }
        let file = self.add(Kind::Listener { local, queue: VecDeque::new(), backlog: backlog.max(1) });
        self.listeners.insert(local, file);
        Some(file)
    }

    /// Who listens on an address, by itself or on all addresses.
    pub(super) fn listener(&self, address: SocketAddr) -> Option<usize> {
        let all: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let found = self.listeners.get(&address);
        found.or_else(|| self.listeners.get(&SocketAddr::new(all, address.port()))).copied()
    }

    /// Takes a file out; what it was is the caller's to end.
    pub(super) fn remove(&mut self, file: usize) -> File {
        let removed = self.files.remove(file);
        if let Some(number) = removed.number {
            self.numbers.remove(&number);
        }
        if let Kind::Listener { local, .. } = &removed.kind {
            self.listeners.remove(local);
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
        match &file.kind {
            Kind::Fresh { .. } => format!("socket #{ordinal}"),
            Kind::Listener { local, queue, .. } => format!("listener #{ordinal} on {local}, {} waiting", queue.len()),
            Kind::Stream(Stream { addresses: Some((local, peer)), .. }) => format!("#{ordinal} {local} to {peer}"),
            Kind::Stream(_) => format!("pipe #{ordinal}"),
        }
    }
}

fn loopback(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}
