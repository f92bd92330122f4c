//! One operation's life (see the module above for the picture). Decides; the caller acts.
#![allow(unsafe_code)] // fence: the only place that frees what was lent

use std::{
    any::TypeId,
    mem::{ManuallyDrop, MaybeUninit},
    os::fd::RawFd,
    rc::Rc,
    task::Waker,
};

use super::{Acceptor, Child, Datagrams, Operation, Socket};
use crate::driver::{Completion, Request};

/// Where an operation stands that a future waits for.
pub(super) enum State {
    /// The future waits.
    InFlight { lent: Lent, waker: Option<Waker> },
    /// It has ended; the future has not looked yet.
    Done { lent: Lent, completion: Completion },
    /// The future is gone; the kernel is not done.
    Abandoned { lent: Lent },
}

/// Whose operation it is when no future waits for it.
#[derive(Clone)]
pub(super) enum Owner {
    Receive(Rc<Socket>),
    Send(Rc<Socket>),
    Accept(Rc<Acceptor>),
    Datagram(Rc<Datagrams>),
    Exit(Rc<Child>),
}

impl Owner {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Owner::Receive(_) => "recv",
            Owner::Send(_) => "send",
            Owner::Accept(_) => "accept",
            Owner::Datagram(_) => "recvmsg",
            Owner::Exit(_) => "exit of a child",
        }
    }
}

/// What a completion or a drop leads to. The caller acts on it when nothing is borrowed any more.
#[must_use]
pub(super) enum Finished {
    /// Somebody waits.
    Wake(Waker),
    /// Nobody waits: the operation itself sees to what the kernel gave.
    Orphan(Lent, Completion),
    /// Nothing to do.
    Nothing,
}

/// What an operation lent, whatever its type: stored in place when it is small, so that an operation allocates nothing.
pub(super) struct Lent {
    words: [MaybeUninit<usize>; WORDS],
    table: &'static Table,
}

/// Enough for a buffer (a `Bytes` has four words), a reference to the socket and a counter.
const WORDS: usize = 6;

struct Table {
    of: fn() -> TypeId,
    name: &'static str,
    descriptor: unsafe fn(*const ()) -> Option<RawFd>,
    request: unsafe fn(*mut ()) -> Request,
    orphan: unsafe fn(*mut (), Completion),
    drop: unsafe fn(*mut ()),
}

/// The words hold the operation itself, or a box of it.
const fn in_place<T>() -> bool {
    size_of::<T>() <= size_of::<[usize; WORDS]>() && align_of::<T>() <= align_of::<usize>()
}

impl Lent {
    pub(super) fn new<T: Operation>(operation: T) -> Lent {
        let mut lent = Lent { words: [MaybeUninit::uninit(); WORDS], table: const { &table_of::<T>() } };
        let words = lent.words.as_mut_ptr();
        if in_place::<T>() {
            // SAFETY: `in_place` says that it fits, in size and alignment.
            unsafe { words.cast::<T>().write(operation) };
        } else {
            // SAFETY: a box is one word.
            unsafe { words.cast::<Box<T>>().write(Box::new(operation)) };
        }
        lent
    }

    pub(super) fn name(&self) -> &'static str {
        self.table.name
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        // SAFETY: the table was made for the type in the words.
        unsafe { (self.table.descriptor)(self.words.as_ptr().cast()) }
    }

    pub(super) fn request(&mut self) -> Request {
        // SAFETY: the table was made for the type in the words.
        unsafe { (self.table.request)(self.words.as_mut_ptr().cast()) }
    }

    /// The operation, typed again.
    pub(super) fn take<T: Operation>(self) -> T {
        let mut lent = ManuallyDrop::new(self);
        assert!((lent.table.of)() == TypeId::of::<T>(), "a slot holds another operation than its future");
        // SAFETY: the line above says that it is a `T`; `lent` is not used again.
        unsafe { read::<T>(lent.words.as_mut_ptr().cast()) }
    }

    pub(super) fn orphan(self, completion: Completion) {
        let mut lent = ManuallyDrop::new(self);
        // SAFETY: the table was made for the type in the words, which are not used again.
        unsafe { (lent.table.orphan)(lent.words.as_mut_ptr().cast(), completion) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: the table was made for the type in the words, which are not used again.
        unsafe { (self.table.drop)(self.words.as_mut_ptr().cast()) }
    }
}

const fn table_of<T: Operation>() -> Table {
    /// # Safety
    /// As for the table's entries: `words` holds a `T`, in place or boxed.
    unsafe fn descriptor<T: Operation>(words: *const ()) -> Option<RawFd> {
        let operation: *const T = if in_place::<T>() {
            words.cast()
        } else {
            // SAFETY: then the words hold a box.
            let boxed = unsafe { &*words.cast::<Box<T>>() };
            &raw const **boxed
        };
        // SAFETY: it is alive, and nobody changes it meanwhile.
        unsafe { &*operation }.descriptor()
    }
    /// # Safety
    /// As for the table's entries: `words` holds a `T`, in place or boxed.
    unsafe fn request<T: Operation>(words: *mut ()) -> Request {
        let operation: *mut T = if in_place::<T>() {
            words.cast()
        } else {
            // SAFETY: then the words hold a box.
            let boxed = unsafe { &mut *words.cast::<Box<T>>() };
            &raw mut **boxed
        };
        // SAFETY: it is alive, and nobody else refers to it.
        unsafe { &mut *operation }.request()
    }
    /// # Safety
    /// As above; the words are not used again.
    unsafe fn orphan<T: Operation>(words: *mut (), completion: Completion) {
        // SAFETY: passed on.
        unsafe { read::<T>(words) }.orphan(completion);
    }
    /// # Safety
    /// As above; the words are not used again.
    unsafe fn free<T: Operation>(words: *mut ()) {
        // SAFETY: passed on.
        drop(unsafe { read::<T>(words) });
    }
    Table {
        of: TypeId::of::<T>,
        name: T::NAME,
        descriptor: descriptor::<T>,
        request: request::<T>,
        orphan: orphan::<T>,
        drop: free::<T>,
    }
}

/// # Safety
/// `words` holds a `T`, in place or boxed, and is not used again.
unsafe fn read<T>(words: *mut ()) -> T {
    if in_place::<T>() {
        // SAFETY: passed on.
        unsafe { words.cast::<T>().read() }
    } else {
        // SAFETY: passed on.
        *unsafe { words.cast::<Box<T>>().read() }
    }
}

impl State {
    /// The final completion came: what is left in the slot, and what follows.
    pub(super) fn finish(state: Option<State>, completion: Completion) -> (Option<State>, Finished) {
        match state {
            Some(State::InFlight { lent, waker }) => {
                (Some(State::Done { lent, completion }), waker.map_or(Finished::Nothing, Finished::Wake))
            }
            Some(State::Abandoned { lent }) => (None, Finished::Orphan(lent, completion)),
            // A second final completion: forged. The first one counts.
            kept @ (Some(State::Done { .. }) | None) => (kept, Finished::Nothing),
        }
    }

    /// The future is gone: what is left in the slot, and what follows.
    pub(super) fn abandon(state: Option<State>) -> (Option<State>, Finished) {
        match state {
            Some(State::InFlight { lent, .. }) => (Some(State::Abandoned { lent }), Finished::Nothing),
            Some(State::Done { lent, completion }) => (None, Finished::Orphan(lent, completion)),
            kept @ (Some(State::Abandoned { .. }) | None) => (kept, Finished::Nothing),
        }
    }

    pub(super) fn into_done(self) -> Option<(Lent, Completion)> {
        match self {
            State::Done { lent, completion } => Some((lent, completion)),
            State::InFlight { .. } | State::Abandoned { .. } => None,
        }
    }

    pub(super) fn lent_mut(&mut self) -> &mut Lent {
        match self {
            State::InFlight { lent, .. } | State::Abandoned { lent } | State::Done { lent, .. } => lent,
        }
    }

    /// The operation, and who waits for it.
    pub(super) fn waiting(&self) -> Option<(&Lent, &Waker)> {
        match self {
            State::InFlight { lent, waker } => Some((lent, waker.as_ref()?)),
            State::Done { .. } | State::Abandoned { .. } => None,
        }
    }

    /// What the kernel still works on, by name.
    pub(super) fn in_kernel(&self) -> Option<&'static str> {
        match self {
            State::InFlight { lent, .. } | State::Abandoned { lent } => Some(lent.name()),
            State::Done { .. } => None,
        }
    }
}
