//! Where a runtime can be asked for its tasks: a unix socket with an abstract name, which no file stays behind of.

use std::{
    fs, io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{geteuid, gettid},
};

/// Runtimes of one thread that can be inspected at a time.
const RUNTIMES_MAX: u32 = 64;

/// Listens as `ringio/PROCESS/THREAD/NUMBER`, with the first number that is free.
pub(crate) fn listen_for_inspection() -> io::Result<OwnedFd> {
    let (process, thread) = (std::process::id(), this_thread());
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for number in 0..RUNTIMES_MAX {
        let name = format!("ringio/{process}/{thread}/{number}");
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
            Ok(listener) => return Ok(listener.into()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

/// Whether whoever has connected may see what this process may see: it is the same user, or the superuser.
pub(crate) fn is_same_user(connection: BorrowedFd<'_>) -> bool {
    let peer = getsockopt(&connection, PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// The number the system knows this thread by.
pub(crate) fn this_thread() -> i32 {
    gettid().as_raw()
}

/// Whether a thread of this process sleeps in the kernel at this moment; `None` when that cannot be known.
pub(crate) fn is_asleep(thread: i32) -> Option<bool> {
    let line = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    // Before it stands the thread's name, in brackets, with whatever letters.
    let state = line.rsplit_once(')')?.1.trim_start().chars().next()?;
    Some(state != 'R')
}
