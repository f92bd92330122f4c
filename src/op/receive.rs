//! The receiving direction of a socket. What arrives belongs to the socket, not to the future that waits, so a cancelled
//! read loses nothing: the next one finds it here.
//!
//! It adapts. Idle or small: one multishot receive into buffers of the pool, so that waiting costs no memory and arriving
//! no submission. Bulk, or no pool: one receive at a time into a large buffer that stays hot. Nobody reads: when twice
//! the limit is buffered the receive is ended, and started again when a reader waits.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{
    Socket,
    rare::Rare,
    slot::Owner,
    socket::{Kind, LINGER_BYTES_MAX},
};
use crate::{
    buf::{Chunk, IoBufMut, Pool, append, fill, received},
    driver::{Answer, CURRENT, Completion, Interest, Request, Token},
};

pub(super) struct Receiving {
    incoming: Rare<Incoming>,
    buffered: Cell<usize>,
    limit: Cell<usize>,
    armed: Cell<Armed>,
    /// Of what is armed, else an old one.
    token: Cell<Token>,
    /// The kernel was asked to end what is armed.
    stopping: Cell<bool>,
    end: Cell<End>,
    /// Kept when it is woken: the same task mostly comes back.
    waiter: Cell<Option<Waker>>,
    /// A reader waits for so many bytes; zero for none.
    wanted: Cell<usize>,
    style: Cell<Style>,
    /// The turn of the port in which this socket last received.
    stamp: Cell<u32>,
}

/// What has arrived and was not read. Handed from socket to socket, so that an idle one holds none of it.
#[derive(Default)]
pub(super) struct Incoming {
    /// In one piece, because a reader looks for something in it. Comes before `pieces`.
    held: Bytes,
    pieces: VecDeque<Piece>,
    /// Where a single receive writes.
    room: BytesMut,
}

enum Piece {
    Pooled(Chunk),
    Owned(Bytes),
}

/// The operation that is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    Not,
    /// Receives into the pool until it is stopped.
    Many,
    /// Receives into `room` once.
    Once,
    /// Waits until there is something: this kernel does not do that by itself for this socket.
    Polling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    /// The number of the system's error.
    Failed(i32),
    /// An error of another origin.
    FailedAs(io::ErrorKind),
}

/// How to receive next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Many small ones; how many large pieces in a row have arrived.
    Small { large: u8 },
    /// A big stream; how many small pieces in a row have arrived.
    Bulk { small: u8 },
}

/// asyncio's `limit`: reading ahead stops at twice this.
const LIMIT_BYTES: usize = 64 * 1024;

/// The memory of a single receive: where there is no pool, and for a bulk stream.
const ROOM_BYTES: usize = 16 * 1024;
const ROOM_BULK_BYTES: usize = 64 * 1024;

/// Above this size a piece counts as large; so many in a row, from a socket that is (almost) alone, make a bulk stream,
/// and so many small ones unmake it.
const LARGE_BYTES: usize = 16 * 1024;
const LARGE_MIN: u8 = 16;
const SMALL_MAX: u8 = 8;
const BULK_SOCKETS_MAX: u32 = 2;

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            incoming: Rare::empty(),
            buffered: Cell::new(0),
            limit: Cell::new(LIMIT_BYTES),
            armed: Cell::new(Armed::Not),
            token: Cell::new(Token::NONE),
            stopping: Cell::new(false),
            end: Cell::new(End::Open),
            waiter: Cell::new(None),
            wanted: Cell::new(0),
            style: Cell::new(Style::Small { large: 0 }),
            stamp: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.armed.get() != Armed::Not
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.get() != End::Open
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffered.get()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get() > 0
    }

    /// Whether what a reader waits for is there.
    #[inline]
    fn has_wanted(&self) -> bool {
        self.is_wanted() && self.buffered() >= self.wanted.get()
    }
}

// ---- reading, for streams

impl Socket {
    pub(crate) fn set_limit(&self, limit: usize) {
        self.receiving.limit.set(limit);
    }

    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.receiving.limit.get()
    }

    /// Bytes that have arrived and were not read.
    #[inline]
    pub(crate) fn buffered(&self) -> usize {
        if self.discards() { 0 } else { self.receiving.buffered() }
    }

    /// Whether no more will ever arrive than what is buffered.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.receiving.has_ended() || self.is_closing()
    }

    /// What there is to say when everything that arrived was read: the error that ended it, or that it just ended.
    pub(crate) fn end_of_stream(&self) -> io::Result<()> {
        match self.receiving.end.get() {
            End::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            End::FailedAs(kind) => Err(kind.into()),
            End::Open | End::Finished => Ok(()),
        }
    }

    /// Ready when more than `have` bytes are buffered, or when no more will come.
    #[inline]
    pub(crate) fn poll_more_than(self: &Rc<Socket>, have: usize, waker: &Waker) -> Poll<()> {
        if self.buffered() > have || self.has_ended() {
            return Poll::Ready(());
        }
        let known = self.receiving.waiter.take().filter(|known| known.will_wake(waker));
        self.receiving.waiter.set(Some(known.unwrap_or_else(|| waker.clone())));
        // However much it wants, it is asked again in between: for one that is gone no more is received than was there twice.
        let ahead = self.receiving.limit.get().max(self.buffered()).saturating_mul(2);
        self.receiving.wanted.set(have.min(ahead).saturating_add(1));
        self.arm_receive();
        Poll::Pending
    }

    /// Puts bytes in as if they had been received.
    pub(crate) fn feed(self: &Rc<Socket>, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.receiving.buffered.set(self.receiving.buffered() + bytes.len());
        self.with_incoming(|incoming| incoming.pieces.push_back(Piece::Owned(bytes)));
        self.after_completion(false);
    }

    /// Ends the stream behind what was put in.
    pub(crate) fn feed_end(self: &Rc<Socket>, error: Option<io::Error>) {
        let end = match error.map(|error| (error.raw_os_error(), error.kind())) {
            None => End::Finished,
            Some((Some(errno), _)) => End::Failed(errno),
            Some((None, kind)) => End::FailedAs(kind),
        };
        self.receiving.end.set(end);
        self.after_completion(false);
    }

    /// Takes what comes first, at most `most` bytes.
    #[inline]
    pub(crate) fn take(&self, most: usize) -> Bytes {
        let taken =
            self.receiving.incoming.if_held(|incoming| incoming.take(most, self.port.pool())).unwrap_or_default();
        self.taken(taken.len());
        taken
    }

    /// Copies what fits into `buffer`, over its content.
    pub(crate) fn take_into(&self, buffer: &mut impl IoBufMut) -> usize {
        let first = self.take(buffer.buf_capacity());
        fill(buffer, &first)
    }

    /// Takes exactly `len` bytes, which are buffered.
    pub(crate) fn take_exactly(&self, len: usize) -> Bytes {
        let taken = self.receiving.incoming.if_held(|incoming| {
            if !incoming.first_has(len) {
                incoming.hold(self.port.pool());
            }
            incoming.take(len, self.port.pool())
        });
        let taken = taken.unwrap_or_default();
        assert!(taken.len() == len, "fewer bytes are buffered than were counted");
        self.taken(len);
        taken
    }

    /// Calls `look` with all that is buffered, in one piece, and takes as many bytes as it says.
    pub(crate) fn take_where<R>(&self, look: impl FnOnce(&[u8]) -> (usize, R)) -> (Bytes, R) {
        if self.buffered() == 0 {
            return (Bytes::new(), look(&[]).1);
        }
        let (taken, found) = self.with_incoming(|incoming| {
            incoming.hold(self.port.pool());
            let (len, found) = look(&incoming.held);
            (incoming.held.split_to(len), found)
        });
        self.taken(taken.len());
        (taken, found)
    }

    /// Takes up to the first `end`, and it, where no more than `most` bytes stand before it: the short way for many short
    /// lines. It may not see one further on, which [`Socket::take_where`] does.
    #[inline]
    pub(crate) fn take_up_to(&self, end: u8, most: usize) -> Option<Bytes> {
        let taken = self.receiving.incoming.if_held(|incoming| {
            let held = &mut incoming.held;
            let len = memchr::memchr(end, held).filter(|at| *at <= most)? + 1;
            // The last one is left to the long way, so that there is no more to do than to count.
            (len < held.len()).then(|| held.split_to(len))
        });
        let Some(Some(taken)) = taken else { return self.take_across(end, most, 0) };
        self.receiving.buffered.set(self.receiving.buffered() - taken.len());
        Some(taken)
    }

    /// As above, where the first `looked_at` bytes are known to hold no `end`.
    pub(crate) fn take_across(&self, end: u8, most: usize, looked_at: usize) -> Option<Bytes> {
        let pool = self.port.pool();
        let taken = self.receiving.incoming.if_held(|incoming| incoming.take_up_to(end, most, looked_at, pool))??;
        self.taken(taken.len());
        Some(taken)
    }

    /// Counts what was taken; hands the memory on when nothing is left in it.
    #[inline]
    fn taken(&self, len: usize) {
        let left = self.receiving.buffered() - len;
        self.receiving.buffered.set(left);
        if left == 0
            && self.receiving.armed.get() != Armed::Once
            && let Some(mut unused) = self.receiving.incoming.take()
        {
            unused.held = Bytes::new(); // readers may still share it
            self.port.keep_incoming(unused);
        }
    }

    #[inline]
    fn with_incoming<R>(&self, look: impl FnOnce(&mut Incoming) -> R) -> R {
        self.receiving.incoming.with(|| self.port.take_incoming(), look)
    }
}

impl Incoming {
    #[inline]
    fn take(&mut self, most: usize, pool: &Pool) -> Bytes {
        if !self.held.is_empty() {
            return self.held.split_to(most.min(self.held.len()));
        }
        match self.pieces.pop_front() {
            Some(Piece::Pooled(chunk)) if chunk.len() <= most => pool.to_bytes(chunk),
            Some(Piece::Pooled(mut chunk)) => {
                let front = pool.split(&mut chunk, most);
                self.pieces.push_front(Piece::Pooled(chunk));
                pool.to_bytes(front)
            }
            Some(Piece::Owned(bytes)) if bytes.len() <= most => bytes,
            Some(Piece::Owned(mut bytes)) => {
                let front = bytes.split_to(most);
                self.pieces.push_front(Piece::Owned(bytes));
                front
            }
            None => Bytes::new(),
        }
    }

    /// Whether the next bytes stand together already.
    fn first_has(&self, len: usize) -> bool {
        match self.pieces.front() {
            _ if !self.held.is_empty() => self.held.len() >= len,
            Some(Piece::Pooled(chunk)) => chunk.len() >= len,
            Some(Piece::Owned(bytes)) => bytes.len() >= len,
            None => false,
        }
    }

    /// Only what begins in one piece and ends in another is copied together. The rest of a large piece stays where it is.
    fn take_up_to(&mut self, end: u8, most: usize, looked_at: usize, pool: &Pool) -> Option<Bytes> {
        let looked_at = looked_at.min(self.held.len());
        if let Some(at) = memchr::memchr(end, &self.held[looked_at..]).map(|at| looked_at + at) {
            return (at <= most).then(|| self.held.split_to(at + 1));
        }
        let at = match self.pieces.front()? {
            Piece::Pooled(chunk) => memchr::memchr(end, pool.bytes(chunk)),
            Piece::Owned(bytes) => memchr::memchr(end, bytes),
        }?;
        if self.held.len() + at > most {
            return None;
        }
        let next = match self.pieces.pop_front()? {
            Piece::Pooled(chunk) => pool.to_bytes(chunk),
            Piece::Owned(bytes) => bytes,
        };
        let begun = std::mem::replace(&mut self.held, next);
        let ended = self.held.split_to(at + 1);
        if begun.is_empty() {
            return Some(ended);
        }
        let mut joined = BytesMut::with_capacity(begun.len() + ended.len());
        append(&mut joined, &begun);
        append(&mut joined, &ended);
        Some(joined.freeze())
    }

    /// Moves everything into one piece.
    fn hold(&mut self, pool: &Pool) {
        if self.pieces.is_empty() {
            return;
        }
        // The same memory again, unless somebody still has what was taken from it.
        let mut held = BytesMut::from(std::mem::take(&mut self.held));
        for piece in self.pieces.drain(..) {
            match piece {
                Piece::Pooled(chunk) => {
                    append(&mut held, pool.bytes(&chunk));
                    pool.release(chunk);
                }
                Piece::Owned(bytes) => append(&mut held, &bytes),
            }
        }
        self.held = held.freeze();
    }

    fn clear(&mut self, pool: &Pool) {
        for piece in self.pieces.drain(..) {
            if let Piece::Pooled(chunk) = piece {
                pool.release(chunk);
            }
        }
        self.held = Bytes::new();
    }
}

// ---- receiving

impl Socket {
    /// Starts to receive, unless that is going on already.
    #[inline]
    pub(super) fn arm_receive(self: &Rc<Socket>) {
        if self.receiving.is_armed() || self.receiving.has_ended() || self.port.is_ending() {
            return;
        }
        let small = matches!(self.receiving.style.get(), Style::Small { .. });
        match self.kind() {
            Kind::Connection if small && self.port.profile().has_multishot() => {
                self.stand(Armed::Many, &Request::RecvMany { fd: self.raw_fd() });
            }
            Kind::Connection | Kind::Pipe => self.receive_once(),
            Kind::Memory => {}
        }
    }

    fn receive_once(self: &Rc<Socket>) {
        let size = match self.receiving.style.get() {
            Style::Small { .. } => ROOM_BYTES,
            Style::Bulk { .. } => ROOM_BULK_BYTES,
        };
        let request = self.with_incoming(|incoming| {
            let room = &mut incoming.room;
            // Gives the same memory again when the readers of the last pieces are done with them.
            room.reserve(size);
            let space = room.spare_capacity_mut();
            let len = crate::driver::transfer_len(space.len());
            let (fd, into) = (self.raw_fd(), space.as_mut_ptr().cast());
            match self.kind() {
                Kind::Pipe => Request::Read { fd, into, len, offset: CURRENT },
                Kind::Connection | Kind::Memory => Request::Recv { fd, into, len },
            }
        });
        self.stand(Armed::Once, &request);
    }

    fn stand(self: &Rc<Socket>, armed: Armed, request: &Request) {
        self.receiving.token.set(self.port.stand(Owner::Receive(self.clone()), request));
        self.receiving.armed.set(armed);
    }

    /// Asks the kernel to end the receive; its final completion says when.
    pub(super) fn stop_receiving(&self) {
        if self.receiving.is_armed() && !self.receiving.stopping.replace(true) {
            self.port.cancel(self.receiving.token.get());
        }
    }

    #[inline]
    pub(super) fn on_received(self: &Rc<Socket>, completion: Completion) {
        let armed = self.receiving.armed.get();
        let stopping = self.receiving.stopping.get();
        if !completion.more() {
            self.receiving.armed.set(Armed::Not);
            self.receiving.stopping.set(false);
        }
        let mut starving = false;
        match completion.answer() {
            Answer::Done(_) if armed == Armed::Polling => {}
            Answer::Done(0) => {
                // A buffer may have been picked for the bytes that then did not come.
                if let Some(buffer) = completion.buffer()
                    && !completion.keeps_buffer()
                {
                    self.port.pool().untouched(buffer);
                }
                self.receiving.end.set(End::Finished);
            }
            Answer::Done(len) => self.receive_piece(len, &completion),
            Answer::Cancelled => {}
            Answer::NoBuffer => {
                starving = true;
                self.port.starve(self.clone(), self.receiving.stamp.get());
            }
            // It was to end anyway; nobody would end a poll.
            Answer::NotReady if stopping || self.port.is_ending() => {}
            Answer::NotReady => {
                let request = Request::Poll { fd: self.raw_fd(), interest: Interest::Readable };
                self.stand(Armed::Polling, &request);
            }
            Answer::Exhausted(error) | Answer::Gone(error) | Answer::Failed(error) => {
                self.receiving.end.set(End::Failed(error.raw_os_error().unwrap_or(0)));
            }
        }
        self.after_completion(starving);
    }

    #[inline]
    fn receive_piece(&self, len: u32, completion: &Completion) {
        let receiving = &self.receiving;
        let buffered = receiving.buffered() + len as usize;
        receiving.buffered.set(buffered);
        self.with_incoming(|incoming| {
            let piece = match completion.buffer() {
                Some(buffer) => Piece::Pooled(self.port.pool().take(buffer, len, completion.keeps_buffer())),
                None => {
                    received(&mut incoming.room, len as usize);
                    Piece::Owned(incoming.room.split().freeze())
                }
            };
            incoming.pieces.push_back(piece);
            if buffered < receiving.wanted.get() && buffered > 2 * receiving.limit.get() {
                // What a reader wants at once does not stay in everybody's pool.
                incoming.hold(self.port.pool());
            }
        });
        self.adapt(len as usize);
    }

    /// The pool has buffers again, or it cannot have more: then this receive does without.
    pub(super) fn receive_again(self: &Rc<Socket>, pooled: bool) {
        let wanted = self.receiving.is_wanted() || self.is_lingering();
        let idle = !self.receiving.is_armed() && !self.receiving.has_ended() && !self.port.is_ending();
        if wanted && idle && !pooled {
            self.receive_once();
        } else if wanted {
            self.arm_receive();
        }
    }

    /// Decides how the next receive is done.
    #[inline]
    fn adapt(&self, len: usize) {
        let sockets = self.port.count_receiver(&self.receiving.stamp);
        let large = len > LARGE_BYTES;
        let next = match self.receiving.style.get() {
            Style::Small { .. } if !large || sockets > BULK_SOCKETS_MAX => Style::Small { large: 0 },
            Style::Small { large: LARGE_MIN.. } => Style::Bulk { small: 0 },
            Style::Small { large } => Style::Small { large: large + 1 },
            Style::Bulk { .. } if large => Style::Bulk { small: 0 },
            Style::Bulk { small: SMALL_MAX.. } => Style::Small { large: 0 },
            Style::Bulk { small } => Style::Bulk { small: small + 1 },
        };
        self.receiving.style.set(next);
    }

    #[inline]
    fn after_completion(self: &Rc<Socket>, starving: bool) {
        if self.is_closing() {
            return self.after_completion_closing(starving);
        }
        let receiving = &self.receiving;
        let buffered = receiving.buffered();
        let wanted = receiving.is_wanted();
        let enough = receiving.has_ended() || receiving.has_wanted();
        match receiving.armed.get() {
            // Nobody reads what is there, or it comes in the wrong way: end it; a waiting reader starts it again.
            Armed::Many
                if (buffered > 2 * receiving.limit.get() && (enough || !wanted))
                    || matches!(receiving.style.get(), Style::Bulk { .. }) =>
            {
                self.stop_receiving();
            }
            Armed::Not if wanted && !enough && !starving => self.arm_receive(),
            Armed::Not | Armed::Many | Armed::Once | Armed::Polling => {}
        }
        if enough {
            self.wake_reader();
        }
    }

    /// While lingering, what comes is thrown away.
    fn after_completion_closing(self: &Rc<Socket>, starving: bool) {
        if self.discards() {
            // At once: this socket may outlive its close by a second, and the pool's buffers are everybody's.
            self.discard_received();
        }
        if self.is_lingering() {
            let enough = self.receiving.buffered() > LINGER_BYTES_MAX;
            match (self.receiving.is_armed(), enough) {
                (true, true) => self.stop_receiving(),
                (false, false) if starving => return,
                (false, false) => self.arm_receive(),
                (true, false) | (false, true) => {}
            }
        }
        self.proceed_with_close();
    }

    pub(super) fn each_reader(&self, look: impl FnMut(&Waker)) {
        if self.receiving.is_wanted() {
            let waiter = self.receiving.waiter.take();
            waiter.iter().for_each(look);
            self.receiving.waiter.set(waiter);
        }
    }

    #[inline]
    pub(super) fn wake_reader(&self) {
        if self.receiving.wanted.take() > 0 {
            // Out of its place meanwhile: a waker may do whatever it likes, even make somebody else wait here.
            let waiter = self.receiving.waiter.take();
            if let Some(waker) = &waiter {
                waker.wake_by_ref();
            }
            let newer = self.receiving.waiter.take();
            self.receiving.waiter.set(newer.or(waiter));
        }
    }

    /// Throws away what has arrived; it still counts towards the limit of lingering.
    pub(super) fn discard_received(&self) {
        let counted = self.receiving.buffered();
        self.release_received();
        self.receiving.buffered.set(counted);
    }

    pub(super) fn release_received(&self) {
        self.receiving.incoming.if_held(|incoming| incoming.clear(self.port.pool()));
        self.receiving.buffered.set(0);
    }
}
