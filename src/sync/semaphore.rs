//! A limit on how many tasks do something at once.

use std::{fmt, future::Future, pin::Pin, rc::Rc};

use super::permits::{Permits, describe};
use crate::error::{CancelledError, ReleasedTooOftenError};

/// Permits for tasks of one thread, handed out in the order of asking.
///
/// Clones are the same semaphore.
///
/// ```
/// # ringio::run(async {
/// let semaphore = ringio::Semaphore::new(2);
/// let one = semaphore.acquire().await?;
/// let two = semaphore.acquire().await?;
/// assert!(semaphore.locked());
/// drop(one);
/// assert!(!semaphore.locked());
/// # drop(two);
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Semaphore")]
#[derive(Clone)]
pub struct Semaphore {
    permits: Pin<Rc<Permits>>,
}

impl Semaphore {
    /// A semaphore with `value` permits.
    #[track_caller]
    pub fn new(value: usize) -> Semaphore {
        Semaphore { permits: Permits::new(value, usize::MAX, &["Semaphore", "acquire"]) }
    }

    /// Waits for a permit, and keeps it until it is dropped.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: a cancelled waiter leaves the line; a permit on its way to it goes to the next one.
    #[doc(alias = "asyncio.Semaphore.acquire")]
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = Result<Permit<'_>, CancelledError>> {
        self.permits.as_ref().acquire().then(|()| Permit { permits: &self.permits })
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.permits.take().then(|| Permit { permits: &self.permits })
    }

    /// Adds a permit: one that was [forgotten](Permit::forget), or one more than there were.
    #[doc(alias = "asyncio.Semaphore.release")]
    #[inline]
    pub fn release(&self) {
        // As many as can be counted: one more makes no difference.
        let _released = self.permits.release();
    }

    /// Whether there is no permit to be had at once.
    #[doc(alias = "asyncio.Semaphore.locked")]
    pub fn locked(&self) -> bool {
        self.permits.free() == 0
    }

    /// What is free and who waits.
    pub fn statistics(&self) -> SemaphoreStatistics {
        SemaphoreStatistics { value: self.permits.free(), waiting: self.permits.waiting() }
    }
}

impl Default for Semaphore {
    /// One permit.
    #[track_caller]
    fn default() -> Semaphore {
        Semaphore::new(1)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Semaphore [{}]>", self.statistics())
    }
}

/// A [`Semaphore`] that never has more permits than it began with: one release too many is an error.
///
/// ```
/// # ringio::run(async {
/// let semaphore = ringio::BoundedSemaphore::new(1);
/// semaphore.acquire().await?.forget();
/// assert!(semaphore.release().is_ok());
/// assert!(semaphore.release().is_err());
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.BoundedSemaphore")]
#[derive(Clone)]
pub struct BoundedSemaphore {
    permits: Pin<Rc<Permits>>,
}

impl BoundedSemaphore {
    /// A semaphore with `value` permits.
    #[track_caller]
    pub fn new(value: usize) -> BoundedSemaphore {
        BoundedSemaphore { permits: Permits::new(value, value, &["BoundedSemaphore", "acquire"]) }
    }

    /// See [`Semaphore::acquire`].
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: as [`Semaphore::acquire`].
    #[doc(alias = "asyncio.BoundedSemaphore.acquire")]
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = Result<Permit<'_>, CancelledError>> {
        self.permits.as_ref().acquire().then(|()| Permit { permits: &self.permits })
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.permits.take().then(|| Permit { permits: &self.permits })
    }

    /// Gives back a permit that was [forgotten](Permit::forget).
    ///
    /// # Errors
    /// When no permit is out. Nothing changes.
    #[doc(alias = "asyncio.BoundedSemaphore.release")]
    #[inline]
    pub fn release(&self) -> Result<(), ReleasedTooOftenError> {
        if self.permits.release() { Ok(()) } else { Err(ReleasedTooOftenError) }
    }

    /// Whether there is no permit to be had at once.
    #[doc(alias = "asyncio.BoundedSemaphore.locked")]
    pub fn locked(&self) -> bool {
        self.permits.free() == 0
    }

    /// What is free and who waits.
    pub fn statistics(&self) -> SemaphoreStatistics {
        SemaphoreStatistics { value: self.permits.free(), waiting: self.permits.waiting() }
    }
}

impl Default for BoundedSemaphore {
    /// One permit.
    #[track_caller]
    fn default() -> BoundedSemaphore {
        BoundedSemaphore::new(1)
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<BoundedSemaphore [{}]>", self.statistics())
    }
}

/// One permit of a semaphore, until it is dropped.
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    permits: &'a Permits,
}

impl Permit<'_> {
    /// Keeps the permit out; the semaphore's `release` gives it back, from any task.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        // Somebody may have given it back by hand.
        let _released = self.permits.release();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// What a semaphore's `statistics` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreStatistics {
    /// Permits to be had at once.
    pub value: usize,
    /// Tasks in line.
    pub waiting: usize,
}

impl fmt::Display for SemaphoreStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.value == 0 { "locked".to_owned() } else { format!("unlocked, value:{}", self.value) };
        f.write_str(&describe(&state, self.waiting))
    }
}
