//! A socket that receives and sends datagrams. What arrives belongs to the socket, not to the future that waits, so a
//! cancelled receive loses nothing: the next one finds it here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{Operation, Port, Waiters, slot::Owner};
use crate::{
    buf::{IoBuf, content, received},
    driver::{Answer, Completion, Held, Request, Token},
    sys::{Address, Envelope},
};

pub(crate) struct Datagrams {
    port: Rc<Port>,
    fd: Held,
    arrived: RefCell<VecDeque<(Bytes, Option<Address>)>>,
    failure: RefCell<Option<io::Error>>,
    token: Cell<Option<Token>>,
    /// Lent to the kernel while a receive is in flight.
    room: RefCell<Room>,
    closed: Cell<bool>,
    waiters: Waiters,
}

struct Room {
    envelope: Box<Envelope>,
    bytes: BytesMut,
}

/// The longest datagram there is, of a Unix socket apart: whatever comes fits.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Room is made for many small ones at a time.
const ROOM_BYTES: usize = 4 * DATAGRAM_BYTES_MAX;

impl Datagrams {
    pub(crate) fn new(port: &Rc<Port>, fd: OwnedFd) -> Rc<Datagrams> {
        Rc::new(Datagrams {
            port: port.clone(),
            fd: port.calls().hold(fd),
            arrived: RefCell::default(),
            failure: RefCell::new(None),
            token: Cell::new(None),
            room: RefCell::new(Room { envelope: Envelope::new(), bytes: BytesMut::new() }),
            closed: Cell::new(false),
            waiters: Waiters::default(),
        })
    }

    pub(crate) fn port(&self) -> &Rc<Port> {
        &self.port
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }

    pub(super) fn each_waiter(&self, mut look: impl FnMut(RawFd, &Waker)) {
        self.waiters.each(|waker| look(self.raw_fd(), waker));
    }

    /// The oldest datagram and where it came from. Only one is received ahead of its reader: the others wait in the
    /// kernel, whose queue has a bound.
    pub(crate) fn poll_take(self: &Rc<Datagrams>, waker: &Waker) -> Poll<io::Result<(Bytes, Option<Address>)>> {
        let first = self.arrived.borrow_mut().pop_front();
        if let Some(datagram) = first {
            return Poll::Ready(Ok(datagram));
        }
        let failure = self.failure.take();
        if let Some(error) = failure {
            return Poll::Ready(Err(error));
        }
        self.waiters.add(waker);
        self.arm();
        Poll::Pending
    }

    fn arm(self: &Rc<Datagrams>) {
        if self.token.get().is_some() || self.closed.get() || self.port.is_closed() {
            return;
        }
        let message = {
            let Room { envelope, bytes } = &mut *self.room.borrow_mut();
            if bytes.capacity() - bytes.len() < DATAGRAM_BYTES_MAX {
                bytes.reserve(ROOM_BYTES);
            }
            envelope.receive_into(bytes.spare_capacity_mut())
        };
        let request = Request::RecvMessage { fd: self.raw_fd(), message };
        self.token.set(Some(self.port.stand(Owner::Datagram(self.clone()), &request)));
    }

    pub(super) fn on_received(&self, completion: Completion) {
        self.token.set(None);
        match completion.answer() {
            Answer::Done(len) => {
                let Room { envelope, bytes } = &mut *self.room.borrow_mut();
                received(bytes, len as usize);
                self.arrived.borrow_mut().push_back((bytes.split().freeze(), envelope.sender()));
            }
            Answer::Cancelled => {}
            Answer::NoBuffer | Answer::NotReady => {
                *self.failure.borrow_mut() = Some(io::ErrorKind::WouldBlock.into());
            }
            Answer::Exhausted(error) | Answer::Gone(error) | Answer::Failed(error) => {
                *self.failure.borrow_mut() = Some(error);
            }
        }
        // Whoever waits takes it, or starts the next receive.
        self.waiters.wake_all();
    }

    /// Ends the receive; the descriptor is closed behind it.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        if let Some(token) = self.token.get() {
            self.port.cancel(token);
        }
    }
}

/// Sends a buffer as one datagram.
pub(crate) struct SendDatagram<B> {
    socket: Rc<Datagrams>,
    envelope: Box<Envelope>,
    to: Option<Box<Address>>,
    buffer: B,
}

impl<B> SendDatagram<B> {
    pub(crate) fn new(socket: Rc<Datagrams>, to: Option<Address>, buffer: B) -> SendDatagram<B> {
        SendDatagram { socket, envelope: Envelope::new(), to: to.map(Box::new), buffer }
    }
}

impl<B: IoBuf> Operation for SendDatagram<B> {
    type Output = (io::Result<usize>, B);
    const NAME: &'static str = "sendmsg";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.socket.raw_fd())
    }

    fn request(&mut self) -> Request {
        let message = self.envelope.send(content(&self.buffer), self.to.as_deref());
        Request::SendMessage { fd: self.socket.raw_fd(), message }
    }

    fn finish(self, result: io::Result<u32>) -> (io::Result<usize>, B) {
        (result.map(|count| count as usize), self.buffer)
    }

    fn orphan(self, _: Completion) {}
}
