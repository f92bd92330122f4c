//! What does a client send, and how does it know that exactly this came back? Guards: verification is one memcmp per
//! receive, and a lost, doubled, swapped or foreign byte fails it.
//!
//! Byte `p` of connection `c`'s stream is `TABLE[(p + offset(c)) % PERIOD]`: random bytes with a prime period. The
//! table runs on behind its period, so that any send is one slice of it, and nothing is copied or computed.

/// Prime, so that no message size divides it.
const PERIOD: usize = 4093;
/// The longest slice.
pub(crate) const SLICE_MAX: usize = 64 * 1024;

pub(crate) struct Pattern {
    table: Box<[u8]>,
}

impl Pattern {
    pub(crate) fn new() -> Pattern {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let period: Vec<u8> = std::iter::repeat_with(|| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(PERIOD)
        .collect();
        Pattern { table: period.iter().copied().cycle().take(PERIOD + SLICE_MAX).collect() }
    }

    /// Where connection `index` starts.
    pub(crate) fn offset(index: usize) -> u32 {
        (index * 1_009 % PERIOD) as u32
    }

    pub(crate) fn step(offset: u32, len: usize) -> u32 {
        ((offset as usize + len) % PERIOD) as u32
    }

    /// At most SLICE_MAX bytes of the stream, from `offset`.
    pub(crate) fn slice(&self, offset: u32, len: usize) -> &[u8] {
        &self.table[offset as usize..offset as usize + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_runs_on_where_the_last_one_ended() {
        let pattern = Pattern::new();
        let offset = Pattern::offset(4000);
        let whole = pattern.slice(offset, 40_000).to_vec();
        let mut at = offset;
        for piece in whole.chunks(1_000) {
            assert_eq!(pattern.slice(at, piece.len()), piece);
            at = Pattern::step(at, piece.len());
        }
    }

    #[test]
    fn connections_send_different_bytes() {
        let pattern = Pattern::new();
        assert_ne!(pattern.slice(Pattern::offset(0), 64), pattern.slice(Pattern::offset(1), 64));
    }
}
