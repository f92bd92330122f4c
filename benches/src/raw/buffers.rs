//! A ring of buffers from which the kernel takes one when data arrives. Guards: giving a buffer back is two stores,
//! one published tail per sweep, and small messages do not all fall into the same cache set.

use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

/// The kernel's `IOU_PBUF_RING_INC` (6.12): a buffer is handed out in pieces, as much as each receive takes.
pub(crate) const INCREMENTAL: u16 = 2;
pub(crate) const GROUP: u16 = 0;

pub(crate) struct BufferRing {
    entries: Mapping,
    memory: Mapping,
    count: u16,
    buffer_len: u32,
    /// Not a power of two: buffers 16 KiB apart share their cache sets, and a message of 64 bytes uses one line of each.
    stride: usize,
    tail: u16,
}

impl BufferRing {
    /// `count` is a power of two. All buffers belong to the kernel afterwards.
    pub(crate) fn new(submitter: &Submitter<'_>, count: u16, buffer_len: u32, flags: u16) -> io::Result<BufferRing> {
        assert!(count.is_power_of_two());
        let stride = buffer_len as usize + 3 * 64;
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(count) * stride)?;
        // SAFETY: `entries` is page-aligned, holds `count` entries and outlives the ring's use of it: owners keep the
        // BufferRing until every receive has had its last completion.
        unsafe { submitter.register_buf_ring_with_flags(entries.start.as_ptr() as u64, count, GROUP, flags) }?;
        let mut ring = BufferRing { entries, memory, count, buffer_len, stride, tail: 0 };
        for id in 0..count {
            ring.give(id);
        }
        ring.publish();
        Ok(ring)
    }

    /// Hands a whole buffer to the kernel; it sees it after `publish`.
    #[inline]
    pub(crate) fn give(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: index < count, so the entry lies within the mapping; the kernel reads it only once it is published.
        // The entry's last field is the tail in entry 0 and is not touched.
        let mut entry = unsafe { self.entries.start.cast::<BufRingEntry>().add(index) };
        // SAFETY: as above, and the kernel only reads.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(self.buffer_len);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    pub(crate) fn publish(&mut self) {
        // SAFETY: the mapping holds at least one entry, whose spare field is the tail.
        let tail = unsafe { BufRingEntry::tail(self.entries.start.cast().as_ptr()) };
        // SAFETY: the tail is an aligned u16 in a live mapping, and this is its only writer.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// The start of a buffer.
    #[inline]
    pub(crate) fn address(&self, id: u16) -> *mut u8 {
        assert!(id < self.count);
        // SAFETY: id < count, and `memory` holds `count` strides.
        unsafe { self.memory.start.as_ptr().add(usize::from(id) * self.stride) }
    }

    /// # Safety
    /// The kernel has completed a receive of `len` bytes into buffer `id`, which was not given back since.
    #[inline]
    pub(crate) unsafe fn received(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= self.buffer_len as usize);
        // SAFETY: within one buffer; the kernel does not write to it again before `give`.
        unsafe { std::slice::from_raw_parts(self.address(id), len) }
    }
}

/// Anonymous zeroed pages, unmapped with their owner.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Mapping> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at null"))?;
        Ok(Mapping { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; nothing else unmaps it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
