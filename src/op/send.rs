//! The sending direction of a socket. Bytes that were written belong to the socket until the kernel has them, so a
//! cancelled wait withdraws nothing and tears nothing apart.
//!
//! One send is in flight; what is written meanwhile queues behind it and leaves together, as one gathered send. What is
//! written in one turn is sent at its end, together.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Poll, Waker},
};

use bytes::Bytes;

use super::{
    Socket, Waiters,
    rare::Rare,
    slot::Owner,
    socket::{Kind, Phase, closed},
    transfer::SendTurn,
};
use crate::{
    buf::{Pool, append},
    driver::{Answer, CURRENT, Completion, Interest, Request, Token, transfer_len},
    sys::{GATHER_MAX, Message},
};

pub(super) struct Sending {
    outgoing: Rare<Outgoing>,
    /// Bytes written and not yet taken by the kernel.
    queued: Cell<usize>,
    flight: Cell<Flight>,
    /// Of the socket's own flight, else an old one.
    token: Cell<Token>,
    /// In the port's list of sockets to flush.
    dirty: Cell<bool>,
    /// More was queued than the high mark allows, and the low one is not reached yet.
    paused: Cell<bool>,
    failed: Cell<Failed>,
    finish: Cell<Finish>,
    /// Who waits for room, for a turn to send, or for the close.
    waiters: Waiters,
    pub(super) marks: Cell<WriteMarks>,
}

/// How many bytes may be queued. Four bytes each, because there are many idle writers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteMarks {
    /// Above it whoever drains waits,
    pub(crate) high: u32,
    /// until there are no more than this.
    pub(crate) low: u32,
    /// What would go above it is refused, unless it is the largest number.
    pub(crate) max: u32,
}

impl WriteMarks {
    pub(crate) const DEFAULT: WriteMarks = WriteMarks { high: 64 * 1024, low: 16 * 1024, max: u32::MAX };
}

/// What is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    No,
    /// Somebody's send of an owned buffer.
    Lent,
    /// A send of the socket's own.
    Own,
    /// One whose success nobody waits for, and which does not wait for room.
    Quiet,
    /// A poll of the socket's own: this kernel does not wait for room in this socket by itself.
    Polling,
}

/// What was written and is not sent. Handed from socket to socket, so that an idle one holds none of it.
#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Segment>,
    /// Lent to the kernel.
    flying: VecDeque<Segment>,
    /// How much of the first flying segment is sent.
    sent: usize,
    message: Option<Box<Message>>,
}

/// A run of bytes to send.
pub(crate) enum Segment {
    /// Handed over as they are.
    Shared(Bytes),
    /// Copied together from small writes.
    Copied(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    No,
    /// The number of the system's error.
    With(i32),
    /// The runtime was closed before everything was sent.
    Stopped,
    /// The connection was aborted before everything was sent.
    Aborted,
}

/// Whether the end of the stream is sent after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    Wanted,
    Sent,
}

/// Writes are copied together up to this size, and into blocks of it from the smaller one on.
const COPY_BYTES_MAX: usize = 64 * 1024;
const BLOCK_BYTES_MIN: usize = 8 * 1024;

/// More than this does not fit into most sockets at once.
const QUIET_BYTES_MAX: usize = 64 * 1024;

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Shared(bytes) => bytes,
            Segment::Copied(bytes) => bytes,
        }
    }
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            outgoing: Rare::empty(),
            queued: Cell::new(0),
            flight: Cell::new(Flight::No),
            token: Cell::new(Token::NONE),
            dirty: Cell::new(false),
            paused: Cell::new(false),
            failed: Cell::new(Failed::No),
            finish: Cell::new(Finish::No),
            waiters: Waiters::default(),
            marks: Cell::new(WriteMarks::DEFAULT),
        }
    }

    #[inline]
    fn in_flight(&self) -> bool {
        self.flight.get() != Flight::No
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get() != Failed::No
    }

    /// Why what was written could not all be sent.
    #[inline]
    pub(super) fn failure(&self) -> io::Result<()> {
        match self.failed.get() {
            Failed::No => Ok(()),
            Failed::With(errno) => Err(io::Error::from_raw_os_error(errno)),
            Failed::Stopped => Err(closed()),
            Failed::Aborted => {
                let text = "the connection was aborted on this side before everything was sent";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, text))
            }
        }
    }
}

// ---- writing, for streams

impl Socket {
    /// Queues bytes; they are sent at the end of the turn at the latest.
    #[inline]
    pub(crate) fn write(self: &Rc<Socket>, segment: Segment) -> io::Result<()> {
        self.check_writable()?;
        let len = segment.bytes().len();
        if len == 0 {
            return Ok(());
        }
        self.with_outgoing(|outgoing| outgoing.queue.push_back(segment));
        self.grow_queue(len);
        Ok(())
    }

    /// Queues a copy of bytes, in blocks that are used again and again.
    pub(crate) fn write_copy(self: &Rc<Socket>, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.with_outgoing(|outgoing| {
            let mut rest = bytes;
            if let Some(Segment::Copied(last)) = outgoing.queue.back_mut() {
                let room = COPY_BYTES_MAX.saturating_sub(last.len()).min(rest.len());
                append(last, &rest[..room]);
                rest = &rest[room..];
            }
            for piece in rest.chunks(COPY_BYTES_MAX) {
                let mut block = match piece.len() {
                    len if len < BLOCK_BYTES_MIN => Vec::with_capacity(len),
                    _ => self.port.take_block(COPY_BYTES_MAX),
                };
                append(&mut block, piece);
                outgoing.queue.push_back(Segment::Copied(block));
            }
        });
        self.grow_queue(bytes.len());
        Ok(())
    }

    #[inline]
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        self.sending.failure()?;
        if self.is_closing() || self.port.is_closed() {
            return Err(closed());
        }
        if self.sending.finish.get() != Finish::No {
            let text = "nothing can be written after write_eof()";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }

    #[inline]
    fn with_outgoing<R>(&self, look: impl FnOnce(&mut Outgoing) -> R) -> R {
        self.sending.outgoing.with(|| self.port.take_outgoing(), look)
    }

    #[inline]
    pub(crate) fn write_marks(&self) -> WriteMarks {
        self.sending.marks.get()
    }

    pub(crate) fn set_write_marks(&self, marks: WriteMarks) {
        self.sending.marks.set(marks);
    }

    #[inline]
    fn grow_queue(self: &Rc<Socket>, len: usize) {
        self.sending.queued.set(self.sending.queued.get() + len);
        self.flush_later();
    }

    #[inline]
    fn flush_later(self: &Rc<Socket>) {
        if !self.sending.in_flight() && !self.sending.dirty.replace(true) {
            self.port.mark_dirty(self.clone());
        }
    }

    /// Ends the stream after what was written.
    pub(crate) fn write_eof(self: &Rc<Socket>) -> io::Result<()> {
        if self.sending.finish.get() == Finish::No {
            self.check_writable()?;
            self.sending.finish.set(Finish::Wanted);
            self.flush_later();
        }
        Ok(())
    }

    /// Bytes written and not yet taken by the kernel.
    pub(crate) fn queued(&self) -> usize {
        self.sending.queued.get()
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.in_flight() || self.sending.dirty.get()
    }

    /// Ready when at most `most` bytes are queued, or when sending has failed.
    #[inline]
    pub(crate) fn poll_queued_at_most(&self, most: usize, waker: &Waker) -> Poll<io::Result<()>> {
        self.sending.failure()?;
        if self.queued() <= most {
            return Poll::Ready(Ok(()));
        }
        self.wait_for_sending(waker);
        Poll::Pending
    }

    /// Ready while the queue keeps to its marks, or when sending has failed.
    #[inline]
    pub(crate) fn poll_drained(&self, waker: &Waker) -> Poll<io::Result<()>> {
        let marks = self.write_marks();
        let paused = self.sending.paused.get();
        let most = if paused || self.queued() > marks.high as usize { marks.low } else { marks.high };
        let polled = self.poll_queued_at_most(most as usize, waker);
        self.sending.paused.set(polled.is_pending());
        polled
    }

    /// The right to send an owned buffer, when nothing else is being sent.
    pub(crate) fn poll_send_turn(self: &Rc<Socket>, waker: &Waker) -> Poll<io::Result<SendTurn>> {
        self.check_writable()?;
        if self.is_sending() {
            self.wait_for_sending(waker);
            return Poll::Pending;
        }
        self.sending.flight.set(Flight::Lent);
        Poll::Ready(Ok(SendTurn(self.clone())))
    }

    pub(super) fn each_sender(&self, look: impl FnMut(&Waker)) {
        self.sending.waiters.each(look);
    }

    pub(super) fn wait_for_sending(&self, waker: &Waker) {
        self.sending.waiters.add(waker);
    }

    #[inline]
    pub(super) fn wake_senders(&self) {
        self.sending.waiters.wake_all();
    }

    pub(super) fn end_send_turn(self: &Rc<Socket>) {
        self.sending.flight.set(Flight::No);
        self.wake_senders();
        self.proceed_with_sending();
    }
}

// ---- sending

impl Socket {
    /// The end of the turn: send what was written in it.
    #[inline]
    pub(super) fn flush(self: Rc<Socket>) {
        self.sending.dirty.set(false);
        if !self.sending.in_flight() {
            self.proceed(true);
        }
    }

    #[inline]
    fn proceed_with_sending(self: &Rc<Socket>) {
        self.proceed(false);
    }

    /// Sends what is queued, else the end of the stream, else goes on with a close. `last`: no task runs before the kernel
    /// has what is sent now.
    #[inline]
    fn proceed(self: &Rc<Socket>, last: bool) {
        if self.port.is_ending() {
            return self.proceed_with_close();
        }
        let next = |outgoing: &mut Outgoing| outgoing.next_request(self.raw_fd(), self.kind());
        if let Some(request) = self.sending.outgoing.if_held(next).flatten() {
            let flight = if last && self.can_be_quiet() { Flight::Quiet } else { Flight::Own };
            return self.stand_sending(flight, &request);
        }
        if let Some(unused) = self.sending.outgoing.take() {
            self.port.keep_outgoing(unused);
        }
        if self.sending.finish.get() == Finish::Wanted {
            self.sending.finish.set(Finish::Sent);
            match self.kind() {
                Kind::Connection | Kind::Memory => self.shutdown_write(),
                // A pipe says its end by being closed.
                Kind::Pipe => return self.close(),
            }
        }
        if self.phase.get() == Phase::Flushing {
            self.proceed_with_close();
        }
    }

    #[inline]
    fn stand_sending(self: &Rc<Socket>, flight: Flight, request: &Request) {
        self.sending.flight.set(flight);
        let owner = Owner::Send(self.clone());
        let token = match flight {
            Flight::Quiet => self.port.stand_quietly(owner, request, transfer_len(self.queued())),
            Flight::No | Flight::Lent | Flight::Own | Flight::Polling => self.port.stand(owner, request),
        };
        self.sending.token.set(token);
    }

    /// Whether nobody will notice when the end of the send that begins now is told late: nobody waits for it, nothing is to
    /// follow it, and no memory that it holds is anybody else's.
    #[inline]
    fn can_be_quiet(&self) -> bool {
        let nobody_waits = self.sending.finish.get() == Finish::No && self.sending.waiters.is_empty();
        let all = self.queued() <= QUIET_BYTES_MAX && self.kind() == Kind::Connection && !self.is_closing();
        let ours = |outgoing: &mut Outgoing| outgoing.queue.is_empty() && outgoing.is_ours(self.port.pool());
        nobody_waits && all && self.sending.outgoing.if_held(ours).unwrap_or(false)
    }

    /// Gives up what is still to be sent. What is in flight stays lent until its final completion.
    pub(super) fn stop_sending(&self) {
        match self.sending.flight.get() {
            Flight::Own | Flight::Quiet | Flight::Polling => {
                self.sending.failed.set(Failed::Aborted);
                self.port.cancel(self.sending.token.get());
            }
            Flight::No | Flight::Lent if self.queued() > 0 => self.fail(Failed::Aborted),
            Flight::No | Flight::Lent => {}
        }
    }

    #[inline]
    pub(super) fn on_sent(self: &Rc<Socket>, completion: Completion) {
        let flight = self.sending.flight.replace(Flight::No);
        match completion.answer() {
            _ if self.sending.failed.get() == Failed::Aborted => self.fail(Failed::Aborted),
            // The answer of the poll below: what was lent is sent again.
            Answer::Done(_) if flight == Flight::Polling => {}
            Answer::Done(count) if self.sending.failed.get() == Failed::No => self.retire(count as usize),
            Answer::Done(_) => {}
            Answer::NotReady if self.port.is_ending() => self.fail(Failed::Stopped),
            // It did not wait for room: sent again below it does.
            Answer::NotReady if flight == Flight::Quiet => {}
            Answer::NotReady => {
                let request = Request::Poll { fd: self.raw_fd(), interest: Interest::Writable };
                return self.stand_sending(Flight::Polling, &request);
            }
            // Only teardown cancels a send; otherwise it was interrupted, and what was lent is sent again below.
            Answer::Cancelled if self.port.is_ending() => self.fail(Failed::Stopped),
            Answer::Cancelled => {}
            Answer::Failed(error) | Answer::Gone(error) | Answer::Exhausted(error) => {
                self.fail(Failed::With(error.raw_os_error().unwrap_or(0)));
            }
            Answer::NoBuffer => self.fail(Failed::Stopped),
        }
        self.wake_senders();
        self.proceed_with_sending();
    }

    /// `count` bytes are with the kernel: let go of them.
    #[inline]
    fn retire(&self, mut count: usize) {
        let left = self.sending.queued.get() - count;
        self.sending.queued.set(left);
        if left <= self.write_marks().low as usize {
            self.sending.paused.set(false);
        }
        while count > 0 {
            // The owner of the bytes may run code of the user's when it goes: nothing is borrowed then.
            match self.sending.outgoing.if_held(|outgoing| outgoing.retire_one(&mut count)).flatten() {
                Some(Segment::Copied(block)) => self.port.keep_block(block, COPY_BYTES_MAX),
                Some(Segment::Shared(_)) | None => {}
            }
        }
    }

    fn fail(&self, how: Failed) {
        self.sending.failed.set(how);
        self.sending.queued.set(0);
        let lost = self.sending.outgoing.take();
        drop(lost);
    }
}

impl Outgoing {
    /// What to send next: the rest of what was flying, else what queued behind it.
    #[inline]
    fn next_request(&mut self, fd: std::os::fd::RawFd, kind: Kind) -> Option<Request> {
        if self.flying.is_empty() {
            let count = self.queue.len().min(GATHER_MAX);
            if count == self.queue.len() {
                std::mem::swap(&mut self.flying, &mut self.queue);
            } else {
                self.flying.extend(self.queue.drain(..count));
            }
        }
        let first = &self.flying.front()?.bytes()[self.sent..];
        if kind == Kind::Pipe {
            let len = transfer_len(first.len());
            return Some(Request::Write { fd, from: first.as_ptr(), len, offset: CURRENT });
        }
        if self.flying.len() == 1 {
            return Some(Request::Send { fd, from: first.as_ptr(), len: transfer_len(first.len()) });
        }
        let rest = self.flying.iter().skip(1).map(Segment::bytes);
        let message = self.message.get_or_insert_with(Message::new).list(std::iter::once(first).chain(rest));
        Some(Request::SendMessage { fd, message })
    }

    /// Whether what is flying goes without anybody else's code.
    fn is_ours(&self, pool: &Pool) -> bool {
        self.flying.iter().all(|segment| match segment {
            Segment::Shared(bytes) => pool.holds(bytes),
            Segment::Copied(_) => true,
        })
    }

    /// Takes out the first flying segment if `count` covers it.
    #[inline]
    fn retire_one(&mut self, count: &mut usize) -> Option<Segment> {
        let Some(first) = self.flying.front() else {
            *count = 0;
            return None;
        };
        let left = first.bytes().len() - self.sent;
        if *count < left {
            self.sent += *count;
            *count = 0;
            return None;
        }
        *count -= left;
        self.sent = 0;
        self.flying.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(segments: &[&'static [u8]]) -> Outgoing {
        let queue = segments.iter().map(|bytes| Segment::Shared(Bytes::from_static(bytes))).collect();
        Outgoing { queue, ..Outgoing::default() }
    }

    #[test]
    fn a_short_send_goes_on_where_it_stopped() {
        // SW9: order of writes is order of bytes.
        let mut outgoing = outgoing(&[b"abc", b"defg", b"hi"]);
        assert!(matches!(outgoing.next_request(3, Kind::Connection), Some(Request::SendMessage { .. })));
        let mut count = 5;
        assert!(outgoing.retire_one(&mut count).is_some());
        assert!(outgoing.retire_one(&mut count).is_none());
        assert_eq!((outgoing.sent, outgoing.flying.len()), (2, 2));
        let mut count = 2;
        assert!(outgoing.retire_one(&mut count).is_some());
        let Some(Request::Send { len, .. }) = outgoing.next_request(3, Kind::Connection) else {
            panic!("one segment is left")
        };
        assert_eq!(len, 2);
    }

    #[test]
    fn a_long_queue_leaves_in_batches_that_one_message_can_list() {
        let mut outgoing = outgoing(&[&b"x"[..]; GATHER_MAX + 1]);
        assert!(outgoing.next_request(3, Kind::Connection).is_some());
        assert_eq!((outgoing.flying.len(), outgoing.queue.len()), (GATHER_MAX, 1));
    }
}
