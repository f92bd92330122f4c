//! Operations: from a request to its final completion, whatever becomes of whoever waits.
//!
//! ```text
//! Vacant ─submit→ InFlight{lent, waker} ─final completion→ Done{lent, result} ─poll→ Vacant
//!                     │ dropped (cancel queued)                │ dropped: orphan
//!                     ▼                                        ▼
//!                 Abandoned{lent} ─final completion: orphan→ Vacant
//!
//! Vacant ─stand→ Standing{owner} ─completion→ owner.on_completion ─final→ Vacant
//! ```
//! The first row is an operation that a future waits for ([`Op`]). The second is one that belongs to a socket or a
//! listener ([`Owner`]): its answers go there whether anybody waits or not, which is why a cancelled read loses nothing.
//!
//! - S1 InFlight, Abandoned and Standing own what was lent, and a reference to the descriptor. If the final completion
//!   never comes, it is leaked; it is never freed.
//! - S2 A token is index and generation; a slot whose generations are used up is not used again.
//! - S3 Only a completion without MORE is final.
//! - S4 A result that is a descriptor is owned from the instant it is drained.
//! - S5 A cancel is never dropped: it is repeated (1, 10, 100 ms) until the final completion.
//! - S6 The descriptor is closed after the final completion of every operation on it. One operation per direction.
//! - S7 Teardown cancels all, reaps with a deadline, leaks what refuses, and reports it by name.
#![allow(unsafe_code)] // fence: the one caller of Driver::push

mod accept;
mod awaited;
mod basic;
mod child;
mod chores;
mod datagram;
mod layer;
#[cfg(feature = "tls")]
mod layered;
mod port;
mod rare;
mod read_at;
mod receive;
mod send;
mod slot;
mod socket;
mod source;
mod table;
mod transfer;
mod waiters;

use std::{
    future::Future,
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    buf::Pool,
    driver::{Completion, Driver, Group, Request, Token},
};

pub(crate) use accept::{Acceptor, Taken};
pub(crate) use basic::Connect;
#[cfg(feature = "internals")]
pub(crate) use basic::Nop;
pub(crate) use child::Child;
pub(crate) use datagram::{Datagrams, SendDatagram};
pub(crate) use layer::Layer;
pub(crate) use port::Port;
pub(crate) use read_at::ReadAt;
pub(crate) use send::{Segment, WriteMarks};
pub(crate) use socket::{Kind, Socket};
pub(crate) use source::{Source, Way};
pub(crate) use transfer::{ReadInto, Ready, Send, WriteFrom};
pub(crate) use waiters::Waiters;

/// An operation that a future waits for. The value itself is what is lent: it lives in the slot until the final
/// completion.
pub(crate) trait Operation: 'static {
    /// What the waiting future gets.
    type Output;

    /// For reports: what it is called.
    const NAME: &'static str;

    /// Whether it may simply be asked for again when it was interrupted before it did anything.
    const RESTARTS: bool = true;

    /// For reports: which descriptor it is about.
    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    /// What to ask of the kernel. Points to heap memory that `self` owns, never into `self`, which may be moved.
    fn request(&mut self) -> Request;

    /// The end, when somebody waits for it.
    fn finish(self, result: io::Result<u32>) -> Self::Output;

    /// The end, when nobody waits any more: give to its owner, or close, what the kernel gave.
    fn orphan(self, completion: Completion);
}

/// The future of an operation. Submits on the first poll; when dropped, cancels and lets the slot see to the rest.
pub(crate) struct Op<T: Operation> {
    port: Rc<Port>,
    life: Life<T>,
}

enum Life<T> {
    New(T),
    InFlight(Token),
    Over,
}

impl<T: Operation> Op<T> {
    pub(crate) fn new(port: &Rc<Port>, operation: T) -> Op<T> {
        Op { port: port.clone(), life: Life::New(operation) }
    }

    /// Takes an operation back that was never submitted.
    pub(crate) fn take_new(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.life, Life::Over) {
            Life::New(operation) => Some(operation),
            begun @ (Life::InFlight(_) | Life::Over) => {
                self.life = begun;
                None
            }
        }
    }

    /// Starts over with an operation that has ended without doing anything.
    pub(crate) fn restart(&mut self, operation: T) {
        self.life = Life::New(operation);
    }

    /// Asks the kernel to end the operation; the future stays pending until it says how it ended.
    pub(crate) fn cancel(&self) {
        if let Life::InFlight(token) = self.life {
            self.port.cancel(token);
        }
    }
}

// Nothing points into an Op: what is lent lives in the slot.
impl<T: Operation> Unpin for Op<T> {}

impl<T: Operation> Future for Op<T> {
    /// The operation itself, and how it ended.
    type Output = (T, Completion);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(T, Completion)> {
        match std::mem::replace(&mut self.life, Life::Over) {
            Life::New(operation) => {
                let token = self.port.submit(operation, Some(cx.waker().clone()));
                self.life = Life::InFlight(token);
                Poll::Pending
            }
            Life::InFlight(token) => match self.port.poll_slot::<T>(token, cx.waker()) {
                Poll::Ready(ended) => Poll::Ready(ended),
                Poll::Pending => {
                    self.life = Life::InFlight(token);
                    Poll::Pending
                }
            },
            Life::Over => panic!("an operation was polled again after its end"),
        }
    }
}

impl<T: Operation> Drop for Op<T> {
    fn drop(&mut self) {
        if let Life::InFlight(token) = self.life {
            self.port.abandon(token);
        }
    }
}

/// Hands a request over for an operation whose slot exists already.
#[inline]
fn push(driver: &mut Driver, token: Token, request: &Request) {
    // SAFETY: S1: the slot `token` names owns what the request points to until the final completion, and leaks it if
    // that never comes.
    unsafe { driver.push(token, request) }
}

/// As `push`, for a send (see [`Driver::push_quietly`]).
#[inline]
fn push_quietly(driver: &mut Driver, token: Token, request: &Request, len: u32) {
    // SAFETY: S1, as above.
    unsafe { driver.push_quietly(token, request, len) }
}

/// Lets the driver use the pool.
fn provide(driver: &mut Driver, group: Group, pool: &Pool) {
    // SAFETY: P3: a pool is dropped after its port let go of the driver, or leaked with it.
    unsafe { driver.provide(group, pool) }
}

/// A descriptor that a completion carried.
fn descriptor(number: u32) -> OwnedFd {
    // SAFETY: S4: the kernel has just made it for us, and the completion is seen once.
    unsafe { OwnedFd::from_raw_fd(number as RawFd) }
}
