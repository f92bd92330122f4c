//! The seam: operations go in as data ([`Request`]), answers come out as data ([`Completion`]). Everything above is the
//! same code whatever interprets them. This is the one file that knows which interpreters there are.
//!
//! Nothing completes inside [`Driver::push`], and no task runs inside [`Driver::drain`].
#![allow(unsafe_code)] // fence: push and provide pass a promise of their caller on

mod asleep;
mod calls;
mod completion;
mod doorbell;
mod primitives;
mod request;
mod select;
#[cfg(feature = "testing")]
pub(crate) mod sim;
#[cfg(not(feature = "testing"))]
#[path = "no_sim.rs"]
mod sim;
mod uring;

use std::{io, time::Duration};

use crate::{
    buf::{Pool, PoolLayout},
    clock::Clock,
};

pub(crate) use calls::{Calls, Hearing, Held, Outside};
pub(crate) use completion::{Answer, Completion, GENERATION_MAX, INDEX_MAX, Token};
pub(crate) use doorbell::Doorbell;
pub(crate) use request::{CURRENT, Group, Interest, Request, transfer_len};
pub use select::DriverReport;
pub(crate) use select::{Config, Profile, select};
pub(crate) use sim::World;
use uring::Uring;

/// What carries out requests.
pub(crate) enum Driver {
    /// An io_uring instance.
    Uring(Box<Uring>),
    /// A simulated kernel. Without the feature `testing` there is no value of its type, and this variant costs nothing.
    Sim(World),
}

/// How long a turn may wait for a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: there is work.
    Not,
    /// No longer than this.
    AtMost(Duration),
    /// Until something completes or the doorbell rings.
    Forever,
}

impl Driver {
    /// Hands a request over, to be submitted with the next turn. It is never refused: what does not fit into the queue
    /// of the ring waits in one of ours, in order.
    ///
    /// # Safety
    /// S1: the memory the request points to stays valid, and the descriptor open, until the final completion.
    #[inline]
    pub(crate) unsafe fn push(&mut self, token: Token, request: &Request) {
        match self {
            // SAFETY: passed on to our caller.
            Driver::Uring(ring) => unsafe { ring.push(token, request) },
            // SAFETY: as above.
            Driver::Sim(world) => unsafe { world.push(token, request) },
        }
    }

    /// As `push`, for a send of `len` bytes in all that nobody waits for: when it goes well that is told only with the next
    /// turn that has something else to tell, so that a turn which waits does not end for it. What cannot be sent at once is
    /// answered at once: fewer bytes, or [`Answer::NotReady`].
    ///
    /// # Safety
    /// As for `push`.
    #[inline]
    pub(crate) unsafe fn push_quietly(&mut self, token: Token, request: &Request, len: u32) {
        match self {
            // SAFETY: passed on to our caller.
            Driver::Uring(ring) => unsafe { ring.push_quietly(token, request, len) },
            // SAFETY: as above.
            Driver::Sim(world) => unsafe { world.push_quietly(token, request) },
        }
    }

    /// Pushes what points to nothing: to try the way, and to measure it.
    pub(crate) fn push_nop(&mut self, token: Token) {
        // SAFETY: there is no memory and no descriptor to keep.
        unsafe { self.push(token, &Request::Nop) }
    }

    /// Asks for the end of an operation. Its own final completion tells what became of it.
    pub(crate) fn cancel(&mut self, target: Token) {
        match self {
            Driver::Uring(ring) => ring.cancel(target),
            Driver::Sim(world) => world.cancel(target),
        }
    }

    /// Submits everything, then waits. False when there was nothing to do, so that there is nothing to drain either. An
    /// error means that the driver can do no more.
    #[inline]
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        match self {
            Driver::Uring(ring) => ring.turn(wait),
            Driver::Sim(world) => world.turn(wait),
        }
    }

    /// Takes the completions that are there, at most as many as the completion queue holds.
    #[inline]
    pub(crate) fn drain(&mut self, sink: impl FnMut(Completion)) {
        match self {
            Driver::Uring(ring) => ring.drain(sink),
            Driver::Sim(world) => world.drain(sink),
        }
    }

    pub(crate) fn doorbell(&self) -> &Doorbell {
        match self {
            Driver::Uring(ring) => ring.doorbell(),
            Driver::Sim(world) => world.doorbell(),
        }
    }

    /// Lets the kernel receive into every free buffer of the pool.
    ///
    /// # Safety
    /// P3: the pool's memory stays until no operation can write to it.
    pub(crate) unsafe fn provide(&mut self, group: Group, pool: &Pool) {
        match self {
            // SAFETY: passed on to our caller.
            Driver::Uring(ring) => unsafe { ring.provide(group, pool) },
            // SAFETY: as above.
            Driver::Sim(world) => unsafe { world.provide(pool) },
        }
    }

    /// Makes room for `count` buffers of datagrams; false where these are received one at a time.
    pub(crate) fn open_datagrams(&mut self, count: u16) -> bool {
        match self {
            Driver::Uring(ring) => ring.open_datagrams(count),
            Driver::Sim(_) => false,
        }
    }

    /// The pool of streams this driver expects in [`Driver::provide`].
    pub(crate) fn pool_layout(&self) -> PoolLayout {
        match self {
            Driver::Uring(ring) => ring.pool_layout(),
            Driver::Sim(world) => world.pool_layout(),
        }
    }

    /// What this driver can, decided once.
    pub(crate) fn profile(&self) -> Profile {
        match self {
            Driver::Uring(ring) => ring.profile(),
            Driver::Sim(world) => world.profile(),
        }
    }

    pub(crate) fn report(&self) -> DriverReport {
        match self {
            Driver::Uring(ring) => ring.report(),
            Driver::Sim(world) => world.report(),
        }
    }

    /// The calls that go with this driver.
    pub(crate) fn calls(&self) -> Calls {
        match self {
            Driver::Uring(_) => Calls::Linux,
            Driver::Sim(world) => Calls::Sim(world.clone()),
        }
    }

    /// The clock that its waits go by.
    pub(crate) fn clock(&self) -> Clock {
        match self {
            Driver::Uring(_) => Clock::start(),
            Driver::Sim(world) => world.clock(),
        }
    }

    /// Ends the use of the pools. No operation may be in flight.
    pub(crate) fn forget_pool(&mut self) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.forget_pool(),
            Driver::Sim(world) => world.forget_pool(),
        }
    }
}
