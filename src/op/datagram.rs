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
    buf::{IoBuf, Pool, content, received},
    driver::{Answer, Completion, Held, Request, Token},
    sys::{Address, Envelope},
};

pub(crate) struct Datagrams {
    port: Rc<Port>,
    fd: Held,
    arrived: RefCell<VecDeque<(Bytes, Option<Address>)>>,
    /// Bytes in `arrived`.
    arrived_bytes: Cell<usize>,
    failure: RefCell<Option<io::Error>>,
    armed: Cell<Armed>,
    /// The kernel was asked to end what is armed.
    stopping: Cell<bool>,
    /// Lent to the kernel while a receive is in flight.
    room: RefCell<Room>,
    closed: Cell<bool>,
    waiters: Waiters,
}

/// The operation that is in flight.
#[derive(Debug, Clone, Copy)]
enum Armed {
    Not,
    /// Receives into buffers of the pool until it is stopped.
    Many(Token),
    /// Receives one into `room`.
    Once(Token),
}

struct Room {
    envelope: Box<Envelope>,
    bytes: BytesMut,
}

/// The longest datagram there is, of a Unix socket apart: whatever comes fits.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Room is made for many small ones at a time.
const ROOM_BYTES: usize = 4 * DATAGRAM_BYTES_MAX;

/// When more than this has arrived and nobody takes it, receiving is stopped: the others wait in the kernel, whose queue has a
/// bound. What is on its way then still comes, at most a buffer of the pool each.
const AHEAD_MAX: usize = 32;
const AHEAD_BYTES_MAX: usize = 128 * 1024;

impl Datagrams {
    pub(crate) fn new(port: &Rc<Port>, fd: OwnedFd) -> Rc<Datagrams> {
        Rc::new(Datagrams {
            port: port.clone(),
            fd: port.calls().hold(fd),
            arrived: RefCell::default(),
            arrived_bytes: Cell::new(0),
            failure: RefCell::new(None),
            armed: Cell::new(Armed::Not),
            stopping: Cell::new(false),
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

    /// The oldest datagram and where it came from.
    pub(crate) fn poll_take(self: &Rc<Datagrams>, waker: &Waker) -> Poll<io::Result<(Bytes, Option<Address>)>> {
        let first = self.arrived.borrow_mut().pop_front();
        if let Some(datagram) = first {
            self.arrived_bytes.set(self.arrived_bytes.get() - datagram.0.len());
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
        if !matches!(self.armed.get(), Armed::Not) || self.closed.get() || self.port.is_closed() {
            return;
        }
        // With no buffer to be had, one is received without.
        let pooled = self.port.datagram_pool().is_some_and(Pool::has_room);
        let request = self.room.borrow_mut().request(self.raw_fd(), pooled);
        let token = self.port.stand(Owner::Datagram(self.clone()), &request);
        self.armed.set(if pooled { Armed::Many(token) } else { Armed::Once(token) });
    }

    pub(super) fn on_received(&self, completion: Completion) {
        let many = matches!(self.armed.get(), Armed::Many(_));
        if !completion.more() {
            self.armed.set(Armed::Not);
            self.stopping.set(false);
        }
        match completion.answer() {
            Answer::Done(len) => self.keep(len, completion.buffer()),
            // Stopped, or out of buffers: what has not come is still in the kernel.
            Answer::Cancelled => {}
            Answer::NoBuffer if many => {}
            Answer::NoBuffer | Answer::NotReady => self.fail(io::ErrorKind::WouldBlock.into()),
            Answer::Exhausted(error) | Answer::Gone(error) | Answer::Failed(error) => self.fail(error),
        }
        let ahead = self.arrived.borrow().len() > AHEAD_MAX || self.arrived_bytes.get() > AHEAD_BYTES_MAX;
        if ahead {
            self.stop();
        }
        // Whoever waits takes it, or starts the next receive.
        self.waiters.wake_all();
    }

    /// A datagram has come, of `len` bytes, or with its header in this buffer of the pool.
    fn keep(&self, len: u32, buffer: Option<u16>) {
        let Room { envelope, bytes } = &mut *self.room.borrow_mut();
        let datagram = match (buffer, self.port.datagram_pool()) {
            (Some(buffer), Some(pool)) => {
                let mut chunk = pool.take(buffer, len, false);
                let Some((place, sender)) = envelope.open(pool.bytes(&chunk)) else {
                    return pool.release(chunk); // forged: the kernel writes whole headers
                };
                let header = pool.split(&mut chunk, place.start);
                pool.release(header);
                (pool.to_bytes(chunk), sender)
            }
            (Some(_), None) | (None, _) => {
                received(bytes, len as usize);
                (bytes.split().freeze(), envelope.sender())
            }
        };
        self.arrived_bytes.set(self.arrived_bytes.get() + datagram.0.len());
        self.arrived.borrow_mut().push_back(datagram);
    }

    fn fail(&self, error: io::Error) {
        *self.failure.borrow_mut() = Some(error);
    }

    fn stop(&self) {
        if self.stopping.replace(true) {
            return;
        }
        match self.armed.get() {
            Armed::Many(token) | Armed::Once(token) => self.port.cancel(token),
            Armed::Not => self.stopping.set(false),
        }
    }

    /// Ends the receive; the descriptor is closed behind it.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.stop();
    }
}

impl Room {
    /// The next receive.
    fn request(&mut self, fd: RawFd, pooled: bool) -> Request {
        if pooled {
            return Request::RecvMessageMany { fd, message: self.envelope.receive_many() };
        }
        if self.bytes.capacity() - self.bytes.len() < DATAGRAM_BYTES_MAX {
            self.bytes.reserve(ROOM_BYTES);
        }
        Request::RecvMessage { fd, message: self.envelope.receive_into(self.bytes.spare_capacity_mut()) }
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
