//! The buffers that the runtime has provided, as the kernel holds them.

use std::collections::VecDeque;

use super::kernel::Memory;

#[derive(Default)]
pub(super) struct Provided {
    /// The kernel uses the first one first.
    buffers: VecDeque<Buffer>,
    /// Buffers are filled piece by piece, rather than used once.
    pub(super) incremental: bool,
}

struct Buffer {
    id: u16,
    memory: Memory,
    filled: usize,
}

impl Provided {
    pub(super) fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    pub(super) fn contains(&self, id: u16) -> bool {
        self.buffers.iter().any(|buffer| buffer.id == id)
    }

    pub(super) fn add(&mut self, id: u16, memory: Memory) {
        memory.scribble(0);
        self.buffers.push_back(Buffer { id, memory, filled: 0 });
    }

    /// Bytes that the next buffer can take; zero when there is none.
    pub(super) fn room(&self) -> usize {
        self.buffers.front().map_or(0, |buffer| buffer.memory.len() - buffer.filled)
    }

    /// Receives into the next buffer, which has room: its number, whether the kernel keeps it, and whether nobody wrote to
    /// it meanwhile.
    pub(super) fn fill_first(&mut self, bytes: &[u8]) -> (u16, bool, bool) {
        let first = self.buffers.front_mut().expect("there is a buffer");
        let clean = first.memory.is_scribbled(first.filled);
        first.memory.write(first.filled, bytes);
        first.filled += bytes.len();
        let (id, keeps) = (first.id, self.incremental && first.filled < first.memory.len());
        if keeps {
            first.memory.scribble(first.filled);
        } else {
            self.buffers.pop_front();
        }
        (id, keeps, clean)
    }

    /// The next buffer goes back with nothing more in it.
    pub(super) fn give_up_first(&mut self) -> u16 {
        self.buffers.pop_front().expect("there is a buffer").id
    }

    pub(super) fn clear(&mut self) {
        self.buffers.clear();
    }
}
