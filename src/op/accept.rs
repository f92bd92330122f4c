//! The queue of a listener. Connections belong to the listener until a caller takes one, so a cancelled accept loses
//! none: the next one finds it here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Poll, Waker},
};

use super::{Port, Socket, Waiters, descriptor, slot::Owner};
use crate::driver::{Answer, Completion, Interest, Request, Token};

pub(crate) struct Acceptor {
    port: Rc<Port>,
    fd: RefCell<Option<OwnedFd>>,
    /// Accepted by the kernel, not yet taken by a caller.
    backlog: RefCell<VecDeque<OwnedFd>>,
    token: Cell<Option<Token>>,
    stopping: Cell<bool>,
    /// What is in flight is a poll: this kernel does not wait for connections of this socket by itself.
    polling: Cell<bool>,
    closing: Cell<bool>,
    failure: RefCell<Option<Failure>>,
    waiters: Waiters,
}

/// What a caller gets.
pub(crate) enum Taken {
    Connection(Rc<Socket>, Option<SocketAddr>),
    /// No descriptor or memory is left. The connections stay in the kernel's queue; try again in a while.
    Exhausted(io::Error),
}

enum Failure {
    Exhausted(io::Error),
    Other(io::Error),
}

/// Most connections that wait here for a caller. More stay in the kernel's own queue, which refuses when it is full.
const BACKLOG_MAX: usize = 256;

impl Acceptor {
    pub(crate) fn new(port: &Rc<Port>, fd: OwnedFd) -> Rc<Acceptor> {
        Rc::new(Acceptor {
            port: port.clone(),
            fd: RefCell::new(Some(fd)),
            backlog: RefCell::default(),
            token: Cell::new(None),
            stopping: Cell::new(false),
            polling: Cell::new(false),
            closing: Cell::new(false),
            failure: RefCell::new(None),
            waiters: Waiters::default(),
        })
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let calls = self.port.calls();
        self.fd.borrow().as_ref().map_or_else(|| Err(closed()), |fd| calls.local_address(fd.as_fd()))
    }

    pub(super) fn each_waiter(&self, mut look: impl FnMut(RawFd, &Waker)) {
        let fd = self.fd.borrow().as_ref().map_or(-1, AsRawFd::as_raw_fd);
        self.waiters.each(|waker| look(fd, waker));
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The oldest connection, when there is one.
    pub(crate) fn poll_take(self: &Rc<Acceptor>, waker: &Waker) -> Poll<io::Result<Taken>> {
        if self.closing.get() {
            return Poll::Ready(Err(closed()));
        }
        let first = self.backlog.borrow_mut().pop_front();
        if let Some(fd) = first {
            // It may be gone already: then there is no address any more, and the reset will be seen by the first read.
            let peer = self.port.calls().peer_address(fd.as_fd()).ok();
            return Poll::Ready(Ok(Taken::Connection(Socket::new(&self.port, fd), peer)));
        }
        let failure = self.failure.take();
        match failure {
            Some(Failure::Exhausted(error)) => return Poll::Ready(Ok(Taken::Exhausted(error))),
            Some(Failure::Other(error)) => return Poll::Ready(Err(error)),
            None => {}
        }
        self.waiters.add(waker);
        self.arm();
        Poll::Pending
    }

    fn arm(self: &Rc<Acceptor>) {
        if self.token.get().is_some() || self.closing.get() || self.port.is_ending() {
            return;
        }
        let many = self.port.profile().has_multishot();
        self.stand(|fd| Request::Accept { fd, many });
    }

    fn stand(self: &Rc<Acceptor>, request: impl FnOnce(RawFd) -> Request) {
        let fd = self.fd.borrow().as_ref().map_or(-1, AsRawFd::as_raw_fd);
        self.token.set(Some(self.port.stand(Owner::Accept(self.clone()), &request(fd))));
    }

    fn stop(&self) {
        if let Some(token) = self.token.get()
            && !self.stopping.replace(true)
        {
            self.port.cancel(token);
        }
    }

    pub(super) fn on_accepted(self: &Rc<Acceptor>, completion: Completion) {
        let stopping = self.stopping.get();
        if !completion.more() {
            self.token.set(None);
            self.stopping.set(false);
        }
        let polled = self.polling.replace(false);
        match completion.answer() {
            // The answer of the poll below: the accept is started again by whoever waits.
            Answer::Done(_) if polled => {}
            Answer::Done(number) => self.backlog.borrow_mut().push_back(descriptor(number)),
            Answer::Cancelled | Answer::Gone(_) => {}
            // It was to end anyway; nobody would end a poll.
            Answer::NotReady if stopping || self.port.is_ending() => {}
            Answer::NotReady => {
                self.polling.set(true);
                self.stand(|fd| Request::Poll { fd, interest: Interest::Readable });
            }
            Answer::Exhausted(error) => *self.failure.borrow_mut() = Some(Failure::Exhausted(error)),
            Answer::Failed(error) => *self.failure.borrow_mut() = Some(Failure::Other(error)),
            Answer::NoBuffer => {}
        }
        if self.closing.get() {
            return self.proceed_with_close();
        }
        if self.backlog.borrow().len() >= BACKLOG_MAX {
            self.stop();
        }
        // Whoever waits takes the connection or the error, or starts the next accept.
        self.waiters.wake_all();
    }

    /// Stops listening. Connections that nobody took are closed, and the port is free when [`Self::poll_closed`] says so.
    pub(crate) fn close(self: &Rc<Acceptor>) {
        if !self.closing.replace(true) {
            self.stop();
            self.proceed_with_close();
            self.waiters.wake_all();
        }
    }

    fn proceed_with_close(self: &Rc<Acceptor>) {
        for connection in self.backlog.take() {
            self.port.close(connection, None);
        }
        if self.token.get().is_none() || self.port.is_closed() {
            // At once, and not through the ring: the port number is free when this returns (S6 holds: nothing is in flight).
            self.close_at_once();
            self.waiters.wake_all();
        }
    }

    fn close_at_once(&self) {
        let fd = self.fd.take();
        if let Some(fd) = fd {
            self.port.calls().close(fd);
        }
    }

    pub(crate) fn poll_closed(&self, waker: &Waker) -> Poll<()> {
        if self.fd.borrow().is_none() {
            return Poll::Ready(());
        }
        self.waiters.add(waker);
        Poll::Pending
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        for connection in self.backlog.take() {
            self.port.close(connection, None);
        }
        self.close_at_once();
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the listener is closed")
}
