//! The only part of the simulation that touches memory of others.
//!
//! K1. Whoever pushes a request promises its memory until the final completion (S1). A [`Memory`] is made of that promise,
//!     lives in the flight of the operation, and goes with it when the final completion is posted.
//! K2. The pool's memory is promised from `provide` until the end of the world (P3).
#![allow(unsafe_code)] // fence: lent memory, and numbers of descriptors that are given away and come back

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{
    World,
    flights::{Asked, Order},
    names::Name,
};
use crate::{
    buf::Pool,
    driver::{CURRENT, Request, Token},
    sys::{Address, unix_address},
};

/// Memory that was lent. Nothing else is known of it: it is read and written when somebody asks.
#[derive(Debug)]
pub(super) struct Memory {
    start: *mut u8,
    len: usize,
}

/// What stands in memory that is received into, until something is.
const SCRIBBLE: u8 = 0xd5;

/// How much at the beginning and at the end of it: all would take long.
const SCRIBBLED_MAX: usize = 128;

impl Memory {
    /// # Safety
    /// K1 or K2 holds for these bytes; they may be written if anything but [`Memory::read`] is called.
    unsafe fn new(start: *mut u8, len: usize) -> Memory {
        Memory { start, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn start(&self) -> usize {
        self.start.addr()
    }

    pub(super) fn read(&self, from: usize, len: usize) -> Vec<u8> {
        assert!(from + len <= self.len);
        // SAFETY: the line above keeps it inside.
        let start = unsafe { self.start.add(from) };
        // SAFETY: inside of what K1 promises; nobody writes to it while it is lent.
        unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
    }

    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        // SAFETY: the line above keeps it inside.
        let to = unsafe { self.start.add(at) };
        // SAFETY: inside of what K1 or K2 promises; `bytes` are the simulation's own, so that they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Makes whoever looks too early see something else than before.
    pub(super) fn scribble(&self, from: usize) {
        let bytes = [SCRIBBLE; SCRIBBLED_MAX];
        let head = (self.len - from).min(SCRIBBLED_MAX);
        self.write(from, &bytes[..head]);
        self.write(self.len - head, &bytes[..head]);
    }

    /// Whether nobody else wrote to it since.
    pub(super) fn is_scribbled(&self, from: usize) -> bool {
        let head = (self.len - from).min(SCRIBBLED_MAX);
        let untouched = |bytes: Vec<u8>| bytes.iter().all(|&byte| byte == SCRIBBLE);
        untouched(self.read(from, head)) && untouched(self.read(self.len - head, head))
    }
}

impl World {
    /// # Safety
    /// As for `Driver::push`.
    pub(in super::super) unsafe fn push(&self, token: Token, request: &Request) {
        // SAFETY: passed on from our caller.
        let (fd, order) = unsafe { order_of(request) };
        self.state().push(token, Asked { fd, order, quiet: false });
    }

    /// # Safety
    /// As for `Driver::push`.
    pub(in super::super) unsafe fn push_quietly(&self, token: Token, request: &Request) {
        // SAFETY: passed on from our caller.
        let (fd, order) = unsafe { order_of(request) };
        self.state().push(token, Asked { fd, order, quiet: true });
    }

    /// # Safety
    /// As for `Driver::provide`.
    pub(in super::super) unsafe fn provide(&self, pool: &Pool) {
        let size = pool.layout().size as usize;
        let mut state = self.state();
        pool.provide(|buffer| {
            // SAFETY: K2, passed on from our caller.
            let memory = unsafe { Memory::new(pool.address(buffer), size) };
            state.provide(buffer, memory);
        });
    }
}

/// # Safety
/// As for `Driver::push`.
unsafe fn order_of(request: &Request) -> (Option<RawFd>, Order) {
    let memory = |start: *mut u8, len: u32| {
        // SAFETY: K1, passed on from our caller.
        unsafe { Memory::new(start, len as usize) }
    };
    match *request {
        Request::Nop => (None, Order::Nop),
        Request::Accept { fd, many } => (Some(fd), Order::Accept { many }),
        Request::Connect { fd, address, len } => {
            // SAFETY: passed on from our caller.
            let to = unsafe { name_at(address, len) };
            (Some(fd), Order::Connect { to })
        }
        Request::Recv { fd, into, len } => (Some(fd), Order::Receive { into: memory(into, len) }),
        // The second is not asked for: the world opens no pool of datagrams.
        Request::RecvMany { fd } | Request::RecvMessageMany { fd, .. } => (Some(fd), Order::ReceiveMany),
        Request::Send { fd, from, len } => {
            (Some(fd), Order::Send { from: vec![memory(from.cast_mut(), len)], all: true, to: None })
        }
        Request::SendMessage { fd, message } => {
            // SAFETY: passed on from our caller.
            let from = unsafe { pieces_at(message) };
            // SAFETY: as above.
            let to = unsafe { receiver_at(message) };
            (Some(fd), Order::Send { from, all: true, to })
        }
        Request::RecvMessage { fd, message } => {
            // SAFETY: passed on from our caller.
            let into = unsafe { pieces_at(message) }.pop().expect("a datagram is received into one piece");
            (Some(fd), Order::ReceiveDatagram { into, sender: Sender { message } })
        }
        Request::Read { fd, into, len, offset } if offset != CURRENT => {
            (Some(fd), Order::ReadFile { into: memory(into, len), offset })
        }
        Request::Read { fd, into, len, .. } => (Some(fd), Order::Receive { into: memory(into, len) }),
        Request::Write { fd, from, len, .. } => {
            (Some(fd), Order::Send { from: vec![memory(from.cast_mut(), len)], all: false, to: None })
        }
        Request::Poll { fd, interest } => (Some(fd), Order::Poll { interest }),
        Request::Close { fd } => (Some(fd), Order::Close),
    }
}

/// # Safety
/// `message` points to a header whose pieces are lent as K1 says.
unsafe fn pieces_at(message: *const libc::msghdr) -> Vec<Memory> {
    // SAFETY: passed on from our caller.
    let header = unsafe { &*message };
    // SAFETY: as above; the list stands where the header says.
    let list = unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen) };
    list.iter()
        .map(|piece| {
            // SAFETY: as above.
            unsafe { Memory::new(piece.iov_base.cast(), piece.iov_len) }
        })
        .collect()
}

/// # Safety
/// `address` points to an address of `len` bytes.
unsafe fn name_at(address: *const libc::sockaddr, len: u32) -> Option<Name> {
    // SAFETY: passed on from our caller.
    Name::of(&unsafe { Address::from_raw(address, len) }?)
}

/// # Safety
/// As for [`pieces_at`].
unsafe fn receiver_at(message: *const libc::msghdr) -> Option<Name> {
    // SAFETY: passed on from our caller.
    let header = unsafe { &*message };
    if header.msg_name.is_null() {
        return None;
    }
    // SAFETY: as above; the name stands where the header says.
    unsafe { name_at(header.msg_name.cast(), header.msg_namelen) }
}

/// Where the name of a datagram's sender is written.
#[derive(Debug)]
pub(super) struct Sender {
    message: *mut libc::msghdr,
}

impl Sender {
    pub(super) fn name(&self, name: Option<&Name>) {
        let address = name.and_then(|name| match name {
            Name::Internet(address) => Some(Address::from(*address)),
            Name::Unix(path) => unix_address(path).ok(),
        });
        // SAFETY: K1 holds for the header.
        let header = unsafe { &mut *self.message };
        let Some(address) = address else { return header.msg_namelen = 0 };
        let (from, len) = address.as_raw();
        let room = header.msg_namelen.min(len) as usize;
        // SAFETY: K1 holds for the `msg_namelen` bytes of the name, and the address is our own.
        unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), header.msg_name.cast(), room) };
        header.msg_namelen = len;
    }
}

/// Files are the machine's own: what stands at a place in one.
pub(super) fn read_file(number: RawFd, offset: u64, len: usize) -> Result<Vec<u8>, i32> {
    // SAFETY: S1: whoever pushed the read keeps the descriptor open until its final completion.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let mut bytes = vec![0; len];
    let offset = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
    let count = nix::sys::uio::pread(file, &mut bytes, offset).map_err(|errno| errno as i32)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// A descriptor of ours that was given away by number comes back: its holder asked for its close.
pub(super) fn take_back(number: RawFd) -> OwnedFd {
    // SAFETY: called once for each number that the world gave away, when the world itself closes it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
