//! Ends a wait from another thread.
//!
//! D1. Whoever has news first publishes it, then rings. The loop first says that it will sleep, then looks for news,
//!     then sleeps. Both steps are sequentially consistent, so one of the two sees the other.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::Wake,
};

use crate::sys;

/// `Send + Sync`; outlives the runtime, to which it then says nothing.
#[derive(Clone)]
pub(crate) struct Doorbell {
    inner: Arc<Inner>,
}

struct Inner {
    fd: OwnedFd,
    asleep: AtomicBool,
}

impl Doorbell {
    pub(super) fn new(fd: OwnedFd) -> Doorbell {
        Doorbell { inner: Arc::new(Inner { fd, asleep: AtomicBool::new(false) }) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }

    /// Ends the current wait, or the next one. Costs a system call only when the loop sleeps, and then once.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.inner.asleep.swap(false, Ordering::SeqCst) {
            sys::ring_doorbell(self.fd());
        }
    }

    /// To be called before the last look for news (D1).
    #[inline]
    pub(crate) fn falling_asleep(&self) {
        self.inner.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn awake(&self) {
        self.inner.asleep.store(false, Ordering::Relaxed);
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("asleep", &self.inner.asleep).finish()
    }
}
