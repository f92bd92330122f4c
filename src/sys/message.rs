//! The headers of gathered sends and of datagrams, at addresses that do not change.

use std::{mem::MaybeUninit, ops::Range, ptr};

use io_uring::types::RecvMsgOut;

use super::Address;

/// Most pieces that one send gathers. The kernel allows 1,024 (UIO_MAXIOV).
pub(crate) const GATHER_MAX: usize = 64;

/// A message header with its list of pieces.
pub(crate) struct Message {
    header: libc::msghdr,
    pieces: [libc::iovec; GATHER_MAX],
}

impl Message {
    pub(crate) fn new() -> Box<Message> {
        // SAFETY: both are plain C structures for which all zeros is "nothing".
        let header = unsafe { std::mem::zeroed() };
        Box::new(Message { header, pieces: [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; GATHER_MAX] })
    }

    /// Lists the pieces, at most [`GATHER_MAX`] of them, and returns the header for the kernel to read.
    pub(crate) fn list<'a>(self: &mut Box<Message>, pieces: impl Iterator<Item = &'a [u8]>) -> *const libc::msghdr {
        let mut count = 0;
        for (place, piece) in self.pieces.iter_mut().zip(pieces) {
            *place = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
            count += 1;
        }
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = count;
        &raw const self.header
    }
}

/// The header of one datagram: its bytes, and whom it comes from or goes to.
pub(crate) struct Envelope {
    header: libc::msghdr,
    piece: libc::iovec,
    name: libc::sockaddr_storage,
}

impl Envelope {
    pub(crate) fn new() -> Box<Envelope> {
        // SAFETY: they are plain C structures for which all zeros is "nothing".
        unsafe { Box::new(std::mem::zeroed()) }
    }

    /// For the kernel to receive a datagram into `space`.
    pub(crate) fn receive_into(self: &mut Box<Envelope>, space: &mut [MaybeUninit<u8>]) -> *mut libc::msghdr {
        self.piece = libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() };
        self.header.msg_iov = &raw mut self.piece;
        self.header.msg_iovlen = 1;
        self.header.msg_name = (&raw mut self.name).cast();
        self.header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        &raw mut self.header
    }

    /// For the kernel to receive datagrams for as long as there are buffers; it reads no more than how long a name may be.
    pub(crate) fn receive_many(self: &mut Box<Envelope>) -> *const libc::msghdr {
        self.header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        &raw const self.header
    }

    /// Where in a buffer that was received into so the datagram stands, and whom it comes from.
    pub(crate) fn open(&mut self, buffer: &[u8]) -> Option<(Range<usize>, Option<Address>)> {
        let message = RecvMsgOut::parse(buffer, &self.header).ok()?;
        let (name, datagram) = (message.name_data(), message.payload_data());
        let start = datagram.as_ptr().addr() - buffer.as_ptr().addr();
        let room = (&raw mut self.name).cast::<u8>();
        // SAFETY: `parse` returns no more of a name than there is room for here.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr(), room, name.len()) };
        Some((start..start + datagram.len(), self.sender_of(name.len() as u32)))
    }

    /// Whom the datagram that was received alone comes from; nobody, if its socket has no name.
    pub(crate) fn sender(&self) -> Option<Address> {
        self.sender_of(self.header.msg_namelen)
    }

    fn sender_of(&self, len: u32) -> Option<Address> {
        if len == 0 {
            return None;
        }
        // SAFETY: the kernel wrote `len` bytes of an address there.
        unsafe { Address::from_raw((&raw const self.name).cast(), len) }
    }

    /// For the kernel to send `bytes` to `to`, or to whom the socket is connected.
    pub(crate) fn send(self: &mut Box<Envelope>, bytes: &[u8], to: Option<&Address>) -> *const libc::msghdr {
        self.piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.header.msg_iov = &raw mut self.piece;
        self.header.msg_iovlen = 1;
        if let Some((name, len)) = to.map(Address::as_raw) {
            self.header.msg_name = name.cast_mut().cast();
            self.header.msg_namelen = len;
        }
        &raw const self.header
    }
}
