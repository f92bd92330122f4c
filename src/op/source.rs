//! A descriptor that is read and written in order: a pipe, a terminal, an event counter. One operation per direction; what
//! an abandoned read got is kept for the next one.

use std::{
    cell::{Cell, RefCell},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Poll, Waker},
};

use super::{Port, Waiters};
use crate::{
    buf::{IoBufMut, fill},
    driver::Calls,
};

pub(crate) struct Source {
    /// Until it is dropped.
    fd: Option<OwnedFd>,
    calls: Calls,
    reading: Cell<bool>,
    writing: Cell<bool>,
    /// Read by operations that nobody waited for.
    left_behind: RefCell<Vec<u8>>,
    waiters: Waiters,
}

/// Which of the two operations a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

/// The right to read, or to write, held until the final completion.
pub(crate) struct SourceTurn {
    source: Rc<Source>,
    way: Way,
}

impl Source {
    pub(crate) fn new(port: &Port, fd: OwnedFd) -> Rc<Source> {
        Rc::new(Source {
            fd: Some(fd),
            calls: port.calls().clone(),
            reading: Cell::new(false),
            writing: Cell::new(false),
            left_behind: RefCell::default(),
            waiters: Waiters::default(),
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Copies what an abandoned read got; zero when there is nothing.
    pub(crate) fn take_left_behind(&self, buffer: &mut impl IoBufMut) -> usize {
        let mut left = self.left_behind.borrow_mut();
        if left.is_empty() {
            return 0;
        }
        let count = fill(buffer, &left);
        left.drain(..count);
        count
    }

    fn busy(&self, way: Way) -> &Cell<bool> {
        match way {
            Way::Read => &self.reading,
            Way::Write => &self.writing,
        }
    }

    pub(crate) fn poll_turn(self: &Rc<Source>, way: Way, waker: &Waker) -> Poll<SourceTurn> {
        if self.busy(way).replace(true) {
            self.waiters.add(waker);
            return Poll::Pending;
        }
        Poll::Ready(SourceTurn { source: self.clone(), way })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.calls.close(fd);
        }
    }
}

impl SourceTurn {
    pub(super) fn fd(&self) -> RawFd {
        self.source.raw_fd()
    }

    pub(super) fn leave_behind(&self, bytes: &[u8]) {
        self.source.left_behind.borrow_mut().extend_from_slice(bytes);
    }
}

impl Drop for SourceTurn {
    fn drop(&mut self) {
        self.source.busy(self.way).set(false);
        self.source.waiters.wake_all();
    }
}
