//! A window of an owned buffer.

use std::ops::{Bound, Deref, RangeBounds};

use super::{IoBuf, IoBufMut, content};

/// A window `begin..end` of an owned buffer; made by [`IoBuf::slice`]. Sending sends what is initialised in it,
/// receiving writes into it from `begin` on.
#[derive(Debug)]
pub struct Slice<B> {
    buffer: B,
    begin: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buffer: B, range: impl RangeBounds<usize>) -> Slice<B> {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= end, "a slice of a buffer begins at {begin}, after its end at {end}");
        assert!(
            begin <= buffer.buf_len(),
            "a slice begins at {begin}, past the {} initialised bytes",
            buffer.buf_len()
        );
        Slice { buffer, begin, end }
    }

    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.buffer
    }

    /// The whole buffer, borrowed.
    pub fn get_ref(&self) -> &B {
        &self.buffer
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &content(&self.buffer)[self.begin..self.end.min(self.buffer.buf_len())]
    }
}

// SAFETY: the inner buffer keeps its bytes where they are, and `begin` lies within them (checked in `new`).
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn buf_ptr(&self) -> *const u8 {
        self.deref().as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.deref().len()
    }
}

// SAFETY: `begin..end` lies within the inner capacity, which may be written.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is at most the inner length, so the result is inside the inner buffer or one past it.
        unsafe { self.buffer.buf_mut_ptr().add(self.begin) }
    }
    fn buf_capacity(&self) -> usize {
        self.end.min(self.buffer.buf_capacity()) - self.begin
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // Bytes after the window that were already initialised stay part of the buffer.
        let len = (self.begin + len).max(if self.end < self.buffer.buf_len() { self.buffer.buf_len() } else { 0 });
        // SAFETY: `begin` bytes were initialised before, `len` more were written by our caller.
        unsafe { self.buffer.set_buf_len(len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::fill;

    #[test]
    fn receiving_into_a_window_keeps_what_stands_before_it() {
        let mut buffer = Vec::with_capacity(8);
        buffer.extend_from_slice(b"ab");
        let mut window = buffer.slice(2..6);
        assert_eq!(window.buf_capacity(), 4);
        assert_eq!(fill(&mut window, b"cdefgh"), 4);
        assert_eq!(window.into_inner(), b"abcdef");
    }

    #[test]
    fn receiving_into_the_middle_keeps_what_stands_behind() {
        let mut window = b"abcdef".to_vec().slice(1..3);
        assert_eq!(fill(&mut window, b"XYZ"), 2);
        assert_eq!(window.into_inner(), b"aXYdef");
    }

    #[test]
    #[should_panic(expected = "past the 2 initialised")]
    fn a_window_past_the_content_is_refused() {
        // It would make uninitialised bytes part of the content.
        let _ = vec![0u8; 2].slice(3..);
    }
}
