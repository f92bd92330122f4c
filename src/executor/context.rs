//! The runtime of this thread, while it runs. A plain pointer without a destructor, so that code which runs while a
//! thread ends finds nothing rather than something half gone.
#![allow(unsafe_code)] // fence: the pointer is set by `enter` alone

use std::{cell::Cell, marker::PhantomData, ptr, ptr::NonNull, rc::Rc};

use super::{TaskRef, inbox::Inbox, runtime::Runtime};
use crate::{scope::Scope, sys::QuietPipes};

thread_local! {
    static CURRENT: Cell<*const Runtime> = const { Cell::new(ptr::null()) };
    /// The first of this thread's runtimes, running or not.
    static ALIVE: Cell<*const Runtime> = const { Cell::new(ptr::null()) };
}

/// While it lives, `runtime` is this thread's.
pub(super) struct Inside<'a> {
    _runtime: PhantomData<&'a Runtime>,
    _quiet: Option<QuietPipes>,
}

/// `None` when a runtime runs on this thread already.
pub(super) fn enter(runtime: &Runtime) -> Option<Inside<'_>> {
    if !CURRENT.get().is_null() {
        return None;
    }
    CURRENT.set(runtime);
    let quiet = if runtime.port.calls().world().is_some() { None } else { QuietPipes::begin() };
    Some(Inside { _runtime: PhantomData, _quiet: quiet })
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// A runtime's place in the list of those that this thread has.
#[derive(Default)]
pub(super) struct Alive {
    next: Cell<*const Runtime>,
}

impl Alive {
    /// Puts a runtime into the list, where it is found until [`Alive::end`].
    pub(super) fn begin(runtime: &Runtime) {
        runtime.alive.next.set(ALIVE.replace(runtime));
    }

    /// Takes it out again; it does nothing for one that is not in the list.
    pub(super) fn end(runtime: &Runtime) {
        ALIVE.with(|first| {
            let mut link: &Cell<*const Runtime> = first;
            // SAFETY: everything in the list is alive: it is taken out before it goes.
            while let Some(other) = unsafe { link.get().as_ref() } {
                if ptr::eq(other, runtime) {
                    return link.set(other.alive.next.get());
                }
                link = &other.alive.next;
            }
        });
    }
}

/// Something that is lent out for the time of a call.
pub(super) struct Lent<T>(Cell<*const T>);

/// What was lent before comes back.
struct Back<'a, T>(&'a Cell<*const T>, *const T);

impl<T> Drop for Back<'_, T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

impl<T> Default for Lent<T> {
    fn default() -> Lent<T> {
        Lent(Cell::new(ptr::null()))
    }
}

impl<T> Lent<T> {
    /// Lends `value` to whoever asks during `call`; what was lent before comes back after it, even if that panics.
    #[inline]
    pub(super) fn during<R>(&self, value: &T, call: impl FnOnce() -> R) -> R {
        let _back = Back(&self.0, self.0.replace(value));
        call()
    }

    /// Lends nothing during `call`.
    pub(super) fn without<R>(&self, call: impl FnOnce() -> R) -> R {
        let _back = Back(&self.0, self.0.replace(ptr::null()));
        call()
    }

    #[inline]
    pub(super) fn with<R>(&self, with: impl FnOnce(Option<&T>) -> R) -> R {
        // SAFETY: `during` borrows the value for as long as the pointer is set, and cannot end before `with` does.
        with(unsafe { self.0.get().as_ref() })
    }
}

/// Calls `with` with this thread's runtime, if one runs.
#[inline]
pub(crate) fn try_with<R>(with: impl FnOnce(&Runtime) -> R) -> Option<R> {
    // SAFETY: `Inside` borrows the runtime for as long as the pointer is set.
    let runtime = unsafe { CURRENT.get().as_ref() }?;
    Some(with(runtime))
}

/// Whether a runtime runs on this thread.
#[inline]
pub(crate) fn is_inside() -> bool {
    !CURRENT.get().is_null()
}

/// Calls `with` with this thread's runtime.
///
/// # Panics
/// When none runs: a bug of the caller's.
#[track_caller]
#[inline]
pub(crate) fn with<R>(with: impl FnOnce(&Runtime) -> R) -> R {
    match try_with(with) {
        Some(result) => result,
        None => panic!(
            "no ringio runtime runs on this thread; call this inside `ringio::run(async {{ .. }})`, or have the thread of a              loop do it (`LoopHandle::call_soon`, `run_coroutine_threadsafe`)"
        ),
    }
}

#[inline]
pub(crate) fn with_task<R>(with: impl FnOnce(&Runtime, &TaskRef, Option<&Rc<Scope>>) -> R) -> Option<R> {
    try_with(|runtime| {
        runtime.current.with(|task| task.map(|task| runtime.scope.with(|scope| with(runtime, task, scope))))
    })?
}

pub(crate) fn current_task() -> Option<TaskRef> {
    try_with(|runtime| runtime.current.with(|task| task.cloned()))?
}

/// Takes one from the budget of the task that runs (S4). Outside of a runtime there is none to keep.
#[inline]
pub(crate) fn spend() -> bool {
    try_with(|runtime| runtime.spend()).unwrap_or(true)
}

/// Polls something in a scope.
pub(crate) fn in_scope<R>(scope: &Rc<Scope>, poll: impl FnOnce() -> R) -> R {
    with(|runtime| runtime.scope.during(scope, poll))
}

#[inline]
pub(super) fn push_ready(home: NonNull<Inbox>, task: TaskRef) {
    with_home(home, |runtime| runtime.ready.push(task));
}

/// Calls `with` with the runtime that `home` belongs to, if it is one of this thread's, whether it runs now or not.
#[inline]
pub(super) fn with_home<R>(home: NonNull<Inbox>, with: impl FnOnce(&Runtime) -> R) -> Option<R> {
    let is_home = |runtime: &Runtime| ptr::eq(home.as_ptr(), &*runtime.inbox);
    let mut next = CURRENT.get();
    // SAFETY: `Inside` borrows the runtime for as long as the pointer is set.
    if let Some(runtime) = unsafe { next.as_ref() }
        && is_home(runtime)
    {
        return Some(with(runtime));
    }
    next = ALIVE.get();
    // SAFETY: `Alive` takes a runtime out of the list before it goes.
    while let Some(runtime) = unsafe { next.as_ref() } {
        if is_home(runtime) {
            return Some(with(runtime));
        }
        next = runtime.alive.next.get();
    }
    None
}

/// Whether `home` belongs to the runtime that runs on this thread.
#[inline]
pub(super) fn is_home(home: NonNull<Inbox>) -> bool {
    try_with(|runtime| ptr::eq(home.as_ptr(), &*runtime.inbox)).unwrap_or(false)
}
