//! Memory that shows what the kernel does to it after it was freed.
//!
//! A [`Canary`] is a buffer to lend. When it is dropped its bytes become canaries and stay in quarantine: whoever writes
//! there afterwards leaves a trace ([`Quarantine::assert_untouched`]), and whoever sends from there sends canaries.

use std::sync::{Arc, Mutex};

use ringio::{IoBuf, IoBufMut};

/// What freed memory is filled with; no test sends it.
pub(crate) const CANARY: u8 = 0xca;

static WHOLE: [u8; 4096] = [CANARY; 4096];

/// Where dropped canaries stay.
#[derive(Clone, Default)]
pub(crate) struct Quarantine(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Quarantine {
    /// A buffer of `len` bytes, filled with `byte`.
    pub(crate) fn buffer(&self, len: usize, byte: u8) -> Canary {
        assert_ne!(byte, CANARY);
        Canary { memory: vec![byte; len].into(), filled: len, home: self.clone() }
    }

    /// How many buffers were dropped.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("nobody panics in there").len()
    }

    /// Asserts that nobody wrote to what was dropped.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        for (index, memory) in self.0.lock().expect("nobody panics in there").iter().enumerate() {
            // The compiler cannot see that others may have written.
            let memory = std::hint::black_box(memory);
            let touched = memory.chunks(WHOLE.len()).filter(|&chunk| WHOLE[..chunk.len()] != *chunk).count();
            assert_eq!(touched, 0, "the kernel wrote to {touched} pages of buffer {index} after it was freed");
        }
    }
}

/// A buffer to lend.
pub(crate) struct Canary {
    memory: Box<[u8]>,
    filled: usize,
    home: Quarantine,
}

impl Drop for Canary {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.fill(CANARY);
        self.home.0.lock().expect("nobody panics in there").push(memory);
    }
}

// SAFETY: the bytes live in a box, which is only moved (never its content) until the value is dropped, and after that
// they stay in quarantine.
unsafe impl IoBuf for Canary {
    fn buf_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.filled
    }
}

// SAFETY: the box is owned alone, and initialised over its whole length.
unsafe impl IoBufMut for Canary {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.memory.len()
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        self.filled = len;
    }
}
