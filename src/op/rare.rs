//! A box that a socket has only while there is something in it. Without a borrow flag: there are many idle sockets.

use std::cell::Cell;

pub(super) struct Rare<T>(Cell<Option<Box<T>>>);

impl<T> Rare<T> {
    pub(super) const fn empty() -> Rare<T> {
        Rare(Cell::new(None))
    }

    /// Calls `look` with what is held, or else with what `make` returns, which is held from then on. It is out of its place
    /// meanwhile: `look` runs nothing of the user's.
    #[inline]
    pub(super) fn with<R>(&self, make: impl FnOnce() -> Box<T>, look: impl FnOnce(&mut T) -> R) -> R {
        let mut held = self.0.take().unwrap_or_else(make);
        let result = look(&mut held);
        self.put(held);
        result
    }

    /// As `with`, if something is held.
    #[inline]
    pub(super) fn if_held<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut held = self.0.take()?;
        let result = look(&mut held);
        self.put(held);
        Some(result)
    }

    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        self.0.take()
    }

    #[inline]
    fn put(&self, held: Box<T>) {
        assert!(self.0.replace(Some(held)).is_none(), "looked at twice at the same time");
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare::empty()
    }
}
