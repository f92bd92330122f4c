//! A flag to wait for.

use std::{cell::Cell, fmt, panic::Location, pin::Pin, rc::Rc};

use pin_project_lite::pin_project;

use super::{
    permits::describe,
    taking::{Source, Taking},
    wait_list::{WaitList, next_number},
};
use crate::error::CancelledError;

/// A flag that tasks of one thread wait for. Clones are the same flag.
///
/// ```
/// # ringio::run(async {
/// let event = ringio::Event::new();
/// let waiter = ringio::create_task({
///     let event = event.clone();
///     async move { event.wait().await }
/// });
/// event.set();
/// waiter.await?;
/// assert!(event.is_set());
/// # Ok::<_, ringio::CancelledError>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Event")]
#[derive(Clone)]
pub struct Event {
    flag: Pin<Rc<Flag>>,
}

pin_project! {
    struct Flag {
        set: Cell<bool>,
        #[pin]
        line: WaitList<()>,
    }
}

impl Event {
    /// A flag that is not set.
    #[track_caller]
    pub fn new() -> Event {
        let line = WaitList::new(&["Event", "wait"], Location::caller());
        Event { flag: Rc::pin(Flag { set: Cell::new(false), line }) }
    }

    /// Waits until the flag is set; returns at once if it is. Who waits when it is set gets through, even if it is cleared
    /// again at once.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: there is nothing to lose.
    #[doc(alias = "asyncio.Event.wait")]
    pub async fn wait(&self) -> Result<(), CancelledError> {
        Taking::new(Raised(self.flag.as_ref())).await
    }

    /// Sets the flag and wakes all who wait, the first one first.
    #[doc(alias = "asyncio.Event.set")]
    pub fn set(&self) {
        self.flag.set.set(true);
        let end = next_number();
        while let Some(((), waiter)) = self.flag.line.grant_below(end, |slot| slot.set(Some(()))) {
            waiter.wake();
        }
    }

    /// Takes the flag down.
    #[doc(alias = "asyncio.Event.clear")]
    pub fn clear(&self) {
        self.flag.set.set(false);
    }

    /// Whether the flag is set.
    #[doc(alias = "asyncio.Event.is_set")]
    pub fn is_set(&self) -> bool {
        self.flag.set.get()
    }

    /// The flag and who waits for it.
    pub fn statistics(&self) -> EventStatistics {
        EventStatistics { set: self.is_set(), waiting: self.flag.line.count() }
    }
}

impl Default for Event {
    #[track_caller]
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_set() { "set" } else { "unset" };
        write!(f, "<Event [{}]>", describe(state, self.flag.line.count()))
    }
}

/// What [`Event::statistics`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStatistics {
    /// Whether the flag is set.
    pub set: bool,
    /// Tasks that wait for it.
    pub waiting: usize,
}

struct Raised<'a>(Pin<&'a Flag>);

impl Source for Raised<'_> {
    type Grant = ();

    fn take(&self) -> Result<(), Pin<&WaitList<()>>> {
        if self.0.set.get() { Ok(()) } else { Err(self.0.project_ref().line) }
    }

    fn give_back(&self, (): ()) {}
}
