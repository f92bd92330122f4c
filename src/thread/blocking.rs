//! Waits of plain threads: they sleep until somebody wakes them.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Wake, Waker},
};

use super::{
    post::{Fetched, Post, Put, Ticket},
    primitives::{LOOKS, Thread, current, park, spin_loop, yield_now},
};

/// A thread that sleeps, or is about to.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Sleeper>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Sleeper>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Waker::from(Arc::new(Sleeper(current())))
}

/// Puts an item, asleep while there is no room. `Err` when it was shut down.
#[inline]
pub(super) fn put<T>(post: &Post<T>, item: T) -> Result<(), T> {
    match post.put(item, None) {
        Ok(Put::Full(item)) => put_slowly(post, item),
        tried => put_at_last(post, tried, None),
    }
}

#[cold]
fn put_slowly<T>(post: &Post<T>, item: T) -> Result<(), T> {
    // Some room at once is better than a little, again and again.
    let (began, enough) = (post.progress(), post.room().div_ceil(4));
    look_for(|| post.progress().wrapping_sub(began) >= enough);
    let waker = waker();
    put_at_last(post, post.put(item, Some(&waker)), Some(&waker))
}

#[inline]
fn put_at_last<T>(post: &Post<T>, tried: Result<Put<T>, u64>, waker: Option<&Waker>) -> Result<(), T> {
    match (tried, waker) {
        (Ok(Put::Done(receiver)), _) => {
            if let Some(receiver) = receiver {
                receiver.wake();
            }
            Ok(())
        }
        (Ok(Put::ShutDown(item)), _) => Err(item),
        (Err(ticket), Some(waker)) => wait_for_room(post, ticket, waker),
        (Ok(Put::Full(_)), _) | (Err(_), None) => unreachable!("tickets are for those who wait"),
    }
}

fn wait_for_room<T>(post: &Post<T>, ticket: u64, waker: &Waker) -> Result<(), T> {
    loop {
        match post.look(ticket, waker) {
            Ticket::Used => return Ok(()),
            Ticket::ShutDown(item) => return Err(item),
            Ticket::Waiting(_) => park(),
        }
    }
}

/// Fetches items, asleep while there are none. False when there will be none any more.
#[inline]
pub(super) fn fetch<T>(post: &Post<T>, batch: &mut VecDeque<T>) -> bool {
    match post.fetch(batch, None) {
        Fetched::Items => true,
        Fetched::ShutDown => false,
        Fetched::Empty(_) => fetch_slowly(post, batch),
    }
}

#[cold]
fn fetch_slowly<T>(post: &Post<T>, batch: &mut VecDeque<T>) -> bool {
    let waker = waker();
    loop {
        match post.fetch(batch, Some(&waker)) {
            Fetched::Items => return true,
            Fetched::ShutDown => return false,
            Fetched::Empty(old) => {
                drop(old);
                park();
            }
        }
    }
}

/// Looks for something that another thread may be about to do.
fn look_for(found: impl Fn() -> bool) {
    let (at_once, with_others) = LOOKS;
    for _ in 0..at_once {
        if found() {
            return;
        }
        spin_loop();
    }
    for _ in 0..with_others {
        if found() {
            return;
        }
        yield_now();
    }
}
