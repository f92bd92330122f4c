//! Who waits for what, found out when somebody asks: nothing is written down for it while programs run.

use std::{os::fd::RawFd, task::Waker};

use super::{Port, slot::Owner};

/// What somebody waits for in the kernel.
pub(crate) struct Awaited {
    /// The operation, by the name of the system's call.
    pub(crate) name: &'static str,
    pub(crate) fd: Option<RawFd>,
}

impl Port {
    /// Calls `look` with everybody who waits for an operation, and the operation. A wait for what a socket or a listener
    /// does by itself may have been given up: nobody tells them.
    pub(crate) fn each_awaited(&self, mut look: impl FnMut(&Waker, Awaited)) {
        let table = self.table.borrow();
        for (lent, waker) in table.waiting() {
            look(waker, Awaited { name: lent.name(), fd: lent.descriptor() });
        }
        for owner in table.owners() {
            let named = |fd| Awaited { name: owner.name(), fd: Some(fd) };
            match owner {
                Owner::Receive(socket) => socket.each_reader(|waker| look(waker, named(socket.raw_fd()))),
                Owner::Send(socket) => socket.each_sender(|waker| look(waker, named(socket.raw_fd()))),
                Owner::Accept(acceptor) => acceptor.each_waiter(|fd, waker| look(waker, named(fd))),
                Owner::Datagram(socket) => socket.each_waiter(|fd, waker| look(waker, named(fd))),
                Owner::Exit(child) => child.each_waiter(|fd, waker| look(waker, named(fd))),
            }
        }
        for (_, socket) in &*self.starving.borrow() {
            socket.each_reader(|waker| look(waker, Awaited { name: "recv", fd: Some(socket.raw_fd()) }));
        }
    }
}
