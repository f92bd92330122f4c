//! How many bytes and allocations does a task cost? Guards: one allocation per task. Counts only while asked to, so
//! that the other figures do not pay for it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

pub(crate) struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocated {
    pub(crate) calls: u64,
    /// Bytes more than before.
    pub(crate) growth: i64,
}

pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    for counter in [&CALLS, &ALLOCATED, &FREED] {
        counter.store(0, Relaxed);
    }
    COUNTS.store(true, Relaxed);
    let value = work();
    COUNTS.store(false, Relaxed);
    let growth = ALLOCATED.load(Relaxed).wrapping_sub(FREED.load(Relaxed)) as i64;
    (value, Allocated { calls: CALLS.load(Relaxed), growth })
}

fn count_allocated(bytes: usize) {
    if COUNTS.load(Relaxed) {
        CALLS.fetch_add(1, Relaxed);
        ALLOCATED.fetch_add(bytes as u64, Relaxed);
    }
}

fn count_freed(bytes: usize) {
    if COUNTS.load(Relaxed) {
        FREED.fetch_add(bytes as u64, Relaxed);
    }
}

// SAFETY: every call is passed on to System unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocated(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocated(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_allocated(new_size);
        count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_counts_what_was_allocated() {
        // Other tests may allocate meanwhile: at least this call.
        let (kept, allocated) = during(|| vec![0_u8; 4096]);
        assert!(allocated.calls >= 1, "{allocated:?} {}", kept.len());
    }
}
