//! The wakers of tasks: any thread may hold, clone, wake and drop them, also after the runtime is gone.
#![allow(unsafe_code)] // fence: the waker contract; W2 for the references

use std::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::raw::{Header, add_shared, release_shared, wake};
use crate::executor::context;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_raw, wake_raw, wake_by_ref_raw, drop_raw);

/// A waker that counts no reference: for the time of one poll, in which the turn holds one.
pub(super) fn borrowed(header: NonNull<Header>) -> impl Deref<Target = Waker> {
    // SAFETY: the functions of the table keep the contract of a waker; it is not dropped, so no reference is given back.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(header)) })
}

/// The task that `waker` wakes, if it is one of this thread's runtime.
pub(super) fn task_at_home(waker: &Waker) -> Option<NonNull<Header>> {
    if !std::ptr::eq(waker.vtable(), &VTABLE) {
        return None;
    }
    let header = from_raw(waker.data());
    // SAFETY: the waker keeps the header alive.
    let home = unsafe { header.as_ref() }.home();
    context::is_home(home).then_some(header)
}

pub(super) fn is_of(waker: &Waker, header: NonNull<Header>) -> bool {
    waker.data() == header.as_ptr().cast_const().cast() && std::ptr::eq(waker.vtable(), &VTABLE)
}

fn raw(header: NonNull<Header>) -> RawWaker {
    RawWaker::new(header.as_ptr().cast_const().cast(), &VTABLE)
}

fn from_raw(data: *const ()) -> NonNull<Header> {
    NonNull::new(data.cast_mut().cast()).expect("a waker of ours always has a task")
}

/// # Safety
/// As for all of a waker's functions: `data` is that of a live waker of ours.
unsafe fn clone_raw(data: *const ()) -> RawWaker {
    let header = from_raw(data);
    // SAFETY: the waker that is cloned keeps the header alive.
    unsafe { add_shared(header) };
    raw(header)
}

/// # Safety
/// As above.
unsafe fn wake_raw(data: *const ()) {
    // SAFETY: the waker lives until the next line.
    unsafe { wake_by_ref_raw(data) };
    // SAFETY: waking by value takes its reference along.
    unsafe { drop_raw(data) }
}

/// # Safety
/// As above.
unsafe fn wake_by_ref_raw(data: *const ()) {
    // SAFETY: the waker keeps the header alive.
    unsafe { wake(from_raw(data)) }
}

/// # Safety
/// As above.
unsafe fn drop_raw(data: *const ()) {
    let header = from_raw(data);
    // SAFETY: the waker still keeps the header alive.
    let home = unsafe { header.as_ref() }.home();
    // SAFETY: the waker's own reference goes.
    unsafe { release_shared(header, context::is_home(home)) }
}
