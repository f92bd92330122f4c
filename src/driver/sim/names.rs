//! What sockets are called, and which of them has which name.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::sys::Address;

/// The name of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Internet(SocketAddr),
    /// A path; one that begins with a zero byte belongs to no file.
    Unix(PathBuf),
}

impl Name {
    pub(super) fn of(address: &Address) -> Option<Name> {
        address.internet().map(Name::Internet).or_else(|| address.path().map(Name::Unix))
    }

    pub(super) fn internet(&self) -> Option<SocketAddr> {
        match self {
            Name::Internet(address) => Some(*address),
            Name::Unix(_) => None,
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Name::Internet(_) => None,
            Name::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Internet(address) => address.fmt(f),
            Name::Unix(path) => write!(f, "{path:?}"),
        }
    }
}

/// What numbers of ports are counted apart for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// The names that are taken.
pub(super) struct Names {
    internet: BTreeMap<(Protocol, SocketAddr), usize>,
    paths: BTreeMap<PathBuf, Entry>,
    next_port: u16,
    made: u64,
}

/// What stands at a path. It stays when the socket is closed.
#[derive(Clone, Copy)]
struct Entry {
    file: usize,
    inode: u64,
}

/// The first port that is given to sockets that do not choose one.
const FIRST_PORT: u16 = 40_000;

impl Names {
    pub(super) fn new() -> Names {
        Names { internet: BTreeMap::new(), paths: BTreeMap::new(), next_port: FIRST_PORT, made: 0 }
    }

    pub(super) fn free_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.internet.keys().any(|(_, address)| address.port() == port) {
                return port;
            }
        }
    }

    /// The address that the file has now; none where it is taken.
    pub(super) fn bind(&mut self, file: usize, protocol: Protocol, mut address: SocketAddr) -> Option<SocketAddr> {
        if address.port() == 0 {
            address.set_port(self.free_port());
        }
        let clashes = |other: &SocketAddr| {
            let same_place = other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
            other.port() == address.port() && other.is_ipv4() == address.is_ipv4() && same_place
        };
        if self.internet.keys().any(|(other, taken)| *other == protocol && clashes(taken)) {
            return None;
        }
        self.internet.insert((protocol, address), file);
        Some(address)
    }

    /// Who has an address, by itself or with all addresses.
    pub(super) fn at(&self, protocol: Protocol, address: SocketAddr) -> Option<usize> {
        let all: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let found = self.internet.get(&(protocol, address));
        found.or_else(|| self.internet.get(&(protocol, SocketAddr::new(all, address.port())))).copied()
    }

    /// The number of the new file; none where the name is taken. A file at the path gives way, a name does not.
    pub(super) fn bind_path(&mut self, file: usize, path: &Path) -> Option<u64> {
        if is_abstract(path) && self.paths.contains_key(path) {
            return None;
        }
        self.made += 1;
        self.paths.insert(path.to_owned(), Entry { file, inode: self.made });
        Some(self.made)
    }

    /// Which socket a path stands for, closed or not.
    pub(super) fn at_path(&self, path: &Path) -> Option<usize> {
        self.paths.get(path).map(|entry| entry.file)
    }

    pub(super) fn remove_path(&mut self, path: &Path, inode: u64) {
        if self.paths.get(path).is_some_and(|entry| entry.inode == inode) {
            self.paths.remove(path);
        }
    }

    /// The file is closed: its name is free again, but for one that stands in a directory.
    pub(super) fn release(&mut self, file: usize, name: &Name) {
        match name {
            Name::Internet(address) => {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    if self.internet.get(&(protocol, *address)) == Some(&file) {
                        self.internet.remove(&(protocol, *address));
                    }
                }
            }
            Name::Unix(path) if is_abstract(path) => {
                if self.at_path(path) == Some(file) {
                    self.paths.remove(path);
                }
            }
            Name::Unix(_) => {}
        }
    }
}

pub(super) fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

pub(super) fn loopback(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}
