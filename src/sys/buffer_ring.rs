//! The ring of provided buffers: how the kernel is told which buffers it may receive into.

use std::{
    io,
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use super::Ring;

/// IOU_PBUF_RING_INC (6.12): the kernel fills a buffer piece by piece instead of one message a buffer.
const INCREMENTAL: u16 = 2;

/// Registered with one [`Ring`], which must be told to forget it before this is dropped.
pub(crate) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    group: u16,
    count: u16,
    tail: u16,
}

impl BufferRing {
    /// As `group`, which no other has; `count` is a power of two.
    pub(crate) fn register(ring: &Ring, group: u16, count: u16, incremental: bool) -> io::Result<BufferRing> {
        assert!(count.is_power_of_two());
        let size = BufferRing::bytes(count);
        // SAFETY: a new anonymous mapping, at a place of the kernel's choice.
        let memory =
            unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }?;
        let entries = memory.cast::<BufRingEntry>();
        let buffers = BufferRing { entries, group, count, tail: 0 };
        // A child that forked would otherwise share pages the kernel reads.
        // SAFETY: the mapping made above.
        unsafe { madvise(memory, size.get(), MmapAdvise::MADV_DONTFORK) }?;
        let flags = if incremental { INCREMENTAL } else { 0 };
        let address = entries.as_ptr() as u64;
        // SAFETY: the mapping is page-aligned, large enough, zeroed, and lives until `forget` was called.
        unsafe { ring.io_uring().submitter().register_buf_ring_with_flags(address, count, group, flags) }?;
        Ok(buffers)
    }

    /// Lets the kernel receive into `len` bytes at `address`, under the name `buffer`. Visible after [`Self::publish`].
    ///
    /// # Safety
    /// The memory stays valid and unshared until a completion says that the kernel is done with it (R1).
    pub(crate) unsafe fn provide(&mut self, buffer: u16, address: *mut u8, len: u32) {
        let index = self.tail & (self.count - 1);
        // SAFETY: the index is masked to the number of entries.
        let place = unsafe { self.entries.add(usize::from(index)) };
        // SAFETY: the kernel does not read an entry past the published tail, so it is ours to write. The tail itself
        // lies in the unused bytes of entry 0, which these three setters do not touch.
        let entry = unsafe { &mut *place.as_ptr() };
        entry.set_addr(address as u64);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    pub(crate) fn publish(&mut self) {
        // SAFETY: the base address of a ring that was registered.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: aligned, inside the mapping, and shared with the kernel only, which reads it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Ends the registration. No operation may use the buffers any more.
    pub(crate) fn forget(&mut self, ring: &Ring) -> io::Result<()> {
        ring.io_uring().submitter().unregister_buf_ring(self.group)
    }

    fn bytes(count: u16) -> NonZeroUsize {
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        NonZeroUsize::new(bytes.next_multiple_of(4096)).expect("a count of zero is no power of two")
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `register`; the kernel was told to forget it, or its ring is gone. It cannot fail
        // for a mapping that exists.
        let _ = unsafe { munmap(self.entries.cast(), BufferRing::bytes(self.count).get()) };
    }
}
