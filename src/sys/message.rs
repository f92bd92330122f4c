//! The header of a gathered send, at an address that does not change.

use std::ptr;

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
