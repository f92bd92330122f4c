//! Who waits for something, in order. Everything in `sync` is thin over this list.
//!
//! A [`WaitList`] links the [`Place`]s of those who wait; a place is a part of the future that waits, so that waiting
//! allocates nothing. What is waited for is handed to the first in line, into its place: nobody who comes later can take it.
//! A waiter to whom a cancel is on its way is passed over: a cancel counts from when it is asked for. One that comes after
//! the grant finds the grant in the place, and whoever waited gives it back.
//!
//! - L1 What is linked is pinned and alive: a place leaves its list when it is dropped, and a list lets go of its places.
//!   A future that is forgotten keeps its memory for ever, as pinning demands.
//! - L2 A place is in one list at most, and between a place's neighbours are links to it, both ways.
//! - L3 Nobody is woken, and nothing of a user's is dropped, in here: the waker is handed out, to be woken when all is
//!   in order.
//! - L4 A list that somebody waits in is found by whoever asks what tasks wait for ([`each_wait`]): it enters the thread's
//!   `LISTS` with its first waiter, pinned by then, and leaves when it goes. Those who wait pay for a look at one word.
#![allow(unsafe_code)] // fence: follows links; L1

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomPinned,
    num::NonZeroUsize,
    panic::Location,
    pin::Pin,
    ptr::{self, NonNull},
    task::Waker,
};

use slab::Slab;

use crate::{
    error::CancelledError,
    executor::{Call, Standing, TaskRef, Waiter, look_here_too},
    scope::CancelPoint,
};

/// Those who wait, first come first served. `S` is what is handed over, in either direction.
pub(super) struct WaitList<S> {
    first: Cell<Link<S>>,
    last: Cell<Link<S>>,
    call: &'static Call,
    made_at: &'static Location<'static>,
    /// Its place in `LISTS`, and one more.
    listed: Cell<Option<NonZeroUsize>>,
    _pinned: PhantomPinned,
}

/// A list of some type, and how to look into it.
struct Listed {
    list: NonNull<()>,
    look: Look,
}

/// # Safety
/// The pointer leads to a list of the type that the function was made for, which is alive.
type Look = unsafe fn(NonNull<()>, &mut dyn FnMut(&TaskRef, Standing));

thread_local! {
    static LISTS: RefCell<Slab<Listed>> = const { RefCell::new(Slab::new()) };
    /// Places are numbered as they come, in all lists alike: one that comes back, to its list or another one, has its
    /// number still.
    static NUMBERS: Cell<u64> = const { Cell::new(0) };
}

type Link<S> = Option<NonNull<Place<S>>>;

/// What those who come from now on are not below.
pub(super) fn next_number() -> u64 {
    NUMBERS.get() + 1
}

/// One waiter's place, within its future.
pub(super) struct Place<S> {
    stage: Cell<Stage>,
    before: Cell<Link<S>>,
    behind: Cell<Link<S>>,
    /// The list it is linked into.
    list: Cell<Option<NonNull<WaitList<S>>>>,
    number: Cell<u64>,
    /// A cancel does not end the wait.
    shielded: Cell<bool>,
    waiter: Cell<Option<Waiter>>,
    slot: Cell<Option<S>>,
    point: RefCell<CancelPoint>,
    _pinned: PhantomPinned,
}

/// Where a wait is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    /// In a list.
    Waiting,
    /// Not in a list: passed over because of a cancel, or it had to let others run. Tries again when it is polled.
    Passed,
    /// Out of the list, by a grant.
    Granted,
    Over,
}

impl<S> WaitList<S> {
    #[inline]
    pub(super) fn new(call: &'static Call, made_at: &'static Location<'static>) -> WaitList<S> {
        WaitList {
            first: Cell::new(None),
            last: Cell::new(None),
            call,
            made_at,
            listed: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }

    fn follow(&self, link: Link<S>) -> Option<&Place<S>> {
        // SAFETY: L1. Places are only ever referred to by shared references while they are linked.
        link.map(|link| unsafe { link.as_ref() })
    }

    /// The first in line. Those before it to whom a cancel is on its way are out of line.
    #[inline]
    fn first(&self) -> Option<&Place<S>> {
        self.first.get()?;
        while let Some(place) = self.follow(self.first.get()) {
            if !place.is_doomed() {
                return Some(place);
            }
            self.unlink(place, Stage::Passed);
        }
        None
    }

    /// Whether nobody is in the list, not even somebody to whom a cancel is on its way.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        self.first.get().is_none()
    }

    /// Whether nobody waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        let (mut count, mut next) = (0, self.first.get());
        while let Some(place) = self.follow(next) {
            count += usize::from(!place.is_doomed());
            next = place.behind.get();
        }
        count
    }

    /// Grants to the first in line what `exchange` does with its slot. The waiter is to be woken at the end of it all.
    #[inline]
    pub(super) fn grant<R>(&self, exchange: impl FnOnce(&Cell<Option<S>>) -> R) -> Option<(R, Wake)> {
        self.grant_below(u64::MAX, exchange)
    }

    /// [`WaitList::grant`], if the first in line came before `number` was the next.
    pub(super) fn grant_below<R>(
        &self,
        number: u64,
        exchange: impl FnOnce(&Cell<Option<S>>) -> R,
    ) -> Option<(R, Wake)> {
        let place = self.first().filter(|place| place.number.get() < number)?;
        self.unlink(place, Stage::Granted);
        Some((exchange(&place.slot), Wake(place.waiter.take())))
    }

    /// Puts a new place, or one that comes back, where its number says.
    pub(super) fn join(self: Pin<&Self>, place: Pin<&Place<S>>, waker: &Waker) {
        let old = place.waiter.replace(Some(Waiter::of(waker)));
        self.link(place.get_ref());
        drop(old);
    }

    fn link(self: Pin<&Self>, place: &Place<S>) {
        assert!(place.list.get().is_none(), "L2 broken: a place in two lists");
        if self.listed.get().is_none() {
            self.enlist();
        }
        if place.number.get() == 0 {
            NUMBERS.set(NUMBERS.get() + 1);
            place.number.set(NUMBERS.get());
        }
        let (mut before, mut behind) = (self.last.get(), None);
        while let Some(other) = self.follow(before)
            && other.number.get() > place.number.get()
        {
            behind = before;
            before = other.before.get();
        }
        let link = Some(NonNull::from(place));
        place.before.set(before);
        place.behind.set(behind);
        self.follow(before).map_or(&self.first, |other| &other.behind).set(link);
        self.follow(behind).map_or(&self.last, |other| &other.before).set(link);
        place.list.set(Some(NonNull::from(self.get_ref())));
        place.stage.set(Stage::Waiting);
    }

    /// L4
    #[cold]
    fn enlist(self: Pin<&Self>) {
        let listed = Listed { list: NonNull::from(self.get_ref()).cast(), look: look::<S> };
        let place = LISTS.try_with(|lists| lists.borrow_mut().insert(listed));
        self.listed.set(place.ok().and_then(|place| NonZeroUsize::new(place + 1)));
        look_here_too(each_wait);
    }

    fn unlink(&self, place: &Place<S>, stage: Stage) {
        assert!(self.has(place), "L2 broken: a place of another list");
        let (before, behind) = (place.before.take(), place.behind.take());
        self.follow(before).map_or(&self.first, |other| &other.behind).set(behind);
        self.follow(behind).map_or(&self.last, |other| &other.before).set(before);
        place.list.set(None);
        place.stage.set(stage);
    }

    fn has(&self, place: &Place<S>) -> bool {
        place.list.get().is_some_and(|list| ptr::eq(list.as_ptr(), self))
    }

    /// Moves the first in line to the end of another list, without waking it; from now on a cancel does not end its wait
    /// if `shielded`. False when nobody waits.
    pub(super) fn pass_on(self: Pin<&Self>, to: Pin<&WaitList<S>>, shielded: bool) -> bool {
        let Some(place) = self.first() else { return false };
        self.unlink(place, Stage::Passed);
        place.number.set(0);
        place.shielded.set(shielded);
        to.link(place);
        true
    }
}

impl<S> Drop for WaitList<S> {
    fn drop(&mut self) {
        // Only places of forgotten futures are left, which nobody will poll; but they may not point here (L1).
        while let Some(place) = self.follow(self.first.get()) {
            self.unlink(place, Stage::Over);
        }
        if let Some(place) = self.listed.get() {
            delist(place);
        }
    }
}

/// L4
#[cold]
fn delist(place: NonZeroUsize) {
    // When the thread ends, it may be that nobody can ask any more.
    let _gone = LISTS.try_with(|lists| lists.borrow_mut().remove(place.get() - 1));
}

/// Calls `look` with every task that waits in one of this thread's lists, and for what.
fn each_wait(look: &mut dyn FnMut(&TaskRef, Standing)) {
    let _none = LISTS.try_with(|lists| {
        for (_, listed) in &*lists.borrow() {
            // SAFETY: L4: what is listed is alive, and `look` was made for its type.
            unsafe { (listed.look)(listed.list, look) };
        }
    });
}

/// # Safety
/// As [`Look`].
unsafe fn look<S>(list: NonNull<()>, look: &mut dyn FnMut(&TaskRef, Standing)) {
    // SAFETY: the caller's promise.
    let list = unsafe { list.cast::<WaitList<S>>().as_ref() };
    let (mut before, mut next) = (0, list.first.get());
    while let Some(place) = list.follow(next) {
        let waits = !place.is_doomed();
        if waits {
            let standing = Standing { call: list.call, made_at: list.made_at, before };
            place.with_task(|task| look(task, standing));
            before += 1;
        }
        next = place.behind.get();
    }
}

/// A waiter that has got what it waited for.
#[must_use = "or it sleeps for ever"]
pub(super) struct Wake(Option<Waiter>);

impl Wake {
    /// May run anybody's code: to be called last.
    #[inline]
    pub(super) fn wake(self) {
        if let Some(waiter) = self.0 {
            waiter.wake();
        }
    }
}

impl<S> Place<S> {
    pub(super) fn new(slot: Option<S>) -> Place<S> {
        Place {
            stage: Cell::new(Stage::New),
            before: Cell::new(None),
            behind: Cell::new(None),
            list: Cell::new(None),
            number: Cell::new(0),
            shielded: Cell::new(false),
            waiter: Cell::new(None),
            slot: Cell::new(slot),
            point: RefCell::default(),
            _pinned: PhantomPinned,
        }
    }

    #[inline]
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn is_shielded(&self) -> bool {
        self.shielded.get()
    }

    /// From now on a cancel is only remembered, and grants do not pass the place over.
    pub(super) fn shield(&self) {
        self.shielded.set(true);
        self.number.set(0); // in the line of whatever it waits for next, it is new
    }

    /// What is in the slot, for those who were granted it, or take back what they put there.
    #[inline]
    pub(super) fn take(&self) -> Option<S> {
        self.slot.take()
    }

    /// The wait begins, unless a cancel is there already.
    pub(super) fn begin(&self, waker: &Waker) -> Result<(), CancelledError> {
        self.point.borrow_mut().begin(waker)
    }

    /// Ends the wait if a cancel has come, and delivers it. Does not look at the stage.
    pub(super) fn check(&self, waker: &Waker) -> Result<(), CancelledError> {
        self.point.borrow_mut().check(waker)
    }

    /// It had to let others run: it is woken in the next turn and tries again.
    pub(super) fn try_later(&self, waker: &Waker) {
        self.stage.set(Stage::Passed);
        waker.wake_by_ref();
    }

    /// The wait goes on, perhaps under another waker.
    pub(super) fn stay(&self, waker: &Waker) {
        let known = self.waiter.take();
        if known.as_ref().is_some_and(|known| known.is(waker)) {
            self.waiter.set(known);
        } else {
            self.waiter.set(Some(Waiter::of(waker)));
            drop(known);
        }
    }

    /// Out of the list, if it is in one; true when it was granted something that is in the slot, or was taken from there.
    pub(super) fn leave(&self) -> bool {
        // SAFETY: L1: a list lets go of its places before it goes.
        if let Some(list) = self.list.get().map(|list| unsafe { list.as_ref() }) {
            list.unlink(self, Stage::Passed);
        }
        self.stage.get() == Stage::Granted
    }

    /// The wait is over.
    #[inline]
    pub(super) fn finish(&self) {
        self.stage.set(Stage::Over);
        let waiter = self.waiter.take();
        self.point.borrow_mut().end();
        drop(waiter);
    }

    /// Calls `with` with the task that waits, if it is known.
    fn with_task(&self, with: impl FnOnce(&TaskRef)) {
        let Ok(point) = self.point.try_borrow() else { return };
        let waiter = self.waiter.take();
        match (point.side_task(), &waiter) {
            (Some(task), _) | (None, Some(Waiter::Task(task))) => with(task),
            (None, Some(Waiter::Foreign(_) | Waiter::Arrival(..)) | None) => {}
        }
        self.waiter.set(waiter);
    }

    fn is_doomed(&self) -> bool {
        let waiter = self.waiter.take();
        let task = match &waiter {
            Some(Waiter::Task(task)) => Some(task),
            Some(Waiter::Foreign(_) | Waiter::Arrival(..)) | None => None,
        };
        // While it is borrowed, the waiter is being polled, and sees for itself.
        let doomed = !self.shielded.get() && self.point.try_borrow().is_ok_and(|point| point.is_doomed(task));
        self.waiter.set(waiter);
        doomed
    }
}

impl<S> Drop for Place<S> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<S> fmt::Debug for WaitList<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList").field("waiting", &self.count()).finish()
    }
}
