//! Whether a loop sleeps, said so that no news is missed (D1 of the doorbell).

use super::primitives::{AtomicBool, Ordering, fence};

pub(super) struct Asleep(AtomicBool);

impl Asleep {
    pub(super) fn new() -> Asleep {
        Asleep(AtomicBool::new(false))
    }

    /// Whether whoever has published news has to end a sleep: true for one of them.
    #[inline]
    pub(super) fn end(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.swap(false, Ordering::SeqCst)
    }

    /// To be called before the last look for news.
    #[inline]
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
