//! Signals that hit the thread of a runtime. For tests that run [`alone`](super::alone): dispositions are the process's.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use nix::{
    sys::{
        signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction},
        timer::{Expiration, Timer, TimerSetTimeFlags},
    },
    time::ClockId,
    unistd::gettid,
};

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: nix::libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

/// While it lives, this thread gets a signal every so often, without SA_RESTART.
pub(crate) struct Storm {
    _timer: Timer,
}

impl Storm {
    pub(crate) fn begin(every: Duration) -> Storm {
        let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing but count in an atomic.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("SIGUSR1 can be caught");
        let notify = SigevNotify::SigevThreadId { signal: Signal::SIGUSR1, thread_id: gettid().as_raw(), si_value: 0 };
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify)).expect("a timer");
        timer.set(Expiration::Interval(every.into()), TimerSetTimeFlags::empty()).expect("a timer");
        Storm { _timer: timer }
    }

    /// How many signals came so far.
    pub(crate) fn caught(&self) -> usize {
        CAUGHT.load(Ordering::Relaxed)
    }
}

/// SIGPIPE ends the process again, as in a program that is not written in Rust.
pub(crate) fn default_sigpipe() {
    act(Signal::SIGPIPE, SigHandler::SigDfl);
}

/// What a shell without job control has its background processes ignore does again what it does by default.
pub(crate) fn default_sigint() {
    act(Signal::SIGINT, SigHandler::SigDfl);
}

/// The system reaps the children of this process by itself.
pub(crate) fn ignore_sigchld() {
    act(Signal::SIGCHLD, SigHandler::SigIgn);
}

fn act(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action, and ignoring, run no code of ours.
    unsafe { sigaction(signal, &action) }.expect("a signal that can be set");
}
