//! The runtime of this thread, while it runs. A plain pointer without a destructor, so that code which runs while a
//! thread ends finds nothing rather than something half gone.
#![allow(unsafe_code)] // fence: the pointer is set by `enter` alone

use std::{alloc::Layout, cell::Cell, marker::PhantomData, ptr, ptr::NonNull, rc::Rc};

use super::{TaskRef, inbox::Inbox, runtime::Runtime};
use crate::scope::{Entered, Scope};

thread_local! {
    static CURRENT: Cell<*const Runtime> = const { Cell::new(ptr::null()) };
}

/// While it lives, `runtime` is this thread's.
pub(super) struct Inside<'a> {
    _runtime: PhantomData<&'a Runtime>,
}

/// `None` when a runtime runs on this thread already.
pub(super) fn enter(runtime: &Runtime) -> Option<Inside<'_>> {
    if !CURRENT.get().is_null() {
        return None;
    }
    CURRENT.set(runtime);
    Some(Inside { _runtime: PhantomData })
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// Calls `with` with this thread's runtime, if one runs.
#[inline]
pub(crate) fn try_with<R>(with: impl FnOnce(&Runtime) -> R) -> Option<R> {
    // SAFETY: `Inside` borrows the runtime for as long as the pointer is set.
    let runtime = unsafe { CURRENT.get().as_ref() }?;
    Some(with(runtime))
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
        None => panic!("no ringio runtime runs on this thread; call this inside `ringio::run(async {{ .. }})`"),
    }
}

#[inline]
pub(crate) fn with_task<R>(with: impl FnOnce(&TaskRef, Option<&Rc<Scope>>) -> R) -> Option<R> {
    try_with(|runtime| {
        let task = runtime.current.borrow();
        let scope = runtime.scope.borrow();
        task.as_ref().map(|task| with(task, scope.as_ref()))
    })?
}

pub(crate) fn current_task() -> Option<TaskRef> {
    try_with(|runtime| runtime.current.borrow().clone())?
}

pub(crate) fn current_scope() -> Option<Rc<Scope>> {
    try_with(|runtime| runtime.scope.borrow().clone())?
}

/// Polls something in a scope.
pub(crate) fn in_scope<R>(scope: &Rc<Scope>, poll: impl FnOnce() -> R) -> R {
    with(|runtime| {
        let _entered = Entered::new(&runtime.scope, scope.clone());
        poll()
    })
}

pub(crate) fn next_request() -> u64 {
    with(Runtime::next_request)
}

#[inline]
pub(super) fn push_ready(task: TaskRef) {
    // Without a runtime there is nobody to run it: between two runs of a `Runner` the inbox takes it.
    try_with(|runtime| runtime.ready.borrow_mut().push_back(task));
}

/// Whether `home` belongs to the runtime that runs on this thread.
#[inline]
pub(super) fn is_home(home: NonNull<Inbox>) -> bool {
    try_with(|runtime| ptr::eq(home.as_ptr(), &*runtime.inbox)).unwrap_or(false)
}

#[inline]
pub(super) fn keep_spare(memory: NonNull<u8>, layout: Layout) -> bool {
    try_with(|runtime| runtime.spares.keep(memory, layout)).unwrap_or(false)
}
