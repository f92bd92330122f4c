//! Memory that can be lent to the kernel: [`IoBuf`] to send from, [`IoBufMut`] to receive into.
//!
//! A buffer is *moved* into the operation and comes back with its result ([`BufResult`]), because the kernel works on
//! it until the operation's last completion, whatever becomes of the future. Not here: who keeps it meanwhile
//! (`op/slot.rs`).
#![allow(unsafe_code)] // fence: buf/, budget in uring-tests/tidy.rs

mod pool;
mod slice;

use std::{io, rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};

pub(crate) use pool::{Chunk, Pool, PoolLayout};
pub use slice::Slice;

/// A buffer whose bytes can be sent.
///
/// # Safety
/// `buf_ptr` points to `buf_len` initialised bytes that stay where they are, also when the value itself is moved, until it
/// is dropped or changed through `&mut`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be lent to the kernel: an operation owns its buffer until it has ended",
    note = "give a `Vec<u8>`, `Bytes`, `Box<[u8]>` or another owned buffer; it comes back with the result"
)]
pub unsafe trait IoBuf: 'static {
    /// Where the bytes are.
    fn buf_ptr(&self) -> *const u8;

    /// How many of them are initialised, in bytes.
    fn buf_len(&self) -> usize;

    /// A window of the buffer: only these bytes are sent, or received into.
    ///
    /// # Panics
    /// When the window begins after its end.
    ///
    /// ```
    /// use ringio::IoBuf;
    /// let window = vec![1u8, 2, 3, 4].slice(1..3);
    /// assert_eq!(&window[..], [2, 3]);
    /// assert_eq!(window.into_inner(), [1, 2, 3, 4]);
    /// ```
    fn slice(self, range: impl std::ops::RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// A buffer that can be received into. It has to be owned: whoever lent a borrowed one and forgot the future would have it
/// back while the kernel still writes there.
///
/// ```compile_fail
/// # async fn refused(mut stream: ringio::TcpStream) {
/// let mut buffer = [0u8; 64];
/// let _ = stream.read(&mut buffer[..]).await; // a Vec, or anything else that is moved into the call
/// # }
/// ```
///
/// # Safety
/// As for [`IoBuf`]; besides, `buf_mut_ptr` is the same address as `buf_ptr` and `buf_capacity` bytes from there may be
/// written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be received into: an operation owns its buffer until it has ended",
    note = "give a `Vec<u8>` with room, a `BytesMut` or another owned buffer; it comes back with the result"
)]
pub unsafe trait IoBufMut: IoBuf {
    /// Where to write.
    fn buf_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes may be written, in bytes.
    fn buf_capacity(&self) -> usize;

    /// Makes the first `len` bytes the content. A buffer whose length cannot change ignores it.
    ///
    /// # Safety
    /// The first `len` bytes were written, and `len` is at most `buf_capacity`.
    unsafe fn set_buf_len(&mut self, len: usize);
}

/// The result of an operation together with the buffer that was lent to it.
///
/// ```
/// # use ringio::BufResult;
/// let BufResult(result, buffer) = BufResult(Ok(3), vec![1u8, 2, 3]);
/// assert_eq!(result.unwrap(), buffer.len());
/// ```
#[must_use = "holds your buffer"]
#[derive(Debug)]
pub struct BufResult<T, B>(pub io::Result<T>, pub B);

impl<T, B> BufResult<T, B> {
    /// The value and the buffer, or the error alone: for `?` where the buffer may go with the error.
    pub fn ok(self) -> io::Result<(T, B)> {
        Ok((self.0?, self.1))
    }

    /// Changes the value, keeps the buffer.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> BufResult<U, B> {
        BufResult(self.0.map(change), self.1)
    }
}

macro_rules! shared_bytes {
    ($($type:ty),*) => {$(
        // SAFETY: the bytes live on the heap (or in the program's image), not in the value, and are never moved.
        unsafe impl IoBuf for $type {
            fn buf_ptr(&self) -> *const u8 {
                let bytes: &[u8] = self.as_ref();
                bytes.as_ptr()
            }
            fn buf_len(&self) -> usize {
                let bytes: &[u8] = self.as_ref();
                bytes.len()
            }
        }
    )*};
}

shared_bytes!(Vec<u8>, Box<[u8]>, String, &'static [u8], &'static str, Arc<[u8]>, Rc<[u8]>, Bytes, BytesMut);

// SAFETY: as for slices: the bytes are in the program's image.
unsafe impl<const N: usize> IoBuf for &'static [u8; N] {
    fn buf_ptr(&self) -> *const u8 {
        self[..].as_ptr()
    }
    fn buf_len(&self) -> usize {
        N
    }
}

// SAFETY: a Vec's spare capacity may be written, and its address does not change without `&mut`.
unsafe impl IoBufMut for Vec<u8> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        Vec::as_mut_ptr(self)
    }
    fn buf_capacity(&self) -> usize {
        Vec::capacity(self)
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: passed on to our caller.
        unsafe { Vec::set_len(self, len) }
    }
}

// SAFETY: as for Vec.
unsafe impl IoBufMut for BytesMut {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut().as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        BytesMut::capacity(self)
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: passed on to our caller.
        unsafe { BytesMut::set_len(self, len) }
    }
}

// SAFETY: a box owns its bytes alone.
unsafe impl IoBufMut for Box<[u8]> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut().as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.as_ref().len()
    }
    unsafe fn set_buf_len(&mut self, _: usize) {}
}

/// Copies `bytes` to the start of `buffer` and makes them its content; returns how many fitted.
pub(crate) fn fill(buffer: &mut impl IoBufMut, bytes: &[u8]) -> usize {
    let len = bytes.len().min(buffer.buf_capacity());
    let start = buffer.buf_mut_ptr();
    for (piece, at) in bytes[..len].chunks(COPY_BYTES).zip((0..).step_by(COPY_BYTES)) {
        // SAFETY: `at` is less than `len`, and so inside the buffer.
        let to = unsafe { start.add(at) };
        // SAFETY: `buffer` may be written for `buf_capacity` bytes, and being borrowed mutably it cannot overlap `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len()) };
    }
    // SAFETY: the line above wrote `len` bytes.
    unsafe { buffer.set_buf_len(len) };
    len
}

/// Large copies are made in pieces of this size. From 2 KiB on, the C library copies with `rep movsb`, which on AMD's Zen
/// 3 and later takes twenty times as long when source and target lie up to 16 bytes apart modulo 4096: just how a page
/// that was received into and a large allocation lie.
const COPY_BYTES: usize = 1024;

/// Appends a copy of `bytes`.
pub(crate) fn append(buffer: &mut impl Extend, bytes: &[u8]) {
    for piece in bytes.chunks(COPY_BYTES) {
        buffer.extend(piece);
    }
}

/// What bytes can be appended to.
pub(crate) trait Extend {
    fn extend(&mut self, bytes: &[u8]);
}

impl Extend for Vec<u8> {
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Extend for BytesMut {
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Marks `len` more bytes of `buffer` as received: the kernel wrote them behind its current content.
pub(crate) fn received(buffer: &mut BytesMut, len: usize) {
    assert!(len <= buffer.capacity() - buffer.len(), "the kernel answered more bytes than it was lent");
    let len = buffer.len() + len;
    // SAFETY: the completion of a receive into the spare capacity says that these bytes were written.
    unsafe { buffer.set_len(len) };
}

/// Makes the first `len` bytes of a buffer that was received into its content.
pub(crate) fn received_at_start(buffer: &mut impl IoBufMut, len: usize) {
    assert!(len <= buffer.buf_capacity(), "the kernel answered more bytes than it was lent");
    // SAFETY: the completion of a receive at the start of the buffer says that these bytes were written.
    unsafe { buffer.set_buf_len(len) };
}

/// The initialised bytes of a buffer.
pub(crate) fn content(buffer: &impl IoBuf) -> &[u8] {
    // SAFETY: the contract of IoBuf.
    unsafe { std::slice::from_raw_parts(buffer.buf_ptr(), buffer.buf_len()) }
}
