//! Which bytes of which provided buffer are still lent? Guards: a buffer goes back to the kernel exactly when the
//! kernel is done filling it and the last piece of it was sent, whether it is handed out whole or in pieces.

use std::io;

use io_uring::{Submitter, cqueue};

use super::buffers::{BufferRing, INCREMENTAL};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// One receive, one 16 KiB buffer.
    Whole,
    /// Receives fill a buffer one behind the other (IOU_PBUF_RING_INC).
    Incremental,
}

/// Bytes received and not yet sent: `len` of them in buffer `id`, from `offset`. Zero length: no piece.
#[derive(Clone, Copy, Default)]
pub(crate) struct Piece {
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) id: u16,
}

impl Piece {
    pub(crate) const NONE: Piece = Piece { offset: 0, len: 0, id: 0 };

    pub(crate) fn is_none(&self) -> bool {
        self.len == 0
    }

    /// The first `sent` bytes are gone.
    pub(crate) fn skip(&mut self, sent: u32) {
        self.offset += sent;
        self.len -= sent;
    }
}

pub(crate) struct Pieces {
    ring: BufferRing,
    pool: Pool,
    uses: Vec<Use>,
    /// Buffers with the kernel, and whether some came back since the last `publish`.
    available: usize,
    returned: bool,
}

#[derive(Clone, Copy, Default)]
struct Use {
    /// Pieces lent.
    pieces: u32,
    /// How far the kernel has filled it (incremental only).
    filled: u32,
    /// The kernel fills it no further.
    complete: bool,
}

impl Pieces {
    pub(crate) fn new(submitter: &Submitter<'_>, pool: Pool) -> io::Result<Pieces> {
        // 2 MiB in all: a pool that stays in the caches is worth more than one that never runs dry (a quarter of the CPU of
        // 16 KiB bursts, against 8 MiB).
        let (count, buffer_len, flags) = match pool {
            Pool::Whole => (128, 16 * 1024, 0),
            Pool::Incremental => (32, 64 * 1024, INCREMENTAL),
        };
        let ring = BufferRing::new(submitter, count, buffer_len, flags)?;
        let uses = vec![Use::default(); usize::from(count)];
        Ok(Pieces { ring, pool, uses, available: usize::from(count), returned: false })
    }

    /// What a receive put where. It may be no bytes; the buffer counts as used all the same.
    #[inline]
    pub(crate) fn take(&mut self, id: u16, len: u32, flags: u32) -> Piece {
        let used = &mut self.uses[usize::from(id)];
        let offset = used.filled;
        used.pieces += 1;
        used.complete = match self.pool {
            Pool::Whole => true,
            Pool::Incremental => !cqueue::buffer_more(flags),
        };
        if used.complete {
            self.available -= 1;
        }
        if self.pool == Pool::Incremental {
            used.filled += len;
        }
        Piece { offset, len, id }
    }

    /// Appends `piece` to `last` if it follows it in the same buffer: one send, one iovec less.
    #[inline]
    pub(crate) fn join(&mut self, last: &mut Piece, piece: Piece) -> bool {
        let follows = last.len > 0 && last.id == piece.id && last.offset + last.len == piece.offset;
        if follows {
            last.len += piece.len;
            self.uses[usize::from(piece.id)].pieces -= 1;
        }
        follows
    }

    #[inline]
    pub(crate) fn release(&mut self, piece: Piece) {
        let used = &mut self.uses[usize::from(piece.id)];
        used.pieces -= 1;
        if used.pieces == 0 && used.complete {
            *used = Use::default();
            self.ring.give(piece.id);
            self.available += 1;
            self.returned = true;
        }
    }

    /// Shows the kernel what was released; says how many buffers it has.
    #[inline]
    pub(crate) fn publish(&mut self) -> usize {
        if self.returned {
            self.returned = false;
            self.ring.publish();
        }
        self.available
    }

    #[inline]
    pub(crate) fn address(&self, piece: Piece) -> *mut u8 {
        // Wrapping, so that it needs no proof here: the kernel itself filled `offset..offset + len` of this buffer.
        self.ring.address(piece.id).wrapping_add(piece.offset as usize)
    }
}
