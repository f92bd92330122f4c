//! The calls that never wait, and so do not go through a ring: setting sockets up, asking for addresses, closing at once.
//! Linux answers them, or the simulated kernel.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::World;
use crate::sys::{self, Address, ListenOptions, Look, Reach, Signalled, SocketFile, Spawned};

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
}

/// Linux and the simulated kernel have the same functions.
macro_rules! forward {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $argument:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        impl Calls {
            $($(#[$doc])* pub(crate) fn $name(&self $(, $argument: $type)*) $(-> $result)? {
                match self {
                    Calls::Linux => sys::$name($($argument),*),
                    Calls::Sim(world) => world.$name($($argument),*),
                }
            })*
        }
    };
}

forward! {
    /// A new TCP socket for `address`'s family.
    fn stream_socket(&self, address: &SocketAddr) -> io::Result<OwnedFd>;
    /// A socket bound to `address` that does not listen yet.
    fn bind_to_listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd>;
    fn start_listening(&self, fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()>;
    /// Binds a socket that will connect.
    fn bind_to_connect(&self, fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()>;
    fn local_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr>;
    /// An error for a connection that is gone.
    fn peer_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr>;
    fn set_nodelay(&self, fd: BorrowedFd<'_>, on: bool) -> io::Result<()>;
    /// A clear error for what cannot be read and written as a stream.
    fn is_stream_socket(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// Ends the writing direction; no error for a peer that is gone already.
    fn shutdown_write(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// A close will reset the connection, whatever is unsent or unread.
    fn reset_on_close(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// Whether bytes wait in the socket.
    fn has_unread(&self, fd: BorrowedFd<'_>) -> bool;
    /// A UDP socket bound to `address`.
    fn udp_socket(&self, address: SocketAddr) -> io::Result<OwnedFd>;
    /// Sets where datagrams go.
    fn connect_datagrams(&self, fd: BorrowedFd<'_>, address: &Address) -> io::Result<()>;
    /// A socket that is named by a file, if it is named at all.
    fn unix_socket(&self, datagrams: bool) -> io::Result<OwnedFd>;
    /// Two of them, connected.
    fn unix_pair(&self, datagrams: bool) -> io::Result<(OwnedFd, OwnedFd)>;
    /// Binds to a path, over a socket that was left there.
    fn bind_unix(&self, fd: BorrowedFd<'_>, path: &Path, mode: Option<u32>) -> io::Result<Option<SocketFile>>;
    /// Takes the file away, unless another one stands there by now.
    fn remove_socket_file(&self, file: &SocketFile);
    fn unix_local_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>>;
    fn unix_peer_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>>;
    /// Process, user and group of whoever connected.
    fn peer_credentials(&self, fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)>;
    /// Reaps a child if it has ended.
    fn look_at_child(&self, pidfd: BorrowedFd<'_>) -> Look;
    fn send_signal(&self, pidfd: BorrowedFd<'_>, signal: i32, reach: Reach) -> Signalled;
    fn send_signal_to_unreaped_group(&self, pid: u32, signal: i32) -> Signalled;
    fn kill_and_reap(&self, spawned: Spawned, reach: Reach);
    /// Leaves a child to whoever comes by next; reaped here if it has ended.
    fn leave_orphan(&self, pidfd: OwnedFd);
    /// How often a signal came; wraps around.
    fn signal_count(&self, signal: i32) -> u32;
    /// Empties a counter of signals.
    fn clear_counter(&self, counter: BorrowedFd<'_>);
    /// Where nothing comes from and everything vanishes.
    fn null_device(&self) -> io::Result<OwnedFd>;
    /// The same descriptor under a number from three up.
    fn high(&self, fd: OwnedFd) -> io::Result<OwnedFd>;
    /// A pipe whose ends have such numbers.
    fn high_pipe(&self) -> io::Result<(OwnedFd, OwnedFd)>;
    /// Closes at once.
    fn close(&self, fd: OwnedFd);
}

impl Calls {
    /// A socket bound to `address` that listens.
    pub(crate) fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
        let bound = self.hold(self.bind_to_listen(address, options)?);
        self.start_listening(bound.as_fd(), options.backlog)?;
        Ok(bound.into_fd())
    }

    pub(crate) fn hold(&self, fd: OwnedFd) -> Held {
        Held { fd: Some(fd), calls: self.clone() }
    }

    /// Hears signals at a counter from now on, which must be closed after the listener is dropped.
    pub(crate) fn hear(&self, numbers: &[i32]) -> io::Result<(OwnedFd, Hearing)> {
        sys::check_heard(numbers)?;
        match self {
            Calls::Linux => {
                let counter = sys::doorbell_fd()?;
                let listener = sys::hear(counter.as_fd(), numbers.to_vec())?;
                Ok((counter, Hearing::Linux(listener)))
            }
            Calls::Sim(world) => {
                let (counter, file) = world.hear(numbers)?;
                let before = numbers.iter().map(|&number| (number, world.signal_count(number))).collect();
                Ok((counter, Hearing::Sim { world: world.clone(), file, before }))
            }
        }
    }
}

/// Hears signals until it is dropped.
pub(crate) enum Hearing {
    Linux(sys::Listener),
    Sim { world: World, file: usize, before: Vec<(i32, u32)> },
}

impl Hearing {
    /// How often each had come before.
    pub(crate) fn counts_before(&self) -> Vec<(i32, u32)> {
        match self {
            Hearing::Linux(listener) => listener.counts_before().collect(),
            Hearing::Sim { before, .. } => before.clone(),
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        match self {
            Hearing::Linux(_) => {} // it ends by itself
            Hearing::Sim { world, file, .. } => world.stop_hearing(*file),
        }
    }
}

/// A descriptor that is closed when this is dropped, by the kernel that it is from.
pub(crate) struct Held {
    /// Until it is given away.
    fd: Option<OwnedFd>,
    calls: Calls,
}

impl Held {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it is held until it is given away").as_fd()
    }

    pub(crate) fn into_fd(mut self) -> OwnedFd {
        self.fd.take().expect("it is held until it is given away")
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.calls.close(fd);
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
