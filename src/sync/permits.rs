//! Counted permits: a lock has one of them, a semaphore several.
//!
//! While somebody waits there is none free: a permit that comes back is handed to the first in line.

use std::{cell::Cell, panic::Location, pin::Pin, rc::Rc};

use pin_project_lite::pin_project;

use super::{
    taking::{Source, Taking},
    wait_list::WaitList,
};
use crate::executor::Call;

pin_project! {
    #[derive(Debug)]
    pub(super) struct Permits {
        free: Cell<usize>,
        free_max: usize,
        #[pin]
        line: WaitList<()>,
    }
}

impl Permits {
    /// Never more than `free_max` are free: who releases by hand what another one's guard will release again adds none.
    #[track_caller]
    pub(super) fn new(free: usize, free_max: usize, call: &'static Call) -> Pin<Rc<Permits>> {
        Rc::pin(Permits { free: Cell::new(free), free_max, line: WaitList::new(call, Location::caller()) })
    }

    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free.get()
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.count()
    }

    pub(super) fn line(self: Pin<&Self>) -> Pin<&WaitList<()>> {
        self.project_ref().line
    }

    #[inline]
    pub(super) fn take(&self) -> bool {
        let free = self.free.get();
        if free > 0 {
            self.free.set(free - 1);
        }
        free > 0
    }

    /// A permit comes back, or is added. False when none was out; nothing changes then.
    #[inline]
    pub(super) fn release(&self) -> bool {
        let free = self.free.get();
        if free == self.free_max {
            return false;
        }
        if self.line.is_bare() {
            self.free.set(free + 1);
        } else {
            self.hand_on();
        }
        true
    }

    /// To the first in line, if those who were there still wait.
    fn hand_on(&self) {
        match self.line.grant(|slot| slot.set(Some(()))) {
            Some(((), waiter)) => waiter.wake(),
            None => self.free.set(self.free.get() + 1),
        }
    }

    #[inline]
    pub(super) fn acquire(self: Pin<&Self>) -> Taking<Permit<'_>> {
        Taking::new(Permit(self))
    }
}

/// One permit.
pub(super) struct Permit<'a>(Pin<&'a Permits>);

impl Source for Permit<'_> {
    type Grant = ();

    #[inline]
    fn take(&self) -> Result<(), Pin<&WaitList<()>>> {
        if self.0.take() { Ok(()) } else { Err(self.0.line()) }
    }

    fn give_back(&self, (): ()) {
        self.0.release();
    }
}

/// `locked, waiters:2`, as asyncio shows it.
pub(super) fn describe(state: &str, waiting: usize) -> String {
    if waiting == 0 { state.to_owned() } else { format!("{state}, waiters:{waiting}") }
}
