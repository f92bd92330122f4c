//! Signals. Ctrl-C: the first one is counted and rings a doorbell, the second one is given back to the system. SIGPIPE:
//! a write to a pipe that nobody reads is an error, never the end of the process.

use std::{
    io,
    os::fd::RawFd,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigaction};

/// Ctrl-C presses since the handler was installed.
static PRESSED: AtomicU32 = AtomicU32::new(0);

/// The descriptor to write to; -1 while no handler is installed.
static DOORBELL: AtomicI32 = AtomicI32::new(-1);

/// How often Ctrl-C was pressed since [`CtrlC::install`].
pub(crate) fn interrupts() -> u32 {
    PRESSED.load(Ordering::Acquire)
}

/// The handler, as long as this lives.
pub(crate) struct CtrlC {
    _only_here: (),
}

impl CtrlC {
    /// `None` where it is not ours to handle: another thread than the first, or somebody already handles it.
    pub(crate) fn install(doorbell: RawFd) -> io::Result<Option<CtrlC>> {
        if nix::unistd::gettid() != nix::unistd::getpid() || !has_default_action()? {
            return Ok(None);
        }
        PRESSED.store(0, Ordering::Release);
        DOORBELL.store(doorbell, Ordering::Release);
        set_action(SigHandler::Handler(on_interrupt))?;
        Ok(Some(CtrlC { _only_here: () }))
    }
}

/// Whether this is our handler, and nobody is there any more whom it could tell.
pub(super) fn is_over(handler: libc::sighandler_t) -> bool {
    handler == on_interrupt as extern "C" fn(libc::c_int) as usize && DOORBELL.load(Ordering::Acquire) < 0
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        // Somebody may have put another handler in its place, who puts this one back when it is done: then see `is_over`.
        if handler().is_ok_and(|now| now == on_interrupt as extern "C" fn(libc::c_int) as usize) {
            // Cannot fail: the same call worked in `install`.
            let _ = set_action(SigHandler::SigDfl);
        }
        DOORBELL.store(-1, Ordering::Release);
        PRESSED.store(0, Ordering::Release);
    }
}

/// Only what is safe in a signal handler: atomics, write(2), sigaction(2), raise(3).
extern "C" fn on_interrupt(_: libc::c_int) {
    if PRESSED.fetch_add(1, Ordering::AcqRel) > 0 {
        // The second one: whoever pressed it wants the end, even of a loop that never looks.
        let _ = set_action(SigHandler::SigDfl);
        let _ = raise(Signal::SIGINT);
        return;
    }
    let doorbell: RawFd = DOORBELL.load(Ordering::Acquire);
    if doorbell >= 0 {
        let saved = nix::errno::Errno::last_raw();
        let one = 1u64;
        // SAFETY: eight readable bytes. The descriptor stays open as long as the handler is installed.
        unsafe { libc::write(doorbell, (&raw const one).cast(), size_of::<u64>()) };
        nix::errno::Errno::set_raw(saved);
    }
}

fn set_action(handler: SigHandler) -> io::Result<SigAction> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `on_interrupt` does only what is allowed in a handler.
    Ok(unsafe { sigaction(Signal::SIGINT, &action) }?)
}

fn has_default_action() -> io::Result<bool> {
    Ok(handler()? == libc::SIG_DFL)
}

/// What happens at Ctrl-C.
fn handler() -> io::Result<libc::sighandler_t> {
    // SAFETY: zeros are a valid, empty action to be written over.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks without changing: the new action is null.
    if unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.sa_sigaction)
}

/// While it lives, this thread gets no SIGPIPE: a write through the ring to a pipe or socket raises it in whoever
/// submits, and knows no MSG_NOSIGNAL.
pub(crate) struct QuietPipes {
    _this_thread: std::marker::PhantomData<*const ()>,
}

impl QuietPipes {
    /// `None` when the thread does not get it anyway.
    pub(crate) fn begin() -> Option<QuietPipes> {
        let only = only_sigpipe();
        let before = only.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
        (!before.contains(Signal::SIGPIPE)).then_some(QuietPipes { _this_thread: std::marker::PhantomData })
    }
}

impl Drop for QuietPipes {
    fn drop(&mut self) {
        let only = only_sigpipe();
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // Those that were raised meanwhile are ours: taken back before they could be delivered.
        // SAFETY: the set and the time are valid, and nothing is asked about the signal.
        while unsafe { libc::sigtimedwait(only.as_ref(), std::ptr::null_mut(), &raw const at_once) } >= 0 {}
        let _ = only.thread_unblock();
    }
}

fn only_sigpipe() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    set
}
