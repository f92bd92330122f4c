//! Signals for whoever listens, in any number: a handler counts them and writes to the listeners' descriptors.
//!
//! Not a signalfd: that needs the signal blocked in every thread of the process, gives each signal to one reader alone, and
//! the blocking is handed down to children.
//!
//! - G1 The handler uses only atomics and write(2).
//! - G2 Places of listeners are never freed, only used again; and no descriptor is closed while a handler writes to it.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use nix::errno::Errno;

use super::interrupt;

/// Numbers that programs know by name.
pub(crate) mod number {
    pub(crate) const ALRM: i32 = libc::SIGALRM;
    pub(crate) const CHLD: i32 = libc::SIGCHLD;
    pub(crate) const CONT: i32 = libc::SIGCONT;
    pub(crate) const HUP: i32 = libc::SIGHUP;
    pub(crate) const INT: i32 = libc::SIGINT;
    pub(crate) const KILL: i32 = libc::SIGKILL;
    pub(crate) const PIPE: i32 = libc::SIGPIPE;
    pub(crate) const QUIT: i32 = libc::SIGQUIT;
    pub(crate) const STOP: i32 = libc::SIGSTOP;
    pub(crate) const TERM: i32 = libc::SIGTERM;
    pub(crate) const TSTP: i32 = libc::SIGTSTP;
    pub(crate) const USR1: i32 = libc::SIGUSR1;
    pub(crate) const USR2: i32 = libc::SIGUSR2;
    pub(crate) const WINCH: i32 = libc::SIGWINCH;
}

/// Signals have numbers from 1 up to this.
const NUMBER_MAX: usize = 64;

/// How often each one came while anybody listened.
static COUNTS: [AtomicU32; NUMBER_MAX + 1] = [const { AtomicU32::new(0) }; NUMBER_MAX + 1];

/// The first of the places; only added to.
static PLACES: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());

/// Which signals are caught, for how many listeners, and what was done with them before.
static CAUGHT: Mutex<Vec<Caught>> = Mutex::new(Vec::new());

/// Where the handler finds a listener.
struct Place {
    /// -1 while nobody has the place.
    fd: AtomicI32,
    /// One bit for each signal.
    wanted: AtomicU64,
    /// Handlers that may be writing to it.
    busy: AtomicU32,
    next: *const Place,
}

// SAFETY: `next` is set before the place is published, and never again.
unsafe impl Sync for Place {}

struct Caught {
    number: i32,
    listeners: usize,
    before: libc::sigaction,
}

/// Hears signals until it is dropped.
pub(crate) struct Listener {
    place: &'static Place,
    /// And how often each had come before.
    numbers: Vec<(i32, u32)>,
}

impl Listener {
    pub(crate) fn counts_before(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        self.numbers.iter().copied()
    }
}

fn bit(number: i32) -> u64 {
    1 << (number - 1)
}

/// How often a signal came; wraps around.
pub(crate) fn signal_count(number: i32) -> u32 {
    COUNTS[number as usize].load(SeqCst) // checked by `hear`
}

/// Empties a counter that the handler wrote to.
pub(crate) fn clear_counter(fd: BorrowedFd<'_>) {
    // EAGAIN: it was empty.
    let _ = nix::unistd::read(fd, &mut [0; 8]);
}

/// Writes to the counter `fd` whenever one of the signals comes, until the listener is dropped, which must be before the
/// counter is closed. They were [checked](check_heard).
pub(crate) fn hear(fd: BorrowedFd<'_>, numbers: Vec<i32>) -> io::Result<Listener> {
    let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
    let place = free_place();
    let wanted = numbers.iter().fold(0, |wanted, &number| wanted | bit(number));
    place.wanted.store(wanted, SeqCst);
    place.fd.store(fd.as_raw_fd(), SeqCst);
    let mut listener = Listener { place, numbers: Vec::new() };
    for number in numbers {
        let before = signal_count(number);
        if let Err(error) = begin(&mut caught, number) {
            drop(caught); // the listener takes the lock to end
            drop(listener);
            return Err(error);
        }
        listener.numbers.push((number, before));
    }
    Ok(listener)
}

/// A clear error for what cannot be heard.
pub(crate) fn check_heard(numbers: &[i32]) -> io::Result<()> {
    let Some(number) = numbers.iter().find(|&&number| !may_be_heard(number)) else { return Ok(()) };
    let text = format!("signal {number} cannot be waited for: the system keeps it to itself, or it is an error");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The handler of an error in the program would come back to that error for ever.
fn may_be_heard(number: i32) -> bool {
    let ours = 1..=NUMBER_MAX as i32;
    let refused =
        [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
    ours.contains(&number) && !refused.contains(&number)
}

/// A place that nobody has. The lock is held.
fn free_place() -> &'static Place {
    let first = PLACES.load(SeqCst);
    let mut next: *const Place = first;
    // SAFETY: G2: places are never freed.
    while let Some(place) = unsafe { next.as_ref() } {
        if place.fd.load(SeqCst) < 0 {
            return place;
        }
        next = place.next;
    }
    let (fd, wanted, busy) = (AtomicI32::new(-1), AtomicU64::new(0), AtomicU32::new(0));
    let place = Box::leak(Box::new(Place { fd, wanted, busy, next: first }));
    PLACES.store(place, SeqCst);
    place
}

/// One more listener of a signal.
fn begin(caught: &mut Vec<Caught>, number: i32) -> io::Result<()> {
    if let Some(known) = caught.iter_mut().find(|known| known.number == number) {
        known.listeners += 1;
        return Ok(());
    }
    // SAFETY: zeros are a valid, empty action to be filled in.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    let before = change(number, Some(&action))?;
    caught.push(Caught { number, listeners: 1, before });
    Ok(())
}

/// One listener less; with the last one, what was done before is done again.
fn end(caught: &mut Vec<Caught>, number: i32) {
    let Some(index) = caught.iter().position(|known| known.number == number) else { return };
    caught[index].listeners -= 1;
    if caught[index].listeners > 0 {
        return;
    }
    let mut known = caught.swap_remove(index);
    let ours = on_signal as extern "C" fn(libc::c_int) as usize;
    // Whoever has set another action since then keeps it. It cannot fail: it worked before.
    if change(number, None).is_ok_and(|now| now.sa_sigaction == ours) {
        if interrupt::is_over(known.before.sa_sigaction) {
            known.before.sa_sigaction = libc::SIG_DFL;
        }
        let _ = change(number, Some(&known.before));
    }
}

/// Sets an action, or only looks; gives the one before.
fn change(number: i32, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: zeros are a valid, empty action to be written over.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    let action: *const libc::sigaction = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: valid or null; G1 for our own handler.
    match unsafe { libc::sigaction(number, action, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// G1
extern "C" fn on_signal(number: libc::c_int) {
    let saved = Errno::last_raw();
    COUNTS[number as usize].fetch_add(1, SeqCst); // only installed for numbers in the table
    let mut next: *const Place = PLACES.load(SeqCst);
    // SAFETY: G2: places are never freed.
    while let Some(place) = unsafe { next.as_ref() } {
        place.busy.fetch_add(1, SeqCst);
        let fd: RawFd = place.fd.load(SeqCst);
        if fd >= 0 && place.wanted.load(SeqCst) & bit(number) != 0 {
            let one = 1u64;
            // SAFETY: eight readable bytes; G2 for the descriptor.
            unsafe { libc::write(fd, (&raw const one).cast(), size_of::<u64>()) };
        }
        place.busy.fetch_sub(1, SeqCst);
        next = place.next;
    }
    Errno::set_raw(saved);
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
        self.numbers.drain(..).for_each(|(number, _)| end(&mut caught, number));
        self.place.fd.store(-1, SeqCst);
        // G2: a handler that has seen the number is at its write now.
        while self.place.busy.load(SeqCst) > 0 {
            thread::yield_now();
        }
    }
}
