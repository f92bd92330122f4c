//! What we ask of the kernel: one closed enum of plain fields. Building a request is safe; pushing one is not, because
//! the kernel will follow its pointers (`Driver::push`).

use std::os::fd::RawFd;

/// One operation. Pointers are to memory that the operation's slot keeps (S1).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// Nothing, through the whole machinery.
    Nop,
    /// Take a connection from a listener's queue; `many` keeps taking.
    Accept { fd: RawFd, many: bool },
    /// Connect to the address.
    Connect { fd: RawFd, address: *const libc::sockaddr, len: u32 },
    /// Receive into this memory, once.
    Recv { fd: RawFd, into: *mut u8, len: u32 },
    /// Receive into buffers of the pool, for as long as there are any.
    RecvMany { fd: RawFd },
    /// Send this memory; the kernel tries to send all of it.
    Send { fd: RawFd, from: *const u8, len: u32 },
    /// Send all the pieces the message lists.
    SendMessage { fd: RawFd, message: *const libc::msghdr },
    /// Receive one datagram into the memory the message lists, and its sender into the message.
    RecvMessage { fd: RawFd, message: *mut libc::msghdr },
    /// Receive datagrams for as long as there are whole buffers; each begins with a header that says from whom.
    RecvMessageMany { fd: RawFd, message: *const libc::msghdr },
    /// Read from a file, pipe or other descriptor. An `offset` of [`CURRENT`] is where the descriptor stands.
    Read { fd: RawFd, into: *mut u8, len: u32, offset: u64 },
    /// Write, as `Read` reads.
    Write { fd: RawFd, from: *const u8, len: u32, offset: u64 },
    /// Wait until the descriptor can be read or written.
    Poll { fd: RawFd, interest: Interest },
    /// Close the descriptor.
    Close { fd: RawFd },
}

const _: () = assert!(size_of::<Request>() <= 40);

/// The offset of a descriptor that cannot seek, or where it stands.
pub(crate) const CURRENT: u64 = u64::MAX;

/// The longest transfer of one operation: the kernel stops short of 2 GiB anyway, and longer ones must not wrap.
pub(crate) const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;

/// `len` as a request can carry it: longer transfers are cut, never wrapped.
pub(crate) fn transfer_len(len: usize) -> u32 {
    len.min(TRANSFER_BYTES_MAX) as u32
}

/// Whose buffers: each pool has a group of its own in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Streams,
    /// Not shared by several datagrams, so that none is cut off at the end of a buffer.
    Datagrams,
}

/// What a poll waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}
