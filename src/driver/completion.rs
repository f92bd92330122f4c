//! What the kernel answers.

use std::io;

use io_uring::cqueue;

/// Names one operation: the index of its slot, and which of the slot's operations it is. Never a pointer: whoever holds
/// the ring can post any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u64);

/// The largest index; the bit above tells the two kinds of operations apart.
pub(crate) const INDEX_MAX: u32 = 0x7fff_ffff;
const STANDING: u64 = 1 << 31;

/// The largest generation; the eight bits above are the driver's own.
pub(crate) const GENERATION_MAX: u32 = 0x00ff_ffff;

impl Token {
    /// Names none.
    pub(crate) const NONE: Token = Token(u64::MAX);

    #[inline]
    pub(crate) fn new(index: u32, generation: u32) -> Token {
        debug_assert!(index <= INDEX_MAX && generation <= GENERATION_MAX);
        Token(u64::from(generation) << 32 | u64::from(index))
    }

    /// The same numbers, for an operation of a socket or a listener: they are counted apart.
    #[inline]
    pub(crate) fn standing(index: u32, generation: u32) -> Token {
        Token(Token::new(index, generation).0 | STANDING)
    }

    #[inline]
    pub(crate) fn is_standing(self) -> bool {
        self.0 & STANDING != 0
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.0 & u64::from(INDEX_MAX)) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MAX
    }

    #[inline]
    pub(super) fn to_user_data(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn from_user_data(data: u64) -> Token {
        Token(data)
    }
}

/// One answer. An operation has any number of answers with [`Completion::more`] and then exactly one without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    result: i32,
    flags: u32,
}

/// What an answer says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It worked: a count of bytes, a descriptor, or nothing in particular.
    Done(u32),
    /// It was cancelled before it did anything.
    Cancelled,
    /// No buffer was free in the pool; the data is still in the socket.
    NoBuffer,
    /// It would have to wait, and this kernel does not do that for it.
    NotReady,
    /// The process or the system has no descriptor or memory left for it; the connection is still in the queue.
    Exhausted(io::Error),
    /// A connection went away before it was taken. Not the listener's fault.
    Gone(io::Error),
    /// It failed.
    Failed(io::Error),
}

impl Completion {
    #[inline]
    pub(crate) fn new(token: Token, result: i32, flags: u32) -> Completion {
        Completion { token, result, flags }
    }

    /// Whether the same operation will answer again (S3).
    #[inline]
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The pool buffer that was used, if one was.
    #[inline]
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the kernel goes on filling that buffer.
    #[inline]
    pub(crate) fn keeps_buffer(&self) -> bool {
        cqueue::buffer_more(self.flags)
    }

    #[inline]
    pub(crate) fn answer(&self) -> Answer {
        if let Ok(value) = u32::try_from(self.result) {
            return Answer::Done(value);
        }
        let error = io::Error::from_raw_os_error(-self.result);
        match -self.result {
            // A worker thread of the kernel was interrupted on our behalf: the same thing by another name.
            libc::ECANCELED | libc::EINTR => Answer::Cancelled,
            libc::ENOBUFS => Answer::NoBuffer,
            libc::EAGAIN => Answer::NotReady,
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => Answer::Exhausted(error),
            libc::ECONNABORTED | libc::EPROTO => Answer::Gone(error),
            _ => Answer::Failed(error),
        }
    }

    /// The plain result: a count or descriptor, or the error.
    pub(crate) fn result(&self) -> io::Result<u32> {
        u32::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }

    /// Whether the operation would have to wait, and did nothing.
    pub(crate) fn is_not_ready(&self) -> bool {
        matches!(self.answer(), Answer::NotReady)
    }

    /// Whether the operation ended because it was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.answer(), Answer::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_keeps_index_and_generation_apart() {
        let token = Token::standing(INDEX_MAX, GENERATION_MAX);
        assert_eq!((token.index(), token.generation()), (INDEX_MAX as usize, GENERATION_MAX));
        assert!(token.is_standing() && !Token::new(INDEX_MAX, GENERATION_MAX).is_standing());
        assert_eq!(Token::from_user_data(token.to_user_data()), token);
    }

    #[test]
    fn an_interrupted_operation_counts_as_cancelled() {
        let answer = |errno: i32| Completion::new(Token::new(0, 0), -errno, 0).answer();
        assert!(matches!(answer(libc::EINTR), Answer::Cancelled));
        assert!(matches!(answer(libc::EMFILE), Answer::Exhausted(_)));
        assert!(matches!(answer(libc::EPIPE), Answer::Failed(_)));
    }
}
