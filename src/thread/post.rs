//! What the two ends of a mailbox share: the items, and who is to be woken, under one lock.
//!
//! P1. Who finds nothing leaves its waker under the same lock, so whoever brings news finds the waker.
//! P2. While anybody waits for room there is none: who makes room moves the first one's item in.
//! P3. No waker is woken or dropped, and no item dropped, under the lock: they are handed out.

use std::{collections::VecDeque, sync::PoisonError, task::Waker};

use super::primitives::Mutex;

pub(super) struct Post<T> {
    state: Mutex<State<T>>,
    room: usize,
}

struct State<T> {
    items: VecDeque<T>,
    receiver: Option<Waker>,
    putting: VecDeque<Putting<T>>,
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

/// What came of a try to take.
pub(super) enum Taken<T> {
    /// Somebody may have got room.
    Item(T, Option<Waker>),
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
            tickets: 0,
            senders: 0,
            shut: false,
        };
        Post { state: Mutex::new(state), room }
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Puts an item if there is room; else waits for some, with a ticket, if there is a waker.
    #[inline]
    pub(super) fn put(&self, item: T, waker: Option<&Waker>) -> Result<Put<T>, u64> {
        let mut state = lock(&self.state);
        if state.shut {
            return Ok(Put::ShutDown(item));
        }
        if state.items.len() < self.room {
            state.items.push_back(item);
            return Ok(Put::Done(state.receiver.take()));
        }
        let Some(waker) = waker else { return Ok(Put::Full(item)) };
        state.tickets += 1;
        let ticket = state.tickets;
        state.putting.push_back(Putting { ticket, item, waker: waker.clone() });
        Err(ticket)
    }

    pub(super) fn look(&self, ticket: u64, waker: &Waker) -> Ticket<T> {
        let mut state = lock(&self.state);
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
        let mut state = lock(&self.state);
        let at = state.find(ticket)?;
        state.putting.remove(at).map(|putting| (putting.item, putting.waker))
    }

    /// Takes the next item; `batch` gets those behind it when there is no limit. If there is none, `waker` is woken with the
    /// next news.
    pub(super) fn take(&self, batch: &mut VecDeque<T>, waker: Option<&Waker>) -> Taken<T> {
        let mut state = lock(&self.state);
        if self.room == usize::MAX && !state.items.is_empty() {
            // Both queues keep their memory, and are used in turn.
            std::mem::swap(batch, &mut state.items);
            drop(state);
            return batch.pop_front().map_or(Taken::Empty(None), |item| Taken::Item(item, None));
        }
        if let Some(item) = state.items.pop_front() {
            let next = state.putting.pop_front();
            let woken = next.map(|next| {
                state.items.push_back(next.item);
                next.waker
            });
            return Taken::Item(item, woken);
        }
        if state.shut {
            return Taken::ShutDown;
        }
        let Some(waker) = waker else { return Taken::Empty(None) };
        if state.receiver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Taken::Empty(None);
        }
        Taken::Empty(state.receiver.replace(waker.clone()))
    }

    /// No more items go in. Returns whom to wake, and what is thrown away if `immediate`.
    pub(super) fn shut_down(&self, immediate: bool) -> (Vec<Waker>, VecDeque<T>) {
        let mut state = lock(&self.state);
        state.shut = true;
        let mut wakers: Vec<Waker> = state.putting.iter().map(|putting| putting.waker.clone()).collect();
        wakers.extend(state.receiver.take());
        let dropped = if immediate { std::mem::take(&mut state.items) } else { VecDeque::new() };
        (wakers, dropped)
    }

    pub(super) fn add_sender(&self) {
        lock(&self.state).senders += 1;
    }

    /// True for the last one.
    pub(super) fn remove_sender(&self) -> bool {
        let mut state = lock(&self.state);
        state.senders -= 1;
        state.senders == 0
    }

    pub(super) fn counts(&self) -> Counts {
        let state = lock(&self.state);
        Counts { items: state.items.len(), putting: state.putting.len(), senders: state.senders, shut: state.shut }
    }
}

impl<T> State<T> {
    fn find(&self, ticket: u64) -> Option<usize> {
        self.putting.binary_search_by_key(&ticket, |putting| putting.ticket).ok()
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> impl std::ops::DerefMut<Target = State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
