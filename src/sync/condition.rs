//! Waiting, under a lock, for others to say that something has changed.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    lock::{Lock, LockGuard},
    permits::describe,
    wait_list::{Place, Stage, WaitList},
};
use crate::error::{CancelledError, NotLockedError};

/// A condition with its lock: tasks of one thread wait until somebody notifies them. Clones are the same condition; several
/// conditions may share a lock.
///
/// ```
/// # use std::{cell::Cell, rc::Rc};
/// # ringio::run(async {
/// let (condition, ready) = (ringio::Condition::new(), Rc::new(Cell::new(false)));
/// let waiter = ringio::create_task({
///     let (condition, ready) = (condition.clone(), ready.clone());
///     async move {
///         let mut guard = condition.acquire().await?;
///         guard.wait_for(|| ready.get().then_some(())).await
///     }
/// });
/// let guard = condition.acquire().await?;
/// ready.set(true);
/// guard.notify_all();
/// drop(guard);
/// waiter.await?;
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Condition")]
#[derive(Clone)]
pub struct Condition {
    lock: Lock,
    waiting: Pin<Rc<Line>>,
}

pin_project! {
    struct Line {
        #[pin]
        list: WaitList<()>,
    }
}

impl Condition {
    /// A condition with a lock of its own.
    #[track_caller]
    pub fn new() -> Condition {
        Condition::with_lock(Lock::of(&["Condition", "acquire"]))
    }

    /// A condition with a lock that others may have too.
    #[track_caller]
    pub fn with_lock(lock: Lock) -> Condition {
        let list = WaitList::new(&["Condition", "wait"], Location::caller());
        Condition { lock, waiting: Rc::pin(Line { list }) }
    }

    /// Takes the lock; see [`Lock::acquire`].
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: as [`Lock::acquire`].
    #[doc(alias = "asyncio.Condition.acquire")]
    pub async fn acquire(&self) -> Result<ConditionGuard<'_>, CancelledError> {
        self.lock.acquire().await.map(|lock| self.guard(lock))
    }

    /// Takes the lock if it is free.
    pub fn try_acquire(&self) -> Option<ConditionGuard<'_>> {
        self.lock.try_acquire().map(|lock| self.guard(lock))
    }

    fn guard(&self, lock: LockGuard<'_>) -> ConditionGuard<'_> {
        lock.forget();
        ConditionGuard { condition: self, held: Cell::new(true) }
    }

    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Whether somebody has the lock.
    #[doc(alias = "asyncio.Condition.locked")]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// Wakes up to `count` tasks, those who wait longest; each goes on when it has got the lock again, in that order. For
    /// conditions that share a lock: whoever has the lock through one of them may notify the others.
    ///
    /// # Errors
    /// When nobody has the lock.
    #[doc(alias = "asyncio.Condition.notify")]
    pub fn notify(&self, count: usize) -> Result<(), NotLockedError> {
        if !self.lock.locked() {
            return Err(NotLockedError);
        }
        self.wake(count);
        Ok(())
    }

    /// [`Condition::notify`] for all.
    ///
    /// # Errors
    /// When nobody has the lock.
    #[doc(alias = "asyncio.Condition.notify_all")]
    pub fn notify_all(&self) -> Result<(), NotLockedError> {
        self.notify(usize::MAX)
    }

    fn line(&self) -> Pin<&WaitList<()>> {
        self.waiting.as_ref().project_ref().list
    }

    /// They need not run to take their place in the lock's line.
    fn wake(&self, count: usize) {
        let permits = self.lock.permits();
        for _ in 0..count {
            if !self.line().pass_on(permits.line(), true) {
                break;
            }
        }
        // The lock is free here only when a notified wait was dropped.
        if permits.take() {
            permits.release();
        }
    }

    /// The lock and who waits.
    pub fn statistics(&self) -> ConditionStatistics {
        let waiting = self.waiting.list.count();
        ConditionStatistics { locked: self.locked(), waiting, waiting_for_lock: self.lock.statistics().waiting }
    }
}

impl Default for Condition {
    #[track_caller]
    fn default() -> Condition {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.locked() { "locked" } else { "unlocked" };
        write!(f, "<Condition [{}]>", describe(state, self.waiting.list.count()))
    }
}

/// What [`Condition::statistics`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionStatistics {
    /// Whether somebody has the lock.
    pub locked: bool,
    /// Tasks that wait to be notified.
    pub waiting: usize,
    /// Tasks that wait for the lock, notified or new.
    pub waiting_for_lock: usize,
}

/// Keeps the lock of a [`Condition`], but for the time of a [`wait`](ConditionGuard::wait).
#[must_use = "the lock is released when the guard is dropped"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
    /// False while it waits, and after a wait was dropped before its end.
    held: Cell<bool>,
}

impl ConditionGuard<'_> {
    /// Releases the lock, waits for a [`notify`](ConditionGuard::notify), and takes the lock again. It may return without
    /// one: look again whether what you waited for has come about, or use [`wait_for`](ConditionGuard::wait_for).
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came; the lock is held then too.
    ///
    /// # Cancellation
    /// **Nothing lost**: a notification on its way goes to the next one. If the future is dropped in the middle, the guard
    /// is left without the lock, and the next `wait` only takes it again.
    #[doc(alias = "asyncio.Condition.wait")]
    pub fn wait(&mut self) -> impl Future<Output = Result<(), CancelledError>> {
        Waiting {
            condition: self.condition,
            held: &self.held,
            cancelled: false,
            retaking: false,
            place: Place::new(None),
        }
    }

    /// Waits until `look` finds something, asking it now and after every notification.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came; the lock is held then too.
    ///
    /// # Cancellation
    /// **Nothing lost**: as [`wait`](ConditionGuard::wait).
    #[doc(alias = "asyncio.Condition.wait_for")]
    pub async fn wait_for<R>(&mut self, mut look: impl FnMut() -> Option<R>) -> Result<R, CancelledError> {
        loop {
            if self.held.get()
                && let Some(found) = look()
            {
                return Ok(found);
            }
            self.wait().await?;
        }
    }

    /// See [`Condition::notify`].
    ///
    /// # Panics
    /// When the guard is without the lock, because a wait was dropped in the middle.
    #[doc(alias = "asyncio.Condition.notify")]
    pub fn notify(&self, count: usize) {
        assert!(self.held.get(), "a dropped wait() left this guard without the lock; wait() again takes it back");
        self.condition.wake(count);
    }

    /// [`notify`](ConditionGuard::notify) for all.
    ///
    /// # Panics
    /// As [`notify`](ConditionGuard::notify).
    #[doc(alias = "asyncio.Condition.notify_all")]
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        if self.held.get() {
            let _released = self.condition.lock.release();
        }
    }
}

impl fmt::Debug for ConditionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionGuard").field("condition", self.condition).field("held", &self.held.get()).finish()
    }
}

pin_project! {
    /// First in the condition's line, then, notified or cancelled, in the lock's, where no cancel ends it (CO4, CO7).
    #[must_use = "a wait does nothing until it is awaited"]
    struct Waiting<'a> {
        condition: &'a Condition,
        held: &'a Cell<bool>,
        cancelled: bool,
        // It went for the lock by itself. Who is in the lock's line without that was notified.
        retaking: bool,
        #[pin]
        place: Place<()>,
    }

    impl PinnedDrop for Waiting<'_> {
        fn drop(this: Pin<&mut Self>) {
            let notified = this.as_ref().is_notified() && this.place.stage() != Stage::Over;
            let this = this.project();
            let got_lock = this.place.leave();
            if notified {
                this.condition.wake(1); // CO5
            }
            if got_lock {
                this.condition.lock.permits().release();
            }
        }
    }
}

impl Future for Waiting<'_> {
    type Output = Result<(), CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let place = this.place.into_ref();
        if place.stage() == Stage::New {
            place.begin(cx.waker())?;
            if !this.held.get() {
                return self.take_lock(cx);
            }
            this.condition.line().join(place, cx.waker());
            this.held.set(false);
            this.condition.lock.permits().release();
            return Poll::Pending;
        }
        assert!(place.stage() != Stage::Over, "a wait was polled after its end");
        *this.cancelled |= place.check(cx.waker()).is_err();
        if place.stage() == Stage::Granted {
            return self.finish();
        }
        if *this.cancelled && !place.is_shielded() {
            place.leave();
            return self.take_lock(cx);
        }
        if place.stage() == Stage::Passed {
            // Passed over for a cancel that was then withdrawn.
            this.condition.line().join(place, cx.waker());
        } else {
            place.stay(cx.waker());
        }
        Poll::Pending
    }
}

impl Waiting<'_> {
    fn is_notified(self: Pin<&Self>) -> bool {
        self.place.is_shielded() && !self.retaking
    }

    fn take_lock(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), CancelledError>> {
        let this = self.project();
        *this.retaking = true;
        this.place.shield();
        let permits = this.condition.lock.permits();
        if !permits.take() {
            permits.line().join(this.place.as_ref(), cx.waker());
            return Poll::Pending;
        }
        this.held.set(true);
        this.place.finish();
        Poll::Ready(if *this.cancelled { Err(CancelledError) } else { Ok(()) })
    }

    /// It has got the lock from its line.
    fn finish(self: Pin<&mut Self>) -> Poll<Result<(), CancelledError>> {
        let notified = self.as_ref().is_notified();
        let this = self.project();
        this.held.set(true);
        this.place.finish();
        if !*this.cancelled {
            return Poll::Ready(Ok(()));
        }
        if notified {
            this.condition.wake(1); // CO5
        }
        Poll::Ready(Err(CancelledError))
    }
}
