//! One connection of the load: how much of its stream was sent, and how much came back? Guards: one send in flight,
//! carrying all that is due.

use std::{io, os::fd::RawFd};

use io_uring::{opcode, squeue::Entry, types::Fd};

use super::pattern::{Pattern, SLICE_MAX};
use crate::raw::buffers::GROUP;

pub(crate) const RECEIVE: u64 = 1 << 32;
pub(crate) const SEND: u64 = 2 << 32;

pub(crate) struct Connection {
    fd: RawFd,
    sending: bool,
    /// The next message to come back, as an index into its `sent_at`.
    pub(super) oldest: u32,
    /// Bytes to be sent, those in flight included.
    pub(super) due: u32,
    /// Bytes of the next message that came back already.
    partial: u32,
    /// Where in the pattern the next byte out, and the next byte in, is.
    out_offset: u32,
    in_offset: u32,
}

pub(super) enum Sent {
    Now(Entry),
    Nothing,
}

impl Connection {
    pub(super) fn new(fd: RawFd, index: usize) -> Connection {
        let offset = Pattern::offset(index);
        Connection { fd, sending: false, oldest: 0, due: 0, partial: 0, out_offset: offset, in_offset: offset }
    }

    pub(super) fn receive(&self, index: u32) -> Entry {
        opcode::RecvMulti::new(Fd(self.fd), GROUP).build().user_data(RECEIVE | u64::from(index))
    }

    pub(super) fn send(&mut self, pattern: &Pattern, index: u32) -> Sent {
        if self.sending || self.due == 0 {
            return Sent::Nothing;
        }
        self.sending = true;
        let bytes = pattern.slice(self.out_offset, (self.due as usize).min(SLICE_MAX));
        let entry = opcode::Send::new(Fd(self.fd), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        Sent::Now(entry.user_data(SEND | u64::from(index)))
    }

    pub(super) fn sent(&mut self, len: usize) {
        self.sending = false;
        self.due -= len as u32;
        self.out_offset = Pattern::step(self.out_offset, len);
    }

    pub(super) fn verify(&mut self, pattern: &Pattern, bytes: &[u8], index: u32) -> io::Result<()> {
        let expected = pattern.slice(self.in_offset, bytes.len());
        if bytes != expected {
            let at = bytes.iter().zip(expected).position(|(a, b)| a != b);
            let what = format!("connection {index}: wrong bytes came back, the first at {at:?} of {}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.in_offset = Pattern::step(self.in_offset, bytes.len());
        Ok(())
    }

    /// How many messages are whole with these `len` bytes.
    pub(super) fn complete(&mut self, len: usize, size: usize) -> usize {
        let total = self.partial as usize + len;
        self.partial = (total % size) as u32;
        total / size
    }

    pub(super) fn shut_down(&self) {
        // SAFETY: shutdown takes no memory.
        unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `new` was given the only copy of the descriptor.
        unsafe { libc::close(self.fd) };
    }
}
