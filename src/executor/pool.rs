//! Threads for calls that block: a bounded number of them, made when they are needed and kept for the next calls.
//!
//! - P1 A call is in the queue, or on a thread, or withdrawn: never two of these.
//! - P2 There are at most `threads_max` threads; while one is idle, no new one is made.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// Names a call that was put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Why a call was not taken.
pub(crate) enum Refused {
    /// The runtime ends; the call is gone.
    Closed,
    /// There is no thread, and none could be made; the call comes back.
    NoThread(Call, io::Error),
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads_max: usize,
}

struct Shared {
    state: Mutex<State>,
    /// There is a call to make, or the end has come.
    news: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Ticket, Call)>,
    tickets: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    /// Nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TH1: so many threads unless it is said otherwise.
pub(super) fn threads_max_usual() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores + 4).min(32)
}

impl Pool {
    pub(super) fn new(threads_max: usize) -> Pool {
        let shared = Shared { state: Mutex::default(), news: Condvar::new(), ended: Condvar::new() };
        Pool { shared: Arc::new(shared), threads_max }
    }

    /// Makes `call` on one of the threads, when one is free.
    pub(crate) fn submit(&self, call: Call) -> Result<Ticket, Refused> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        state.tickets += 1;
        let ticket = Ticket(state.tickets);
        state.queue.push_back((ticket, call));
        if state.idle >= state.queue.len() {
            self.shared.news.notify_one();
        } else if state.threads < self.threads_max {
            state.threads += 1;
            let number = state.threads;
            let shared = self.shared.clone();
            let made = thread::Builder::new().name(format!("ringio-{number}")).spawn(move || work(&shared));
            if let Err(error) = made {
                state.threads -= 1;
                // Those that there are will come to it.
                if state.threads == 0
                    && let Some((_, call)) = state.queue.pop_back()
                {
                    return Err(Refused::NoThread(call, error));
                }
            }
        }
        Ok(ticket)
    }

    /// Takes a call back that was not begun.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<Call> {
        let mut state = self.shared.lock();
        let at = state.queue.iter().position(|(other, _)| *other == ticket)?;
        state.queue.remove(at).map(|(_, call)| call)
    }

    /// From now on no call is taken. Waits for those that have begun; returns how many have not ended in time.
    pub(super) fn close(&self, patience: Duration) -> usize {
        let mut state = self.shared.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        drop(left); // what it captured goes where nothing is locked
        self.shared.news.notify_all();
        let state = self.shared.lock();
        let waited = self.shared.ended.wait_timeout_while(state, patience, |state| state.threads > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.threads
    }
}

/// One thread: makes calls until the end comes. A call does not panic.
fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some((_, call)) = state.queue.pop_front() {
            drop(state);
            call();
            state = shared.lock();
        } else if state.closed {
            break;
        } else {
            state.idle += 1;
            state = shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
    state.threads -= 1;
    shared.ended.notify_all();
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn threads_are_bounded_and_used_again() {
        let pool = Pool::new(2);
        let (send, receive) = mpsc::channel();
        for _ in 0..50 {
            let send = send.clone();
            let call = Box::new(move || send.send(thread::current().name().map(str::to_owned)).unwrap());
            assert!(pool.submit(call).is_ok());
        }
        // One of them may be quick enough to make all calls.
        let names: Vec<_> = (0..50).map(|_| receive.recv().unwrap().unwrap()).collect();
        assert!(names.iter().all(|name| name == "ringio-1" || name == "ringio-2"), "{names:?}");
        assert_eq!(pool.close(Duration::from_secs(20)), 0);
        assert!(matches!(pool.submit(Box::new(|| ())), Err(Refused::Closed)));
    }

    #[test]
    fn call_that_was_withdrawn_is_never_made() {
        let pool = Pool::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = pool.submit(Box::new(move || {
            begun.send(()).unwrap();
            let _ = wait.recv();
        }));
        let Ok(first) = first else { panic!("refused") };
        begins.recv().unwrap();
        let Ok(second) = pool.submit(Box::new(|| panic!("it was withdrawn"))) else { panic!("refused") };
        assert!(pool.withdraw(second).is_some() && pool.withdraw(second).is_none());
        assert!(pool.withdraw(first).is_none(), "it has begun");
        assert_eq!(pool.close(Duration::from_millis(1)), 1);
        drop(go);
        assert_eq!(pool.close(Duration::from_secs(20)), 0);
    }
}
