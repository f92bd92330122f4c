//! Memory of tasks: made of any size, and kept for the next task of about the same size.
#![allow(unsafe_code)] // fence: memory is in a list of spares only while nobody uses it

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::Cell,
    ptr::NonNull,
};

/// Memory of tasks that are over, by size, for the next ones.
pub(in crate::executor) struct Spares {
    classes: [Class; CLASSES_MAX],
    /// Of all that is kept.
    bytes: Cell<usize>,
}

/// Memory of one size: each piece begins with the address of the next.
#[derive(Default)]
struct Class {
    top: Cell<Option<NonNull<Spare>>>,
}

struct Spare {
    next: Option<NonNull<Spare>>,
}

/// Sizes are rounded up to this, and kept up to that many of them.
const CLASS_BYTES: usize = 32;
const CLASSES_MAX: usize = 64;

/// As much as ten thousand small tasks take: that many may come and go without the allocator.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;
const SPARE_ALIGN: usize = 16;

/// Rounded up, so that tasks of about the same size share their memory in turn.
pub(super) const fn layout_of<T>() -> Layout {
    let align = if align_of::<T>() > SPARE_ALIGN { align_of::<T>() } else { SPARE_ALIGN };
    match Layout::from_size_align(size_of::<T>().next_multiple_of(CLASS_BYTES), align) {
        Ok(layout) => layout,
        Err(_) => panic!("the body of a task is larger than memory"),
    }
}

/// Where `Spares` keeps memory of this layout.
pub(super) const fn class_of(layout: Layout) -> usize {
    if layout.align() == SPARE_ALIGN { layout.size() / CLASS_BYTES } else { CLASSES_MAX }
}

impl Default for Spares {
    fn default() -> Spares {
        Spares { classes: std::array::from_fn(|_| Class::default()), bytes: Cell::new(0) }
    }
}

impl Spares {
    #[inline]
    pub(super) fn take(&self, layout: Layout, class: usize) -> NonNull<u8> {
        if let Some(spare) = self.classes.get(class).and_then(Class::pop) {
            self.bytes.set(self.bytes.get() - layout.size());
            return spare;
        }
        // SAFETY: a cell is never empty: it has a header.
        let memory = unsafe { alloc(layout) };
        NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Keeps memory for a next task; false when there is enough of it. It belongs to a task of this class that is over.
    #[inline]
    pub(super) fn keep(&self, memory: NonNull<u8>, class: usize) -> bool {
        let bytes = self.bytes.get() + class * CLASS_BYTES;
        let Some(class) = self.classes.get(class).filter(|_| bytes <= KEPT_BYTES_MAX) else { return false };
        self.bytes.set(bytes);
        class.push(memory.cast());
        true
    }
}

impl Class {
    #[inline]
    fn push(&self, memory: NonNull<Spare>) {
        // SAFETY: the memory is nobody's any more, and large and aligned enough: it held a header.
        unsafe { memory.write(Spare { next: self.top.get() }) };
        self.top.set(Some(memory));
    }

    #[inline]
    fn pop(&self) -> Option<NonNull<u8>> {
        let spare = self.top.get()?;
        // SAFETY: written when it was put here.
        self.top.set(unsafe { spare.as_ref() }.next);
        Some(spare.cast())
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for (class, spares) in self.classes.iter().enumerate() {
            let layout = Layout::from_size_align(class * CLASS_BYTES, SPARE_ALIGN).expect("it was one before");
            while let Some(memory) = spares.pop() {
                // SAFETY: only memory of this layout is kept in this class.
                unsafe { dealloc(memory.as_ptr(), layout) }
            }
        }
    }
}
