//! Reading from a place in a file.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use super::Operation;
use crate::{
    buf::received_at_start,
    driver::{CURRENT, Completion, Request, transfer_len},
};

/// Reads into a buffer, from `offset` or from where the file stands.
pub(crate) struct ReadAt {
    pub(crate) file: Rc<OwnedFd>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) offset: Option<u64>,
    /// At most so many bytes.
    pub(crate) len: usize,
}

impl Operation for ReadAt {
    type Output = io::Result<Vec<u8>>;
    const NAME: &'static str = "read";

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }

    fn request(&mut self) -> Request {
        let len = transfer_len(self.len.min(self.buffer.capacity()));
        let offset = self.offset.unwrap_or(CURRENT);
        Request::Read { fd: self.file.as_raw_fd(), into: self.buffer.as_mut_ptr(), len, offset }
    }

    fn finish(mut self, result: io::Result<u32>) -> io::Result<Vec<u8>> {
        received_at_start(&mut self.buffer, result? as usize);
        Ok(self.buffer)
    }

    fn orphan(self, _: Completion) {}
}
