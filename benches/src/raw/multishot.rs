//! What does an echo cost when connections hold no buffer: multishot accept and receive over a ring of provided
//! buffers? Guards: the floor for bursts and for idle memory. One send is in flight per connection; every reply that
//! is ready behind it leaves as one gathered sendmsg.
//!
//! One turn: enter; read all completions, collecting replies; then give buffers back, re-arm what ran out of buffers,
//! and submit one send for each connection that has something to say.

use std::{
    collections::VecDeque,
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{cqueue, opcode, types::Fd};

pub(crate) use super::pool::Pool;
use super::{
    buffers::GROUP,
    close,
    pool::{Piece, Pieces},
    ring::{self, Queue},
};
use crate::serve::Role;

const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
/// More pieces than this wait for the next send.
const GATHER_MAX: usize = 32;

pub(crate) fn serve(listener: TcpListener, role: Role, pool: Pool) -> io::Result<()> {
    let mut ring = ring::new(1024, 8 * 1024)?;
    let (queue, mut completions) = ring::split(&mut ring);
    let pieces = Pieces::new(&queue.submitter, pool)?;
    let mut server = Server {
        queue,
        pieces,
        role,
        slots: Vec::new(),
        free: Vec::new(),
        dirty: Vec::new(),
        starved: VecDeque::new(),
        gathers: Vec::new(),
    };
    server.accept(&listener)?;
    loop {
        server.queue.turn()?;
        completions.sync();
        for completion in completions.by_ref() {
            let index = completion.user_data() as u32;
            match completion.user_data() & (7 << 32) {
                RECEIVE => server.received(index, &completion),
                SEND => server.sent(index, completion.result()),
                _accept => server.accepted(&listener, &completion)?,
            }
        }
        completions.sync();
        server.rearm()?;
        server.answer()?;
    }
}

struct Server<'ring> {
    queue: Queue<'ring>,
    pieces: Pieces,
    role: Role,
    slots: Vec<Connection>,
    free: Vec<u32>,
    /// Connections to look at when all completions are read.
    dirty: Vec<u32>,
    /// Connections whose receive ended for want of buffers, longest first.
    starved: VecDeque<u32>,
    /// Gathers not in use.
    gathers: Gathers,
}

/// In boxes: the kernel reads them where they are.
type Gathers = Vec<Box<Gather>>;

/// One cache line.
#[repr(align(64))]
struct Connection {
    fd: RawFd,
    receiving: bool,
    in_flight: bool,
    dirty: bool,
    /// The peer has said all.
    ended: bool,
    /// Sending failed: nothing more goes out.
    broken: bool,
    /// The first reply that waits, and those behind it. (Unpipelined there is never a second: no heap is touched.)
    next: Piece,
    /// What the send in flight carries, or, after a short send, what is to be taken up.
    sending: Sending,
    more: Vec<Piece>,
}

const _: () = assert!(size_of::<Connection>() == 64);

enum Sending {
    Nothing,
    One(Piece),
    Many(Box<Gather>),
}

/// A send of many pieces: what the kernel reads while it is in flight.
struct Gather {
    header: libc::msghdr,
    vectors: [libc::iovec; GATHER_MAX],
    pieces: [Piece; GATHER_MAX],
    /// Pieces `sent..count` are not sent yet.
    sent: usize,
    count: usize,
}

impl Server<'_> {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.queue.push(&entry.user_data(ACCEPT)) }
    }

    fn accepted(&mut self, listener: &TcpListener, completion: &cqueue::Entry) -> io::Result<()> {
        if completion.result() >= 0 {
            let connection = Connection {
                fd: completion.result(),
                receiving: false,
                in_flight: false,
                dirty: false,
                ended: false,
                broken: false,
                next: Piece::NONE,
                sending: Sending::Nothing,
                more: Vec::new(),
            };
            let index = match self.free.pop() {
                Some(index) => {
                    self.slots[index as usize] = connection;
                    index
                }
                None => {
                    self.slots.push(connection);
                    self.slots.len() as u32 - 1
                }
            };
            self.receive(index)?;
        }
        if cqueue::more(completion.flags()) { Ok(()) } else { self.accept(listener) }
    }

    fn receive(&mut self, index: u32) -> io::Result<()> {
        let connection = &mut self.slots[index as usize];
        connection.receiving = true;
        let entry = opcode::RecvMulti::new(Fd(connection.fd), GROUP).build();
        // SAFETY: the entry points to no memory; the buffers are the ring's, which `serve` never drops.
        unsafe { self.queue.push(&entry.user_data(RECEIVE | u64::from(index))) }
    }

    fn received(&mut self, index: u32, completion: &cqueue::Entry) {
        let connection = &mut self.slots[index as usize];
        let result = completion.result();
        let ends = !cqueue::more(completion.flags());
        if let Some(id) = cqueue::buffer_select(completion.flags()) {
            let piece = self.pieces.take(id, result.max(0) as u32, completion.flags());
            if piece.is_none() || connection.broken || self.role == Role::Sink {
                self.pieces.release(piece);
            } else {
                connection.queue(piece, &mut self.pieces);
            }
        }
        if ends {
            connection.receiving = false;
            // A payload without MORE: the completion queue had overflowed. Take it up again, as after ENOBUFS.
            if result > 0 || result == -libc::ENOBUFS {
                self.starved.push_back(index);
            } else {
                connection.ended = true;
            }
        }
        self.touch(index);
    }

    fn sent(&mut self, index: u32, result: i32) {
        let connection = &mut self.slots[index as usize];
        connection.in_flight = false;
        if result < 0 {
            connection.fail(&mut self.pieces);
        } else {
            connection.advance(result as u32, &mut self.pieces, &mut self.gathers);
        }
        self.touch(index);
    }

    /// As many connections as there are buffers: the others would fail again at once.
    fn rearm(&mut self) -> io::Result<()> {
        let available = self.pieces.publish();
        for _ in 0..available.min(self.starved.len()) {
            let Some(index) = self.starved.pop_front() else { break };
            if self.slots[index as usize].broken {
                self.slots[index as usize].ended = true;
                self.touch(index);
            } else {
                self.receive(index)?;
            }
        }
        Ok(())
    }

    fn touch(&mut self, index: u32) {
        let connection = &mut self.slots[index as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    fn answer(&mut self) -> io::Result<()> {
        while let Some(index) = self.dirty.pop() {
            let connection = &mut self.slots[index as usize];
            connection.dirty = false;
            if connection.in_flight {
                continue;
            }
            if matches!(connection.sending, Sending::Nothing) && !connection.next.is_none() {
                connection.start(&mut self.gathers);
            }
            if !matches!(connection.sending, Sending::Nothing) {
                connection.submit(&mut self.queue, index, &self.pieces)?;
            } else if connection.ended && !connection.receiving {
                close(connection.fd);
                self.free.push(index);
            }
        }
        Ok(())
    }
}

impl Connection {
    fn queue(&mut self, piece: Piece, pieces: &mut Pieces) {
        if self.next.is_none() {
            self.next = piece;
            return;
        }
        let last = self.more.last_mut().unwrap_or(&mut self.next);
        if !pieces.join(last, piece) {
            self.more.push(piece);
        }
    }

    /// Moves what waits into `sending`.
    fn start(&mut self, gathers: &mut Gathers) {
        if self.more.is_empty() {
            self.sending = Sending::One(self.next);
            self.next = Piece::NONE;
            return;
        }
        let mut gather = gathers.pop().unwrap_or_else(Gather::new);
        let behind = self.more.len().min(GATHER_MAX - 1);
        gather.pieces[0] = self.next;
        gather.pieces[1..=behind].copy_from_slice(&self.more[..behind]);
        gather.sent = 0;
        gather.count = 1 + behind;
        self.next = self.more.get(behind).copied().unwrap_or(Piece::NONE);
        self.more.drain(..(behind + 1).min(self.more.len()));
        self.sending = Sending::Many(gather);
    }

    fn submit(&mut self, queue: &mut Queue<'_>, index: u32, pieces: &Pieces) -> io::Result<()> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match &mut self.sending {
            Sending::Nothing => return Ok(()),
            Sending::One(piece) => {
                opcode::Send::new(Fd(self.fd), pieces.address(*piece), piece.len).flags(flags).build()
            }
            Sending::Many(gather) => {
                opcode::SendMsg::new(Fd(self.fd), gather.describe(pieces)).flags(flags as u32).build()
            }
        };
        self.in_flight = true;
        // SAFETY: the pieces are not released, and the gather is not moved out of its box, before the completion.
        unsafe { queue.push(&entry.user_data(SEND | u64::from(index))) }
    }

    /// `sent` bytes left. Whole pieces go back to the kernel; a short send leaves the rest in `sending`.
    fn advance(&mut self, sent: u32, pieces: &mut Pieces, gathers: &mut Gathers) {
        match &mut self.sending {
            Sending::Nothing => {}
            Sending::One(piece) if sent < piece.len => piece.skip(sent),
            Sending::One(piece) => {
                pieces.release(*piece);
                self.sending = Sending::Nothing;
            }
            Sending::Many(gather) => {
                if gather.advance(sent, pieces)
                    && let Sending::Many(gather) = std::mem::replace(&mut self.sending, Sending::Nothing)
                {
                    gathers.push(gather);
                }
            }
        }
    }

    /// Reset or closed by the peer: nothing goes out any more, and the receive shall end too.
    fn fail(&mut self, pieces: &mut Pieces) {
        match std::mem::replace(&mut self.sending, Sending::Nothing) {
            Sending::Nothing => {}
            Sending::One(piece) => pieces.release(piece),
            Sending::Many(gather) => {
                gather.pieces[gather.sent..gather.count].iter().for_each(|&piece| pieces.release(piece));
            }
        }
        if !self.next.is_none() {
            pieces.release(std::mem::take(&mut self.next));
        }
        self.more.drain(..).for_each(|piece| pieces.release(piece));
        self.broken = true;
        // SAFETY: shutdown takes no memory.
        unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
    }
}

impl Gather {
    fn new() -> Box<Gather> {
        // SAFETY: zeros are a valid msghdr: no name, no vectors, no control data.
        let header = unsafe { std::mem::zeroed() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Box::new(Gather { header, vectors: [empty; GATHER_MAX], pieces: [Piece::NONE; GATHER_MAX], sent: 0, count: 0 })
    }

    /// The header for what is not sent yet.
    fn describe(&mut self, pieces: &Pieces) -> *const libc::msghdr {
        let unsent = &self.pieces[self.sent..self.count];
        for (vector, &piece) in self.vectors.iter_mut().zip(unsent) {
            *vector = libc::iovec { iov_base: pieces.address(piece).cast(), iov_len: piece.len as usize };
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = unsent.len();
        &raw const self.header
    }

    /// Whether all is sent.
    fn advance(&mut self, mut sent: u32, pieces: &mut Pieces) -> bool {
        while self.sent < self.count {
            let piece = &mut self.pieces[self.sent];
            if sent < piece.len {
                piece.skip(sent);
                return false;
            }
            sent -= piece.len;
            pieces.release(*piece);
            self.sent += 1;
        }
        true
    }
}
