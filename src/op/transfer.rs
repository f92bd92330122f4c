//! Operations that move an owned buffer: send, read, write; and waiting until one can be moved.

use std::{io, os::fd::RawFd, rc::Rc};

use super::{Operation, Socket, Source, source::SourceTurn};
use crate::{
    buf::{IoBuf, IoBufMut, content, received_at_start},
    driver::{CURRENT, Completion, Interest, Request, transfer_len},
};

/// Sends what stands from `from` on in a buffer, in one operation, while nothing else is sent on the socket.
pub(crate) struct Send<B> {
    pub(crate) turn: SendTurn,
    pub(crate) buffer: B,
    pub(crate) from: usize,
}

/// The right to send on a socket, held until the final completion.
pub(crate) struct SendTurn(pub(super) Rc<Socket>);

impl Drop for SendTurn {
    fn drop(&mut self) {
        self.0.end_send_turn();
    }
}

impl<B: IoBuf> Operation for Send<B> {
    type Output = (io::Result<usize>, B);
    const NAME: &'static str = "send";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.turn.0.raw_fd())
    }

    fn request(&mut self) -> Request {
        let bytes = &content(&self.buffer)[self.from..];
        Request::Send { fd: self.turn.0.raw_fd(), from: bytes.as_ptr(), len: transfer_len(bytes.len()) }
    }

    fn finish(self, result: io::Result<u32>) -> (io::Result<usize>, B) {
        (result.map(|count| count as usize), self.buffer)
    }

    fn orphan(self, _: Completion) {}
}

/// Reads into a buffer from where a descriptor stands. An orphan leaves what it read to the next read.
pub(crate) struct ReadInto<B> {
    pub(crate) turn: SourceTurn,
    pub(crate) buffer: B,
}

impl<B: IoBufMut> Operation for ReadInto<B> {
    type Output = (io::Result<usize>, B);
    const NAME: &'static str = "read";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.turn.fd())
    }

    fn request(&mut self) -> Request {
        let len = transfer_len(self.buffer.buf_capacity());
        Request::Read { fd: self.turn.fd(), into: self.buffer.buf_mut_ptr(), len, offset: CURRENT }
    }

    fn finish(mut self, result: io::Result<u32>) -> (io::Result<usize>, B) {
        let result = result.map(|count| count as usize);
        if let Ok(count) = result {
            received_at_start(&mut self.buffer, count);
        }
        (result, self.buffer)
    }

    fn orphan(mut self, completion: Completion) {
        if let Ok(count) = completion.result() {
            received_at_start(&mut self.buffer, count as usize);
            self.turn.leave_behind(&content(&self.buffer)[..count as usize]);
        }
    }
}

/// Writes a buffer to where a descriptor stands.
pub(crate) struct WriteFrom<B> {
    pub(crate) turn: SourceTurn,
    pub(crate) buffer: B,
}

impl<B: IoBuf> Operation for WriteFrom<B> {
    type Output = (io::Result<usize>, B);
    const NAME: &'static str = "write";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.turn.fd())
    }

    fn request(&mut self) -> Request {
        let bytes = content(&self.buffer);
        Request::Write { fd: self.turn.fd(), from: bytes.as_ptr(), len: transfer_len(bytes.len()), offset: CURRENT }
    }

    fn finish(self, result: io::Result<u32>) -> (io::Result<usize>, B) {
        (result.map(|count| count as usize), self.buffer)
    }

    fn orphan(self, _: Completion) {}
}

/// Waits until a descriptor can be read or written.
pub(crate) struct Ready<O> {
    pub(crate) owner: Rc<O>,
    pub(crate) interest: Interest,
}

/// Who has a descriptor, and keeps it while something waits for it.
pub(crate) trait Held: 'static {
    fn number(&self) -> RawFd;
}

impl Held for Source {
    fn number(&self) -> RawFd {
        self.raw_fd()
    }
}

impl Held for Socket {
    fn number(&self) -> RawFd {
        self.raw_fd()
    }
}

impl<O: Held> Operation for Ready<O> {
    type Output = io::Result<()>;
    const NAME: &'static str = "poll";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.owner.number())
    }

    fn request(&mut self) -> Request {
        Request::Poll { fd: self.owner.number(), interest: self.interest }
    }

    fn finish(self, result: io::Result<u32>) -> io::Result<()> {
        result.map(drop)
    }

    fn orphan(self, _: Completion) {}
}
