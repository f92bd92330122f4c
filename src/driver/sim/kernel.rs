//! The only part of the simulation that touches memory of others.
//!
//! K1. Whoever pushes a request promises its memory until the final completion (S1). A [`Memory`] is made of that promise,
//!     lives in the flight of the operation, and goes with it when the final completion is posted.
//! K2. The pool's memory is promised from `provide` until the end of the world (P3).
#![allow(unsafe_code)] // fence: lent memory, and numbers of descriptors that are given away and come back

use std::{
    net::SocketAddr,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use super::{
    World,
    flights::{Asked, Order},
};
use crate::{
    buf::Pool,
    driver::{Request, Token},
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
        self.state().push(token, Asked { fd, order });
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
            let to = unsafe { address_at(address, len) };
            (Some(fd), Order::Connect { to })
        }
        Request::Recv { fd, into, len } => (Some(fd), Order::Receive { into: memory(into, len) }),
        // The second is not asked for: the world opens no pool of datagrams.
        Request::RecvMany { fd } | Request::RecvMessageMany { fd, .. } => (Some(fd), Order::ReceiveMany),
        Request::Send { fd, from, len } => {
            (Some(fd), Order::Send { from: vec![memory(from.cast_mut(), len)], all: true })
        }
        Request::SendMessage { fd, message } => {
            // SAFETY: passed on from our caller.
            let from = unsafe { pieces_at(message) };
            (Some(fd), Order::Send { from, all: true })
        }
        Request::RecvMessage { fd, message } => {
            // Datagrams are not simulated: the world does not know the descriptor, and says so.
            // SAFETY: passed on from our caller.
            let into = unsafe { pieces_at(message) }.pop().unwrap_or_else(|| memory(std::ptr::null_mut(), 0));
            (Some(fd), Order::Receive { into })
        }
        Request::Read { fd, into, len, .. } => (Some(fd), Order::Receive { into: memory(into, len) }),
        Request::Write { fd, from, len, .. } => {
            (Some(fd), Order::Send { from: vec![memory(from.cast_mut(), len)], all: false })
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
/// `address` points to `len` readable bytes.
unsafe fn address_at(address: *const libc::sockaddr, len: u32) -> Option<SocketAddr> {
    // SAFETY: passed on from our caller.
    let family = i32::from(unsafe { &*address }.sa_family);
    if family == libc::AF_INET && len as usize >= size_of::<libc::sockaddr_in>() {
        // SAFETY: the family and the length say that it is one.
        let v4 = unsafe { &*address.cast::<libc::sockaddr_in>() };
        let ip = std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
        return Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)));
    }
    if family == libc::AF_INET6 && len as usize >= size_of::<libc::sockaddr_in6>() {
        // SAFETY: the family and the length say that it is one.
        let v6 = unsafe { &*address.cast::<libc::sockaddr_in6>() };
        return Some(SocketAddr::new(v6.sin6_addr.s6_addr.into(), u16::from_be(v6.sin6_port)));
    }
    None
}

/// A descriptor of ours that was given away by number comes back: its holder asked for its close.
pub(super) fn take_back(number: RawFd) -> OwnedFd {
    // SAFETY: called once for each number that the world gave away, when the world itself closes it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
