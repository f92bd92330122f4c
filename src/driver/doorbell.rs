//! Ends a wait from another thread.
//!
//! D1. Whoever has news first publishes it, then rings. The loop first says that it will sleep, then looks for news,
//!     then sleeps. Both steps are sequentially consistent, so one of the two sees the other.

use std::{
    fmt,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
};

use super::asleep::Asleep;
use crate::sys;

/// `Send + Sync`; outlives the runtime, to which it then says nothing.
#[derive(Clone)]
pub(crate) struct Doorbell {
    inner: Arc<Inner>,
}

struct Inner {
    number: RawFd,
    /// `None` once the runtime is gone: wakers that somebody keeps for ever keep no descriptor. Only who ends a sleep and
    /// who ends the runtime lock it, so that nobody waits for long.
    fd: Mutex<Option<OwnedFd>>,
    asleep: Asleep,
}

impl Doorbell {
    pub(crate) fn new(fd: OwnedFd) -> Doorbell {
        let inner = Inner { number: fd.as_raw_fd(), fd: Mutex::new(Some(fd)), asleep: Asleep::new() };
        Doorbell { inner: Arc::new(inner) }
    }

    /// The number of the counter, while the runtime lives.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.inner.number
    }

    /// The runtime is gone: from now on ringing does nothing.
    pub(crate) fn close(&self) {
        let fd = self.inner.fd.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(fd);
    }

    /// Ends the current wait, or the next one. Costs a system call only when the loop sleeps, and then once.
    pub(crate) fn ring(&self) {
        if self.inner.asleep.end()
            && let Some(fd) = &*self.inner.fd.lock().unwrap_or_else(PoisonError::into_inner)
        {
            sys::ring_doorbell(fd);
        }
    }

    /// To be called before the last look for news (D1).
    #[inline]
    pub(crate) fn falling_asleep(&self) {
        self.inner.asleep.begin();
    }

    #[inline]
    pub(crate) fn awake(&self) {
        self.inner.asleep.awake();
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").finish_non_exhaustive()
    }
}
