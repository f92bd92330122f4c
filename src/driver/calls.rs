//! The calls that never wait, and so do not go through a ring: setting sockets up, asking for addresses, closing at once.
//! Linux answers them, or the simulated kernel.

use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::World;
use crate::sys::{self, ListenOptions};

/// Who answers. Without the feature `testing` there is no [`World`], and this has no size.
#[derive(Clone)]
pub(crate) enum Calls {
    Linux,
    Sim(World),
}

impl Calls {
    /// The simulated kernel, where there is one.
    #[inline]
    pub(crate) fn world(&self) -> Option<&World> {
        match self {
            Calls::Linux => None,
            Calls::Sim(world) => Some(world),
        }
    }

    /// A new TCP socket for `address`'s family.
    pub(crate) fn stream_socket(&self, address: &SocketAddr) -> io::Result<OwnedFd> {
        match self {
            Calls::Linux => sys::stream_socket(address),
            Calls::Sim(world) => world.stream_socket(address),
        }
    }

    /// A socket bound to `address` that listens.
    pub(crate) fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
        match self {
            Calls::Linux => sys::listen(address, options),
            Calls::Sim(world) => world.listen(address, options),
        }
    }

    pub(crate) fn local_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        match self {
            Calls::Linux => sys::local_address(fd),
            Calls::Sim(world) => world.local_address(fd),
        }
    }

    /// An error for a connection that is gone.
    pub(crate) fn peer_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        match self {
            Calls::Linux => sys::peer_address(fd),
            Calls::Sim(world) => world.peer_address(fd),
        }
    }

    pub(crate) fn set_nodelay(&self, fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
        match self {
            Calls::Linux => sys::set_nodelay(fd, on),
            Calls::Sim(world) => world.set_nodelay(fd, on),
        }
    }

    /// A clear error for what cannot be read and written as a stream.
    pub(crate) fn is_stream_socket(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Calls::Linux => sys::is_stream_socket(fd),
            Calls::Sim(world) => world.is_stream_socket(fd),
        }
    }

    /// Ends the writing direction; no error for a peer that is gone already.
    pub(crate) fn shutdown_write(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Calls::Linux => sys::shutdown_write(fd),
            Calls::Sim(world) => world.shutdown_write(fd),
        }
    }

    /// A close will reset the connection, whatever is unsent or unread.
    pub(crate) fn reset_on_close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Calls::Linux => sys::reset_on_close(fd),
            Calls::Sim(world) => world.reset_on_close(fd),
        }
    }

    /// Whether bytes wait in the socket.
    pub(crate) fn has_unread(&self, fd: BorrowedFd<'_>) -> bool {
        match self {
            Calls::Linux => sys::has_unread(fd),
            Calls::Sim(world) => world.has_unread(fd),
        }
    }

    /// An error in a simulated world, which does not have `what`: nothing there may touch the real one.
    pub(crate) fn needs_linux(&self, what: &str) -> io::Result<()> {
        match self {
            Calls::Linux => Ok(()),
            Calls::Sim(_) => {
                let text = format!("a simulated world has no {what}; test this in a real runtime");
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        }
    }

    /// Closes at once.
    pub(crate) fn close(&self, fd: OwnedFd) {
        match self {
            Calls::Linux => sys::close(fd),
            Calls::Sim(world) => world.close(fd),
        }
    }
}

/// A thread works for a task. While this lives, simulated time does not jump over what the thread does.
pub(crate) struct Outside(Calls);

impl Calls {
    pub(crate) fn outside(&self) -> Outside {
        if let Some(world) = self.world() {
            world.count_outside(1);
        }
        Outside(self.clone())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(world) = self.0.world() {
            world.count_outside(-1);
        }
    }
}
