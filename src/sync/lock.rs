//! Mutual exclusion, in the order of asking: [`Lock`], and [`Mutex`] around a value.

use std::{
    cell::{RefCell, RefMut},
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    rc::Rc,
};

use super::permits::{Permits, describe};
use crate::{
    error::{CancelledError, NotLockedError},
    executor::Call,
};

/// A lock for tasks of one thread. Whoever asks first gets it first: a releaser that asks again stands behind those who
/// wait. It is not owned: any task may release it, and a task that asks for it twice waits for itself.
///
/// Clones are the same lock.
///
/// ```
/// # ringio::run(async {
/// let lock = ringio::Lock::new();
/// let guard = lock.acquire().await?;
/// assert!(lock.locked());
/// drop(guard);
/// assert!(!lock.locked());
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Lock")]
#[derive(Clone)]
pub struct Lock {
    permits: Pin<Rc<Permits>>,
}

impl Lock {
    /// A free lock.
    #[track_caller]
    pub fn new() -> Lock {
        Lock::of(&["Lock", "acquire"])
    }

    #[track_caller]
    pub(super) fn of(call: &'static Call) -> Lock {
        Lock { permits: Permits::new(1, 1, call) }
    }

    /// Waits until the lock is free, takes it, and keeps it until the guard is dropped.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: a cancelled waiter leaves the line; if the lock was on its way to it, the next one gets it.
    #[doc(alias = "asyncio.Lock.acquire")]
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = Result<LockGuard<'_>, CancelledError>> {
        self.permits.as_ref().acquire().then(|()| LockGuard { lock: self })
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_acquire(&self) -> Option<LockGuard<'_>> {
        self.permits.take().then(|| LockGuard { lock: self })
    }

    /// Whether somebody has the lock.
    #[doc(alias = "asyncio.Lock.locked")]
    pub fn locked(&self) -> bool {
        self.permits.free() == 0
    }

    /// Releases a lock whose guard was [forgotten](LockGuard::forget).
    ///
    /// # Errors
    /// When nobody has it.
    ///
    /// ```
    /// # ringio::run(async {
    /// let lock = ringio::Lock::new();
    /// lock.acquire().await?.forget();
    /// assert!(lock.release().is_ok());
    /// assert!(lock.release().is_err());
    /// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.Lock.release")]
    #[inline]
    pub fn release(&self) -> Result<(), NotLockedError> {
        if self.permits.release() { Ok(()) } else { Err(NotLockedError) }
    }

    /// Who has it and who waits.
    pub fn statistics(&self) -> LockStatistics {
        LockStatistics { locked: self.locked(), waiting: self.permits.waiting() }
    }

    pub(super) fn permits(&self) -> Pin<&Permits> {
        self.permits.as_ref()
    }
}

impl Default for Lock {
    #[track_caller]
    fn default() -> Lock {
        Lock::new()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Lock [{}]>", self.statistics())
    }
}

/// What [`Lock::statistics`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatistics {
    /// Whether somebody has the lock.
    pub locked: bool,
    /// Tasks in line.
    pub waiting: usize,
}

impl fmt::Display for LockStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(if self.locked { "locked" } else { "unlocked" }, self.waiting))
    }
}

/// Keeps a [`Lock`] until it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

impl LockGuard<'_> {
    /// Leaves the lock locked; [`Lock::release`] releases it, from any task.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Somebody may have released it by hand.
        let _released = self.lock.permits.release();
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(self.lock).finish()
    }
}

/// A value that one task at a time can get at, across its waits. [`Lock`]'s order, and a guard that leads to the value.
///
/// ```
/// # use std::rc::Rc;
/// # ringio::run(async {
/// let total = Rc::new(ringio::Mutex::new(0));
/// let add = |amount| {
///     let total = total.clone();
///     async move {
///         let mut total = total.acquire().await?;
///         let before = *total;
///         ringio::yield_now().await?;
///         *total = before + amount;
///         Ok::<_, ringio::CancelledError>(())
///     }
/// };
/// let (one, two) = (ringio::create_task(add(1)), ringio::create_task(add(2)));
/// one.await?;
/// two.await?;
/// assert_eq!(*total.acquire().await?, 3);
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
pub struct Mutex<T: ?Sized> {
    lock: Lock,
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// A free mutex around `value`.
    #[track_caller]
    pub fn new(value: T) -> Mutex<T> {
        Mutex { lock: Lock::of(&["Mutex", "acquire"]), value: RefCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the value is free, and keeps it until the guard is dropped.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: as [`Lock::acquire`].
    pub async fn acquire(&self) -> Result<MutexGuard<'_, T>, CancelledError> {
        let lock = self.lock.acquire().await?;
        Ok(self.guard(lock))
    }

    /// Takes the value if it is free.
    pub fn try_acquire(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_acquire().map(|lock| self.guard(lock))
    }

    fn guard<'a>(&'a self, lock: LockGuard<'a>) -> MutexGuard<'a, T> {
        MutexGuard { value: self.value.borrow_mut(), _lock: lock }
    }

    /// Whether somebody has the value.
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// The value: nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Who has it and who waits.
    pub fn statistics(&self) -> LockStatistics {
        self.lock.statistics()
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Mutex [{}]>", self.statistics())
    }
}

/// Leads to the value of a [`Mutex`], which is free again when this is dropped.
#[must_use = "the mutex is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    // In this order: the value is let go of before the next one gets it.
    value: RefMut<'a, T>,
    _lock: LockGuard<'a>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
