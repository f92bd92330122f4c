//! The calls that never wait.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::{
    World,
    net::{Kind, Stream},
    state::State,
};
use crate::sys::ListenOptions;

fn refused(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl State {
    fn file(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.net.find(fd.as_raw_fd()).ok_or_else(|| refused(libc::EBADF))
    }

    /// Gives a descriptor to a file.
    fn hand_out(&mut self, file: usize) -> io::Result<OwnedFd> {
        let fd = self.new_number()?;
        self.net.name(file, fd.as_raw_fd());
        Ok(fd)
    }
}

impl World {
    pub(in super::super) fn stream_socket(&self, address: &SocketAddr) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let file = state.net.add(Kind::Fresh { v6: address.is_ipv6() });
        state.hand_out(file)
    }

    pub(in super::super) fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let backlog = options.backlog as usize;
        let Some(file) = state.net.add_listener(address, backlog) else {
            let error = refused(libc::EADDRINUSE);
            let text = format!("cannot listen on {address}: {error}; choose another port, or port 0");
            return Err(io::Error::new(error.kind(), text));
        };
        state.hand_out(file)
    }

    pub(in super::super) fn local_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let state = self.state();
        match &state.net.files[state.file(fd)?].kind {
            Kind::Fresh { v6: false } => Ok(SocketAddr::from(([0, 0, 0, 0], 0))),
            Kind::Fresh { v6: true } => Ok(SocketAddr::from(([0; 8], 0))),
            Kind::Listener { local, .. } => Ok(*local),
            Kind::Stream(stream) => stream.addresses.map(|(local, _)| local).ok_or_else(|| refused(libc::ENOTSOCK)),
        }
    }

    pub(in super::super) fn peer_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let state = self.state();
        let Some(stream) = state.net.stream(state.file(fd)?) else { return Err(refused(libc::ENOTCONN)) };
        let reset = stream.reading.is_some_and(|channel| state.net.channels[channel].reset);
        match stream.addresses {
            Some(_) if reset => Err(refused(libc::ENOTCONN)),
            Some((_, peer)) => Ok(peer),
            None => Err(refused(libc::ENOTSOCK)),
        }
    }

    pub(in super::super) fn set_nodelay(&self, fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
        self.is_stream_socket(fd)
    }

    pub(in super::super) fn is_stream_socket(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let state = self.state();
        let is_pipe = matches!(state.net.files[state.file(fd)?].kind, Kind::Stream(Stream { addresses: None, .. }));
        if is_pipe {
            let text = format!("descriptor {} is no socket; a stream socket is needed", fd.as_raw_fd());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
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
