//! The calls that never wait.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::{
    World,
    datagrams::{Mailbox, Peer},
    names::{Name, Protocol, is_abstract},
    net::{Family, File, Kind, Stream},
    state::State,
};
use crate::sys::{self, Address, ListenOptions, SocketFile};

fn refused(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl State {
    fn file(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.net.find(fd.as_raw_fd()).ok_or_else(|| refused(libc::EBADF))
    }

    /// Gives a descriptor to a file.
    pub(super) fn hand_out(&mut self, file: usize) -> io::Result<OwnedFd> {
        let fd = self.new_number()?;
        self.net.name(file, fd.as_raw_fd());
        Ok(fd)
    }

    fn bind(&mut self, file: usize, protocol: Protocol, address: SocketAddr) -> io::Result<()> {
        let bound = self.net.names.bind(file, protocol, address).ok_or_else(|| refused(libc::EADDRINUSE))?;
        self.net.files[file].local = Some(Name::Internet(bound));
        Ok(())
    }

    /// For a file that has no descriptor yet.
    fn bind_or_remove(&mut self, file: usize, protocol: Protocol, address: SocketAddr) -> io::Result<()> {
        self.bind(file, protocol, address).map_err(|error| {
            self.net.remove(file);
            let text = format!("cannot listen on {address}: {error}; choose another port, or port 0");
            io::Error::new(error.kind(), text)
        })
    }

    fn unix_file(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let file = self.file(fd)?;
        match self.net.family(file) {
            Some(Family::Unix) => Ok(file),
            Some(Family::V4 | Family::V6) => Err(refused(libc::EINVAL)),
            None => Err(refused(libc::ENOTSOCK)),
        }
    }
}

fn not_internet() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the socket has no internet address")
}

impl World {
    pub(in super::super) fn stream_socket(&self, address: &SocketAddr) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let file = state.net.add(Kind::Fresh { family: Family::of(address) });
        state.hand_out(file)
    }

    pub(in super::super) fn bind_to_listen(&self, address: SocketAddr, _: ListenOptions) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let file = state.net.add(Kind::Fresh { family: Family::of(&address) });
        state.bind_or_remove(file, Protocol::Tcp, address)?;
        state.hand_out(file)
    }

    pub(in super::super) fn start_listening(&self, fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(fd)?;
        let Kind::Fresh { family } = state.net.files[file].kind else { return Err(refused(libc::EINVAL)) };
        let backlog = (backlog as usize).max(1);
        state.net.files[file].kind = Kind::Listener { family, queue: VecDeque::new(), backlog };
        Ok(())
    }

    pub(in super::super) fn bind_to_connect(&self, fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(fd)?;
        state.bind(file, Protocol::Tcp, address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot bind to the local address {address}: {error}"))
        })
    }

    pub(in super::super) fn udp_socket(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let file = state.net.add(Kind::Datagrams(Mailbox::new(Family::of(&address))));
        state.bind_or_remove(file, Protocol::Udp, address)?;
        state.hand_out(file)
    }

    pub(in super::super) fn connect_datagrams(&self, fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(fd)?;
        let name = Name::of(address).ok_or_else(|| refused(libc::EAFNOSUPPORT))?;
        let peer = match &name {
            Name::Internet(_) => Peer::Named(name.clone()),
            Name::Unix(_) => Peer::Socket(state.unix_receiver(&name).map_err(refused)?),
        };
        if let Peer::Socket(peer) = peer
            && let Kind::Datagrams(Mailbox { peer: Some(other), .. }) = &state.net.files[peer].kind
            && *other != Peer::Socket(file)
        {
            return Err(refused(libc::EPERM));
        }
        let family = name.internet().map_or(Family::Unix, |address| Family::of(&address));
        let File { kind: Kind::Datagrams(mailbox), .. } = &mut state.net.files[file] else {
            return Err(refused(libc::ENOTSOCK));
        };
        if mailbox.family != family {
            return Err(refused(libc::EAFNOSUPPORT));
        }
        mailbox.peer = Some(peer);
        Ok(())
    }

    pub(in super::super) fn unix_socket(&self, datagrams: bool) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let kind = match datagrams {
            true => Kind::Datagrams(Mailbox::new(Family::Unix)),
            false => Kind::Fresh { family: Family::Unix },
        };
        let file = state.net.add(kind);
        state.hand_out(file)
    }

    pub(in super::super) fn unix_pair(&self, datagrams: bool) -> io::Result<(OwnedFd, OwnedFd)> {
        let mut state = self.state();
        let (one, other) = if datagrams {
            state.net.add_mailboxes()
        } else {
            let capacity = state.knobs.socket_bytes;
            let one = state.net.add(Kind::Fresh { family: Family::Unix });
            let other = state.net.add(Kind::Fresh { family: Family::Unix });
            state.net.join(one, other, Family::Unix, capacity);
            (one, other)
        };
        Ok((state.hand_out(one)?, state.hand_out(other)?))
    }

    pub(in super::super) fn bind_unix(
        &self,
        fd: BorrowedFd<'_>,
        path: &Path,
        _mode: Option<u32>,
    ) -> io::Result<Option<SocketFile>> {
        sys::unix_address(path)?;
        let mut state = self.state();
        let file = state.file(fd)?;
        let Some(inode) = state.net.names.bind_path(file, path) else {
            let text = format!("address {path:?} is already in use; choose another path, or remove the file");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        };
        state.net.files[file].local = Some(Name::Unix(path.to_owned()));
        Ok((!is_abstract(path)).then(|| SocketFile { path: path.to_owned(), device: 0, inode }))
    }

    pub(in super::super) fn remove_socket_file(&self, file: &SocketFile) {
        self.state().net.names.remove_path(&file.path, file.inode);
    }

    pub(in super::super) fn unix_local_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
        let state = self.state();
        let file = state.unix_file(fd)?;
        Ok(state.net.files[file].local.as_ref().and_then(Name::path).map(Path::to_owned))
    }

    pub(in super::super) fn unix_peer_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
        let state = self.state();
        let file = state.unix_file(fd)?;
        let Kind::Stream(_) = state.net.files[file].kind else { return Err(refused(libc::ENOTCONN)) };
        Ok(state.net.files[file].peer.as_ref().and_then(Name::path).map(Path::to_owned))
    }

    pub(in super::super) fn peer_credentials(&self, fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
        let state = self.state();
        match state.net.family(state.file(fd)?) {
            // Both ends are in this process.
            Some(Family::Unix) => {
                let process = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
                Ok((process, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()))
            }
            Some(Family::V4 | Family::V6) => Ok((0, u32::MAX, u32::MAX)),
            None => Err(refused(libc::ENOTSOCK)),
        }
    }

    pub(in super::super) fn local_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let state = self.state();
        let file = state.file(fd)?;
        match state.net.family(file) {
            Some(Family::Unix) => Err(not_internet()),
            None => Err(refused(libc::ENOTSOCK)),
            Some(family) => {
                let local = state.net.files[file].local.as_ref().and_then(Name::internet);
                Ok(local.unwrap_or_else(|| match family {
                    Family::V6 => SocketAddr::from(([0; 8], 0)),
                    Family::V4 | Family::Unix => SocketAddr::from(([0, 0, 0, 0], 0)),
                }))
            }
        }
    }

    pub(in super::super) fn peer_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let state = self.state();
        let file = state.file(fd)?;
        match state.net.family(file) {
            Some(Family::Unix) => return Err(not_internet()),
            None => return Err(refused(libc::ENOTSOCK)),
            Some(Family::V4 | Family::V6) => {}
        }
        let Some(stream) = state.net.stream(file) else { return Err(refused(libc::ENOTCONN)) };
        let reset = stream.reading.is_some_and(|channel| state.net.channels[channel].reset);
        let peer = state.net.files[file].peer.as_ref().and_then(Name::internet);
        peer.filter(|_| !reset).ok_or_else(|| refused(libc::ENOTCONN))
    }

    pub(in super::super) fn set_nodelay(&self, fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
        let state = self.state();
        match state.net.family(state.file(fd)?) {
            Some(Family::V4 | Family::V6) => Ok(()),
            Some(Family::Unix) => Err(refused(libc::EOPNOTSUPP)),
            None => Err(refused(libc::ENOTSOCK)),
        }
    }

    pub(in super::super) fn is_stream_socket(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let state = self.state();
        let what = match &state.net.files[state.file(fd)?].kind {
            Kind::Stream(Stream { family: None, .. }) | Kind::Null | Kind::Child(_) | Kind::Counter { .. } => {
                "no socket"
            }
            Kind::Datagrams(_) => "a socket of another type",
            Kind::Fresh { .. } | Kind::Listener { .. } | Kind::Stream(_) => return Ok(()),
        };
        let text = format!("descriptor {} is {what}; a connected or listening stream socket is needed", fd.as_raw_fd());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    pub(in super::super) fn shutdown_write(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(fd)?;
        if let Some(Stream { writing: Some(writing), .. }) = state.net.stream(file) {
            state.shut(writing);
        }
        Ok(())
    }

    pub(in super::super) fn reset_on_close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(fd)?;
        state.net.files[file].resets = true;
        Ok(())
    }

    pub(in super::super) fn has_unread(&self, fd: BorrowedFd<'_>) -> bool {
        let state = self.state();
        let stream = state.file(fd).ok().and_then(|file| state.net.stream(file));
        let reading = stream.and_then(|stream| stream.reading);
        reading.is_some_and(|channel| !state.net.channels[channel].arrived.is_empty())
    }

    pub(in super::super) fn close(&self, fd: OwnedFd) {
        let mut state = self.state();
        let Some(file) = state.net.find(fd.as_raw_fd()) else { return };
        if state.net.files[file].flights > 0 {
            let what = state.net.describe(file);
            state.violate(format!("S6: {what} is closed while operations are in flight"));
        }
        state.close_file(file);
        state.bury(fd);
    }

    /// A pipe: the end that is read, and the one that is written.
    pub(crate) fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let mut state = self.state();
        let capacity = state.knobs.socket_bytes.min(PIPE_BYTES);
        let (reader, writer) = state.net.add_pipe(capacity);
        Ok((state.hand_out(reader)?, state.hand_out(writer)?))
    }
}

/// What a pipe of Linux holds.
const PIPE_BYTES: usize = 64 * 1024;
