//! One operation's life (see the module above for the picture). Decides; the caller acts.
#![allow(unsafe_code)] // fence: the only place that frees what was lent

use std::{
    any::TypeId,
    mem::{ManuallyDrop, MaybeUninit},
    rc::Rc,
    task::Waker,
};

use super::{Acceptor, Operation, Socket};
use crate::driver::{Completion, Request};

/// Where an operation stands.
pub(super) enum State {
    /// Nothing here; the next vacant slot.
    Vacant { next: u32 },
    /// A future waits.
    InFlight { lent: Lent, waker: Option<Waker> },
    /// It has ended; the future has not looked yet.
    Done { lent: Lent, completion: Completion },
    /// The future is gone; the kernel is not done.
    Abandoned { lent: Lent },
    /// It belongs to a socket or a listener.
    Standing(Owner),
}

/// Whose operation it is when no future waits for it.
#[derive(Clone)]
pub(super) enum Owner {
    Receive(Rc<Socket>),
    Send(Rc<Socket>),
    Accept(Rc<Acceptor>),
}

impl Owner {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Owner::Receive(_) => "recv",
            Owner::Send(_) => "send",
            Owner::Accept(_) => "accept",
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
    /// The owner's answer.
    Answer(Owner, Completion),
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
    Table { of: TypeId::of::<T>, name: T::NAME, request: request::<T>, orphan: orphan::<T>, drop: free::<T> }
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
    /// A completion came. Leaves `Vacant` (with no successor yet) behind when the slot is free again.
    pub(super) fn finish(&mut self, completion: Completion) -> Finished {
        if completion.more() {
            return match self {
                State::Standing(owner) => Finished::Answer(owner.clone(), completion),
                // One-shot operations answer once; an early answer tells nothing.
                State::InFlight { .. } | State::Abandoned { .. } | State::Done { .. } | State::Vacant { .. } => {
                    Finished::Nothing
                }
            };
        }
        match std::mem::replace(self, State::Vacant { next: 0 }) {
            State::InFlight { lent, waker } => {
                *self = State::Done { lent, completion };
                waker.map_or(Finished::Nothing, Finished::Wake)
            }
            State::Abandoned { lent } => Finished::Orphan(lent, completion),
            State::Standing(owner) => Finished::Answer(owner, completion),
            // A second final completion: forged. The first one counts.
            kept @ (State::Done { .. } | State::Vacant { .. }) => {
                *self = kept;
                Finished::Nothing
            }
        }
    }

    /// The future is gone. True when the kernel has to be asked to end the operation.
    pub(super) fn abandon(&mut self) -> (Finished, bool) {
        match std::mem::replace(self, State::Vacant { next: 0 }) {
            State::InFlight { lent, .. } => {
                *self = State::Abandoned { lent };
                (Finished::Nothing, true)
            }
            State::Done { lent, completion } => (Finished::Orphan(lent, completion), false),
            kept @ (State::Abandoned { .. } | State::Standing(_) | State::Vacant { .. }) => {
                *self = kept;
                (Finished::Nothing, false)
            }
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        matches!(self, State::Vacant { .. })
    }

    /// What the kernel still works on, by name.
    pub(super) fn in_kernel(&self) -> Option<&'static str> {
        match self {
            State::InFlight { lent, .. } | State::Abandoned { lent } => Some(lent.name()),
            State::Standing(owner) => Some(owner.name()),
            State::Vacant { .. } | State::Done { .. } => None,
        }
    }
}
