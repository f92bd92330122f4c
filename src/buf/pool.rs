//! The provided-buffer pool of one runtime: memory that the kernel picks from when data arrives, so that an idle
//! connection holds no buffer. Not here: how the kernel is told of a buffer (`driver/uring/provide.rs`).
//!
//! P1. A buffer has one reference of the kernel's from the moment it is provided until a completion says that the
//!     kernel is done with it, and one for each [`Chunk`] of it; with the last one it is free and may be provided again.
//!     References at home (the kernel's and chunks) are counted without atomics, and stand together for one shared one;
//!     leases have a shared one each.
//! P2. The kernel writes only behind what it has already handed out of a buffer, so chunks never change.
//! P3. The memory lives as long as the pool or any lease; the pool is kept (or leaked) until no operation can write.

use std::{
    cell::{Cell, RefCell},
    io,
    num::NonZeroUsize,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// How much memory a pool may have, and in what pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolLayout {
    /// Most buffers there will ever be; a power of two.
    pub(crate) count_max: u16,
    /// Buffers provided at the start. More come when the kernel finds none left, so that the memory in use stays hot.
    pub(crate) count_first: u16,
    /// Bytes of one buffer.
    pub(crate) size: u32,
}

/// The home side of the pool.
pub(crate) struct Pool {
    region: Arc<Region>,
    layout: PoolLayout,
    buffers: RefCell<Box<[Buffer]>>,
    /// Free again, not provided yet.
    returned: RefCell<Vec<u16>>,
    /// Where small copies go next.
    block: RefCell<BytesMut>,
    /// Where that block is: first address and length.
    block_place: Cell<(usize, usize)>,
    created: Cell<u16>,
    free: Cell<u32>,
}

/// What is known of a buffer at home.
#[derive(Debug, Clone, Copy, Default)]
struct Buffer {
    /// How far the kernel has filled it, if it does so piece by piece.
    cursor: u32,
    references: u32,
}

/// A received piece of a buffer: one reference (P1). It has to be given to [`Pool::release`] or [`Pool::to_bytes`].
#[must_use = "a chunk that is not released takes its buffer out of the pool for good"]
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: u16,
    offset: u32,
    len: u32,
}

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }
}

impl Pool {
    pub(crate) fn new(layout: PoolLayout) -> io::Result<Pool> {
        assert!(layout.count_max.is_power_of_two() && layout.count_first <= layout.count_max);
        let pool = Pool {
            region: Arc::new(Region::new(layout)?),
            layout,
            buffers: RefCell::new(vec![Buffer::default(); usize::from(layout.count_max)].into()),
            returned: RefCell::default(),
            block: RefCell::default(),
            block_place: Cell::default(),
            created: Cell::new(0),
            free: Cell::new(0),
        };
        pool.grow_to(layout.count_first);
        Ok(pool)
    }

    pub(crate) fn layout(&self) -> PoolLayout {
        self.layout
    }

    /// Where buffer `buffer` begins.
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        self.region.address(buffer, 0)
    }

    /// Whether `bytes` stand in memory of the pool: then nothing but that memory comes back when they go.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        let (block, block_len) = self.block_place.get();
        let within = |from: usize, len| bytes.as_ptr().addr().wrapping_sub(from) < len;
        within(block, block_len) || within(self.region.address(0, 0).addr(), self.region.bytes.get())
    }

    /// Whether the kernel has a buffer left, or will have one with the next turn. Grows if that is what it takes.
    pub(crate) fn has_room(&self) -> bool {
        self.free.get() > 0 || self.has_returned() || self.grow()
    }

    /// Doubles the number of buffers; false when all there may be exist already.
    pub(crate) fn grow(&self) -> bool {
        let created = self.created.get();
        self.grow_to((created.max(1) * 2).min(self.layout.count_max));
        self.created.get() > created
    }

    fn grow_to(&self, count: u16) {
        self.returned.borrow_mut().extend(self.created.get()..count);
        self.created.set(count.max(self.created.get()));
    }

    /// Hands out every buffer that is free; from now on the kernel has a reference to each.
    #[inline]
    pub(crate) fn provide(&self, mut publish: impl FnMut(u16)) {
        if self.region.returned.load(Ordering::Relaxed) != EMPTY {
            self.region.collect(|buffer| self.returned.borrow_mut().push(buffer));
        }
        for buffer in self.returned.borrow_mut().drain(..) {
            self.region.references[usize::from(buffer)].store(1, Ordering::Relaxed);
            self.buffers.borrow_mut()[usize::from(buffer)] = Buffer { cursor: 0, references: 1 };
            self.free.set(self.free.get() + 1);
            publish(buffer);
        }
    }

    /// How many buffers the kernel may still write into.
    pub(crate) fn provided(&self) -> u32 {
        self.free.get()
    }

    /// Whether [`Pool::provide`] has something to do.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        !self.returned.borrow().is_empty() || self.region.returned.load(Ordering::Relaxed) != EMPTY
    }

    /// The kernel wrote `len` bytes into `buffer`; `keeps` says whether it will write more behind them.
    #[inline]
    pub(crate) fn take(&self, buffer: u16, len: u32, keeps: bool) -> Chunk {
        let mut buffers = self.buffers.borrow_mut();
        let state = &mut buffers[usize::from(buffer)];
        let offset = state.cursor;
        state.cursor += len;
        assert!(state.cursor <= self.layout.size, "the kernel answered more bytes than the buffer has");
        if keeps {
            state.references += 1;
        } else {
            self.free.set(self.free.get() - 1); // the kernel's reference becomes the chunk's
        }
        Chunk { buffer, offset, len }
    }

    /// The kernel is done with a buffer and wrote nothing more into it.
    pub(crate) fn untouched(&self, buffer: u16) {
        let chunk = self.take(buffer, 0, false);
        self.release(chunk);
    }

    #[inline]
    pub(crate) fn bytes<'a>(&'a self, chunk: &'a Chunk) -> &'a [u8] {
        self.region.bytes(chunk.buffer, chunk.offset, chunk.len)
    }

    /// Cuts `len` bytes off the front of `chunk`.
    pub(crate) fn split(&self, chunk: &mut Chunk, len: usize) -> Chunk {
        assert!(len <= chunk.len());
        let len = len as u32; // fits: `chunk.len` is a u32
        self.buffers.borrow_mut()[usize::from(chunk.buffer)].references += 1;
        let front = Chunk { buffer: chunk.buffer, offset: chunk.offset, len };
        chunk.offset += len;
        chunk.len -= len;
        front
    }

    #[inline]
    pub(crate) fn release(&self, chunk: Chunk) {
        let mut buffers = self.buffers.borrow_mut();
        let references = &mut buffers[usize::from(chunk.buffer)].references;
        assert!(*references > 0, "P1 broken: a chunk was released twice");
        *references -= 1;
        if *references == 0 && self.region.unreference(chunk.buffer) {
            self.returned.borrow_mut().push(chunk.buffer);
        }
    }

    /// The chunk as bytes that anybody may keep. Small ones are copied, so that a buffer of many kilobytes is not held
    /// for a few bytes; large ones hold the buffer itself, unless the pool runs low.
    #[inline]
    pub(crate) fn to_bytes(&self, chunk: Chunk) -> Bytes {
        let low = self.created.get() == self.layout.count_max
            && self.free.get() < u32::from(self.layout.count_max.div_ceil(4));
        if chunk.len() >= LEASE_BYTES_MIN && !low {
            self.region.references[usize::from(chunk.buffer)].fetch_add(1, Ordering::Relaxed);
            let leased = Chunk { buffer: chunk.buffer, offset: chunk.offset, len: chunk.len };
            self.release(chunk);
            return Bytes::from_owner(Lease { region: self.region.clone(), chunk: leased });
        }
        let bytes = self.copy(self.bytes(&chunk));
        self.release(chunk);
        bytes
    }

    /// Small copies share a block: an allocation for many of them, instead of one for each.
    #[inline]
    fn copy(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() >= LEASE_BYTES_MIN {
            return Bytes::copy_from_slice(bytes);
        }
        let mut block = self.block.borrow_mut();
        // Nobody has a piece of it any more: the same block again. Else a new one.
        if block.capacity() < bytes.len() {
            block.reserve(BLOCK_BYTES);
            self.block_place.set((block.as_ptr().addr(), block.capacity()));
        }
        block.extend_from_slice(bytes);
        block.split().freeze()
    }

    /// Buffers that neither the kernel nor a chunk has a reference to, or that the kernel alone has.
    #[cfg(feature = "internals")]
    pub(crate) fn buffers_home(&self) -> (u32, u32) {
        if self.region.returned.load(Ordering::Relaxed) != EMPTY {
            self.region.collect(|buffer| self.returned.borrow_mut().push(buffer));
        }
        (self.free.get() + self.returned.borrow().len() as u32, u32::from(self.created.get()))
    }

    /// Takes the memory out of every later free: the kernel may still write to it.
    pub(crate) fn leak(&self) {
        std::mem::forget(self.region.clone());
    }
}

/// Of the blocks that small copies share.
const BLOCK_BYTES: usize = 8 * 1024;

/// From this size on a chunk is lent out as it is; below, copying is cheaper than sharing, and copies share blocks.
const LEASE_BYTES_MIN: usize = 4096;

/// A chunk that left the runtime, inside a [`Bytes`]. It may be dropped on any thread, also after the runtime.
struct Lease {
    region: Arc<Region>,
    chunk: Chunk,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.region.bytes(self.chunk.buffer, self.chunk.offset, self.chunk.len)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.region.unreference(self.chunk.buffer) {
            self.region.give_back(self.chunk.buffer);
        }
    }
}

/// What pool and leases share.
struct Region {
    memory: NonNull<u8>,
    bytes: NonZeroUsize,
    buffer_size: usize,
    references: Box<[AtomicU32]>,
    /// A stack of buffers that came back through a lease: the top one plus one, and for each the one below it.
    returned: AtomicU32,
    below: Box<[AtomicU32]>,
}

const EMPTY: u32 = 0;

// SAFETY: the memory is only read through chunks (P2); all else in it is atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(pool: PoolLayout) -> io::Result<Region> {
        let bytes = usize::from(pool.count_max) * pool.size as usize;
        let bytes = NonZeroUsize::new(bytes).expect("a pool has buffers of at least one byte");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice. All zeros, so that no byte is ever uninitialised, and
        // pages that nothing is received into cost nothing.
        let memory = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE) }?;
        let zeros = || (0..pool.count_max).map(|_| AtomicU32::new(0)).collect();
        Ok(Region {
            memory: memory.cast(),
            bytes,
            buffer_size: pool.size as usize,
            references: zeros(),
            returned: AtomicU32::new(EMPTY),
            below: zeros(),
        })
    }

    #[inline]
    fn address(&self, buffer: u16, offset: u32) -> *mut u8 {
        let offset = usize::from(buffer) * self.buffer_size + offset as usize;
        assert!(offset <= self.bytes.get());
        // SAFETY: the line above keeps it inside the allocation, or one past its end.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    #[inline]
    fn bytes(&self, buffer: u16, offset: u32, len: u32) -> &[u8] {
        let start = self.address(buffer, offset);
        // SAFETY: P2: the bytes of a chunk are inside one buffer (checked in `take`) and nobody writes them.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    /// Gives one reference back; true when it was the last.
    #[inline]
    fn unreference(&self, buffer: u16) -> bool {
        // Release, and acquire by the last one: all reads of the buffer come before it is provided again.
        let before = self.references[usize::from(buffer)].fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "P1 broken: a pool buffer was released twice");
        before == 1
    }

    fn give_back(&self, buffer: u16) {
        let mut top = self.returned.load(Ordering::Relaxed);
        loop {
            self.below[usize::from(buffer)].store(top, Ordering::Relaxed);
            let new = u32::from(buffer) + 1;
            match self.returned.compare_exchange_weak(top, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
    }

    fn collect(&self, mut each: impl FnMut(u16)) {
        let mut top = self.returned.swap(EMPTY, Ordering::Acquire);
        while top != EMPTY {
            let buffer = top - 1;
            top = self.below[buffer as usize].load(Ordering::Relaxed);
            each(buffer as u16); // fits: made from a u16 in `give_back`
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; P3: neither the kernel nor a lease can reach it any more. It cannot fail for a mapping
        // that exists.
        let _ = unsafe { munmap(self.memory.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provided(pool: &Pool) -> Vec<u16> {
        let mut buffers = Vec::new();
        pool.provide(|buffer| buffers.push(buffer));
        buffers
    }

    #[test]
    fn a_buffer_comes_back_with_its_last_chunk() {
        let pool = Pool::new(PoolLayout { count_max: 4, count_first: 2, size: 8192 }).unwrap();
        assert_eq!(provided(&pool), [0, 1]);
        let first = pool.take(0, 100, true);
        let mut second = pool.take(0, 50, false);
        let front = pool.split(&mut second, 20);
        assert_eq!((front.offset, second.offset, second.len()), (100, 120, 30));
        pool.release(first);
        pool.release(second);
        assert_eq!(provided(&pool), []);
        pool.release(front);
        assert_eq!(provided(&pool), [0]);
        assert!(pool.grow());
        assert_eq!(provided(&pool), [2, 3]);
        assert!(!pool.grow());
    }

    #[test]
    fn a_lease_comes_back_from_another_thread_and_outlives_the_pool() {
        let pool = Pool::new(PoolLayout { count_max: 4, count_first: 4, size: 8192 }).unwrap();
        provided(&pool);
        let leases: Vec<Bytes> = (0..2).map(|buffer| pool.to_bytes(pool.take(buffer, 5000, false))).collect();
        std::thread::spawn(move || drop(leases)).join().unwrap();
        let mut back = provided(&pool);
        back.sort_unstable();
        assert_eq!(back, [0, 1]);
        let late = pool.to_bytes(pool.take(2, 5000, false));
        drop(pool);
        assert_eq!(late.len(), 5000);
        assert!(late.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn small_chunks_are_copied_and_hold_no_buffer() {
        let pool = Pool::new(PoolLayout { count_max: 2, count_first: 2, size: 8192 }).unwrap();
        provided(&pool);
        let small = pool.to_bytes(pool.take(1, 64, false));
        assert_eq!(provided(&pool), [1]);
        assert_eq!(small.len(), 64);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_double_release_is_caught() {
        let pool = Pool::new(PoolLayout { count_max: 2, count_first: 2, size: 64 }).unwrap();
        provided(&pool);
        let chunk = pool.take(0, 1, false);
        let forged = Chunk { buffer: chunk.buffer, offset: chunk.offset, len: chunk.len };
        pool.release(chunk);
        pool.release(forged);
    }
}
