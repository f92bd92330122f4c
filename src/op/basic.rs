//! Operations without a buffer: nop, connect, close.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use super::{Operation, Socket};
use crate::{
    driver::{Calls, Completion, Request},
    sys::Address,
};

/// Nothing, all the way through the kernel: to test and to measure the way.
#[cfg(any(test, feature = "internals"))]
pub(crate) struct Nop;

#[cfg(any(test, feature = "internals"))]
impl Operation for Nop {
    type Output = io::Result<()>;
    const NAME: &'static str = "nop";

    fn request(&mut self) -> Request {
        Request::Nop
    }

    fn finish(self, result: io::Result<u32>) -> io::Result<()> {
        result.map(drop)
    }

    fn orphan(self, _: Completion) {}
}

/// Connects a socket. An orphan that connected is closed with its socket.
pub(crate) struct Connect {
    pub(crate) socket: Rc<Socket>,
    pub(crate) address: Box<Address>,
}

impl Operation for Connect {
    type Output = io::Result<Rc<Socket>>;
    const NAME: &'static str = "connect";
    const RESTARTS: bool = false; // it may have begun: a second one would be refused

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.socket.raw_fd())
    }

    fn request(&mut self) -> Request {
        let (address, len) = self.address.as_raw();
        Request::Connect { fd: self.socket.raw_fd(), address, len }
    }

    fn finish(self, result: io::Result<u32>) -> io::Result<Rc<Socket>> {
        result.map(|_| self.socket)
    }

    fn orphan(self, _: Completion) {}
}

/// Closes a descriptor; nobody waits for it but perhaps the socket it was.
pub(super) struct CloseFd {
    /// Until the request is made: from then on the number is the kernel's to close.
    fd: Option<OwnedFd>,
    socket: Option<Rc<Socket>>,
    calls: Calls,
}

impl CloseFd {
    pub(super) fn new(fd: OwnedFd, socket: Option<Rc<Socket>>, calls: Calls) -> CloseFd {
        CloseFd { fd: Some(fd), socket, calls }
    }
}

impl Operation for CloseFd {
    type Output = ();
    const NAME: &'static str = "close";

    fn request(&mut self) -> Request {
        let fd = self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        Request::Close { fd }
    }

    fn finish(self, result: io::Result<u32>) {
        match (result, self.fd) {
            // The kernel has closed it: the number may be somebody else's by now.
            (Ok(_), Some(fd)) => drop(std::os::fd::IntoRawFd::into_raw_fd(fd)),
            // It was cancelled before it was done.
            (Err(_), Some(fd)) => self.calls.close(fd),
            (Ok(_) | Err(_), None) => {}
        }
        if let Some(socket) = self.socket {
            socket.on_closed();
        }
    }

    fn orphan(self, completion: Completion) {
        self.finish(completion.result());
    }
}
