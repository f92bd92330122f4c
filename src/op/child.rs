//! A child process: watched through its pidfd from its birth on, so that it is reaped whether anybody waits or not.
//!
//! ```text
//! Running ─the pidfd is readable→ Ended{status}
//!    └─ its runtime ends ─┬─ killed, and waited for
//!                         └─ detached: left to whoever comes next
//! ```
//! - K1 The status is taken from the kernel once, here, and stays for everybody who asks.
//! - K2 A signal goes to the pidfd, never to a number; and only while the child is not reaped, or to a group that lives on.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    process::ExitStatus,
    rc::Rc,
    task::{Poll, Waker},
};

use super::{Port, Waiters, slot::Owner};
use crate::{
    driver::{Completion, Interest, Request},
    sys::{self, Look, Reach, Signalled, Spawned},
};

pub(crate) struct Child {
    port: Rc<Port>,
    pid: u32,
    /// `None` once it is nobody's concern any more.
    pidfd: RefCell<Option<OwnedFd>>,
    status: Cell<Option<ExitStatus>>,
    leads_group: bool,
    detached: Cell<bool>,
    waiters: Waiters,
    /// Called when the status was taken by somebody else, and nobody knows it.
    on_lost: fn(u32),
}

impl Child {
    /// Watches a child from now on.
    pub(crate) fn watch(port: &Rc<Port>, spawned: Spawned, leads_group: bool, on_lost: fn(u32)) -> Rc<Child> {
        let child = Rc::new(Child {
            port: port.clone(),
            pid: spawned.pid,
            pidfd: RefCell::new(Some(spawned.pidfd)),
            status: Cell::new(None),
            leads_group,
            detached: Cell::new(false),
            waiters: Waiters::default(),
            on_lost,
        });
        child.arm();
        child
    }

    fn raw_fd(&self) -> RawFd {
        self.pidfd.borrow().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Calls `look` with the pidfd and everybody who waits for the child's end.
    pub(super) fn each_waiter(&self, mut look: impl FnMut(RawFd, &Waker)) {
        let fd = self.raw_fd();
        self.waiters.each(|waker| look(fd, waker));
    }

    fn arm(self: &Rc<Child>) {
        let fd = self.raw_fd();
        let request = Request::Poll { fd, interest: Interest::Readable };
        self.port.stand(Owner::Exit(self.clone()), &request);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn leads_group(&self) -> bool {
        self.leads_group
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status.get()
    }

    pub(crate) fn poll_ended(&self, waker: &Waker) -> Poll<ExitStatus> {
        match self.status.get() {
            Some(status) => Poll::Ready(status),
            None => {
                self.waiters.add(waker);
                Poll::Pending
            }
        }
    }

    /// The pidfd is readable, or is not watched any more.
    pub(super) fn on_exited(self: &Rc<Child>, completion: &Completion) {
        if self.port.is_ending() && completion.is_cancelled() {
            return self.let_go();
        }
        match self.with_pidfd(|pidfd| self.port.calls().look_at_child(pidfd)) {
            Some(Look::Running) => self.arm(),
            Some(Look::Ended(status) | Look::Stolen(status)) => self.end(status),
            Some(Look::Lost) => {
                self.end(sys::unknown_status());
                (self.on_lost)(self.pid);
            }
            None => {}
        }
    }

    fn with_pidfd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        self.pidfd.borrow().as_ref().map(|pidfd| call(pidfd.as_fd()))
    }

    /// K1
    fn end(&self, status: ExitStatus) {
        self.status.set(Some(status));
        if !self.leads_group {
            self.close();
        }
        self.waiters.wake_all();
    }

    /// Nobody will watch it any more.
    fn let_go(&self) {
        if self.status.get().is_some() {
            return self.close();
        }
        if let Some(pidfd) = self.pidfd.take() {
            self.port.calls().leave_orphan(pidfd);
        }
    }

    fn close(&self) {
        if let Some(pidfd) = self.pidfd.take() {
            self.port.calls().close(pidfd);
        }
    }

    /// K2
    pub(crate) fn send_signal(&self, signal: i32, reach: Reach) -> Signalled {
        if reach == Reach::Process && self.status.get().is_some() {
            return Signalled::Gone;
        }
        let sent = self.with_pidfd(|pidfd| self.port.calls().send_signal(pidfd, signal, reach));
        match sent {
            // A kernel that knows no groups of pidfds.
            Some(Signalled::Failed(error))
                if reach == Reach::Group && self.is_unknown(&error) && self.status.get().is_none() =>
            {
                self.port.calls().send_signal_to_unreaped_group(self.pid, signal)
            }
            Some(sent) => sent,
            None => Signalled::Gone,
        }
    }

    /// Whether it is the question that the kernel does not know, and not the signal.
    fn is_unknown(&self, error: &io::Error) -> bool {
        let asked = self.with_pidfd(|pidfd| self.port.calls().send_signal(pidfd, 0, Reach::Group));
        error.kind() == io::ErrorKind::InvalidInput && matches!(asked, Some(Signalled::Failed(_)))
    }

    /// It goes on without us; it is still reaped as long as the runtime lives.
    pub(crate) fn detach(&self) {
        self.detached.set(true);
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.detached.get()
    }

    /// Ends it, with the group it leads.
    pub(crate) fn kill(&self) {
        // Gone is what it shall be; and a child that may not be killed (it changed its user) cannot be helped.
        if self.leads_group {
            let _ = self.send_signal(sys::number::KILL, Reach::Group);
        }
        let _ = self.send_signal(sys::number::KILL, Reach::Process);
    }

    /// For the end of the runtime: whether it has to be waited for.
    pub(super) fn must_end(&self) -> bool {
        !self.detached.get() && self.status.get().is_none()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.close();
    }
}
