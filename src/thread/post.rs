//! What the two ends of a mailbox share: the items, and who is to be woken, under one lock; and beside it how many items
//! were got, so that the receiver, which fetches all there are at once, says that there is room without the lock.
//!
//! P1. Who finds nothing leaves its waker under the same lock, so whoever brings news finds the waker.
//! P2. While anybody waits for room there is none: who makes room moves the first one's item in. Whoever finds no room and
//!     stays says so in the step that looks for it (`CROWDED`), and whoever makes room looks in the step that makes it: one
//!     of the two sees the other.
//! P3. No waker is woken or dropped, and no item dropped, under the lock: they are handed out.

use std::{collections::VecDeque, sync::PoisonError, task::Waker};

use super::primitives::{AtomicUsize, Mutex, Ordering};

pub(super) struct Post<T> {
    room: usize,
    state: Apart<Mutex<State<T>>>,
    /// How many items were got, times `ONE`, and perhaps `CROWDED`, which is set and taken back under the lock.
    got: Apart<AtomicUsize>,
}

/// Items are counted round and round, in steps of this.
const ONE: usize = 2;
/// Somebody may wait for room.
const CROWDED: usize = 1;

/// On cache lines of its own: the two ends write by turns.
#[repr(align(128))]
struct Apart<T>(T);

struct State<T> {
    /// Those that were not fetched.
    items: VecDeque<T>,
    receiver: Option<Waker>,
    putting: VecDeque<Putting<T>>,
    /// How many items were put, times `ONE`.
    put: usize,
    /// What `got` was when it was last looked at.
    seen: usize,
    tickets: u64,
    senders: usize,
    shut: bool,
}

/// Somebody who waits for room, with its item.
struct Putting<T> {
    ticket: u64,
    item: T,
    waker: Waker,
}

/// What came of a try to put.
pub(super) enum Put<T> {
    /// The receiver may have to be woken.
    Done(Option<Waker>),
    Full(T),
    ShutDown(T),
}

/// What came of a try to fetch.
pub(super) enum Fetched {
    Items,
    /// With the waker that was there before.
    Empty(Option<Waker>),
    ShutDown,
}

/// What became of somebody who waits for room.
pub(super) enum Ticket<T> {
    /// Its item is in.
    Used,
    ShutDown(T),
    /// With the waker that was there before, if it was another.
    Waiting(Option<Waker>),
}

/// What is in a mailbox and who waits.
pub(super) struct Counts {
    pub(super) items: usize,
    pub(super) putting: usize,
    pub(super) senders: usize,
    pub(super) shut: bool,
}

impl<T> Post<T> {
    /// `room` is `usize::MAX` for no limit.
    pub(super) fn new(room: usize) -> Post<T> {
        let state = State {
            items: VecDeque::new(),
            receiver: None,
            putting: VecDeque::new(),
            put: 0,
            seen: 0,
            tickets: 0,
            senders: 0,
            shut: false,
        };
        Post { room, state: Apart(Mutex::new(state)), got: Apart(AtomicUsize::new(0)) }
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = State<T>> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item if there is room; else waits for some, with a ticket, if there is a waker.
    #[inline]
    pub(super) fn put(&self, item: T, waker: Option<&Waker>) -> Result<Put<T>, u64> {
        let mut state = self.lock();
        if state.shut {
            return Ok(Put::ShutDown(item));
        }
        if self.has_room(&mut state, waker.is_some()) {
            state.add(item);
            return Ok(Put::Done(state.receiver.take()));
        }
        let Some(waker) = waker else { return Ok(Put::Full(item)) };
        state.tickets += 1;
        let ticket = state.tickets;
        state.putting.push_back(Putting { ticket, item, waker: waker.clone() });
        Err(ticket)
    }

    /// Looks at the receiver's count only if what it was is not enough. Who `stays` will wait if there is no room (P2).
    #[inline]
    fn has_room(&self, state: &mut State<T>, stays: bool) -> bool {
        if !state.putting.is_empty() {
            return false;
        }
        if state.count() >= self.room {
            let got =
                if stays { self.got.0.fetch_or(CROWDED, Ordering::AcqRel) } else { self.got.0.load(Ordering::Acquire) };
            state.seen = got & !CROWDED;
        }
        state.count() < self.room
    }

    /// Changes with each item that is got.
    pub(super) fn progress(&self) -> usize {
        self.got.0.load(Ordering::Relaxed) / ONE
    }

    pub(super) fn look(&self, ticket: u64, waker: &Waker) -> Ticket<T> {
        let mut state = self.lock();
        let Some(at) = state.find(ticket) else { return Ticket::Used };
        if state.shut {
            return state.putting.remove(at).map_or(Ticket::Used, |putting| Ticket::ShutDown(putting.item));
        }
        let known = &mut state.putting[at].waker;
        let other = (!known.will_wake(waker)).then(|| std::mem::replace(known, waker.clone()));
        Ticket::Waiting(other)
    }

    /// The item of somebody who waits no longer, unless it is in.
    pub(super) fn give_up(&self, ticket: u64) -> Option<(T, Waker)> {
        let mut state = self.lock();
        let at = state.find(ticket)?;
        state.putting.remove(at).map(|putting| (putting.item, putting.waker))
    }

    /// The receiver takes all items that are there into `batch`, which is empty; each counts until it was got. If there are
    /// none, `waker` is woken with the next news.
    pub(super) fn fetch(&self, batch: &mut VecDeque<T>, waker: Option<&Waker>) -> Fetched {
        let mut state = self.lock();
        if !state.items.is_empty() {
            // Both queues keep their memory, and are used in turn.
            std::mem::swap(batch, &mut state.items);
            return Fetched::Items;
        }
        if state.shut {
            return Fetched::ShutDown;
        }
        let Some(waker) = waker else { return Fetched::Empty(None) };
        if state.receiver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Fetched::Empty(None);
        }
        Fetched::Empty(state.receiver.replace(waker.clone()))
    }

    /// The receiver has got one of those it fetched. Somebody may have got room by it.
    #[inline]
    pub(super) fn got_one(&self) -> Option<Waker> {
        if self.room == usize::MAX {
            // The receiver is the only one that writes here.
            let got = self.got.0.load(Ordering::Relaxed);
            self.got.0.store(got.wrapping_add(ONE), Ordering::Release);
            return None;
        }
        let before = self.got.0.fetch_add(ONE, Ordering::AcqRel);
        if before & CROWDED == 0 { None } else { self.let_in() }
    }

    #[cold]
    fn let_in(&self) -> Option<Waker> {
        let mut state = self.lock();
        let next = if state.shut { None } else { state.putting.pop_front() };
        if state.putting.is_empty() {
            self.got.0.fetch_and(!CROWDED, Ordering::AcqRel);
        }
        let next = next?;
        state.add(next.item);
        Some(next.waker)
    }

    /// No more items go in. Returns whom to wake, and what is thrown away if `immediate`.
    pub(super) fn shut_down(&self, immediate: bool) -> (Vec<Waker>, VecDeque<T>) {
        let mut state = self.lock();
        state.shut = true;
        let mut wakers: Vec<Waker> = state.putting.iter().map(|putting| putting.waker.clone()).collect();
        wakers.extend(state.receiver.take());
        let dropped = if immediate { std::mem::take(&mut state.items) } else { VecDeque::new() };
        state.put = state.put.wrapping_sub(dropped.len().wrapping_mul(ONE));
        (wakers, dropped)
    }

    pub(super) fn add_sender(&self) {
        self.lock().senders += 1;
    }

    /// True for the last one.
    pub(super) fn remove_sender(&self) -> bool {
        let mut state = self.lock();
        state.senders -= 1;
        state.senders == 0
    }

    pub(super) fn counts(&self) -> Counts {
        let mut state = self.lock();
        state.seen = self.got.0.load(Ordering::Acquire) & !CROWDED;
        Counts { items: state.count(), putting: state.putting.len(), senders: state.senders, shut: state.shut }
    }
}

impl<T> State<T> {
    #[inline]
    fn add(&mut self, item: T) {
        self.items.push_back(item);
        self.put = self.put.wrapping_add(ONE);
    }

    /// How many items were put and not got, as far as was seen: never fewer than there are.
    #[inline]
    fn count(&self) -> usize {
        self.put.wrapping_sub(self.seen) / ONE
    }

    fn find(&self, ticket: u64) -> Option<usize> {
        self.putting.binary_search_by_key(&ticket, |putting| putting.ticket).ok()
    }
}
