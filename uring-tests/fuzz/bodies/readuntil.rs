//! `readuntil` against the plainest way to say the same, for any separators, limit, bytes, and pieces they come in.
//!
//! Input: the limit, how many separators there are and how long each is, the separators, then pieces: a length and so many
//! bytes. All bytes are of a small alphabet, so that separators occur, overlap, and are cut in two.

use std::{collections::VecDeque, pin::pin, task::Poll};

use bytes::Bytes;
use ringio::{Error, StreamReader};

/// Runs one input; panics where the two differ.
pub(crate) fn check(data: &[u8]) {
    let mut data = Data(data.iter());
    let limit = 1 + data.below(24);
    let lens: Vec<usize> = (0..1 + data.below(3)).map(|_| 1 + data.below(4)).collect();
    let separators: Vec<Vec<u8>> = lens.into_iter().map(|len| data.bytes(len)).collect();
    let mut pieces = VecDeque::new();
    while !data.0.as_slice().is_empty() {
        let len = 1 + data.below(40);
        pieces.push_back(data.bytes(len));
    }
    ringio::testing::run_virtual(run(limit, &separators, pieces));
}

struct Data<'a>(std::slice::Iter<'a, u8>);

impl Data<'_> {
    /// Zeros, where there is nothing left.
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b"ab\n"[self.below(3)]).collect()
    }
}

/// What a call gives.
#[derive(Debug, PartialEq)]
enum Gave {
    Found(Bytes),
    TooLong { consumed: usize, found: bool },
    Ended(Bytes),
}

async fn run(limit: usize, separators: &[Vec<u8>], mut pieces: VecDeque<Vec<u8>>) {
    let (mut reader, feed) = StreamReader::for_test(limit).expect("a limit of at least one");
    let mut buffered = Vec::new();
    let mut ended = false;
    loop {
        let expected;
        let gave = {
            let mut call = pin!(reader.readuntil(separators));
            loop {
                let plain = plainly(&mut buffered, separators, limit, ended);
                let mut polled = futures::poll!(call.as_mut());
                if plain.is_some() && polled.is_pending() {
                    // This task had had its share of the turn.
                    ringio::yield_now().await.expect("nobody cancels it");
                    polled = futures::poll!(call.as_mut());
                }
                match (plain, polled) {
                    (Some(plain), Poll::Ready(gave)) => {
                        expected = plain;
                        break gave;
                    }
                    (None, Poll::Pending) => match pieces.pop_front() {
                        Some(piece) => {
                            buffered.extend_from_slice(&piece);
                            feed.feed_data(piece);
                        }
                        None => {
                            ended = true;
                            feed.feed_eof();
                        }
                    },
                    (plain, polled) => panic!("expected {plain:?}, and it is {polled:?}"),
                }
            }
        };
        let gave = match gave.map_err(Error::from) {
            Ok(found) => Gave::Found(found),
            Err(Error::LimitOverrun(error)) => Gave::TooLong { consumed: error.consumed, found: error.found },
            Err(Error::IncompleteRead(error)) => Gave::Ended(error.partial),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(gave, expected);
        match gave {
            Gave::Found(_) => {}
            Gave::TooLong { consumed, .. } => {
                // All of it is still there.
                let skipped = reader.readexactly(consumed).await.expect("so many are buffered");
                assert_eq!(skipped, buffered.drain(..consumed).collect::<Vec<_>>());
            }
            Gave::Ended(_) => return,
        }
    }
}

/// What there is to say of `buffered`, byte by byte, if anything; takes what is given away.
fn plainly(buffered: &mut Vec<u8>, separators: &[Vec<u8>], limit: usize, ended: bool) -> Option<Gave> {
    for end in 1..=buffered.len() {
        // Of several that end here, the one that is named first.
        let Some(separator) = separators.iter().find(|separator| buffered[..end].ends_with(separator)) else {
            continue;
        };
        let start = end - separator.len();
        if start > limit {
            return Some(Gave::TooLong { consumed: start, found: true });
        }
        return Some(Gave::Found(buffered.drain(..end).collect()));
    }
    let shortest = separators.iter().map(Vec::len).min().unwrap_or(0);
    let longest = separators.iter().map(Vec::len).max().unwrap_or(0);
    let without = (buffered.len() + 1).saturating_sub(longest);
    if buffered.len() >= shortest && without > limit {
        return Some(Gave::TooLong { consumed: without, found: false });
    }
    ended.then(|| Gave::Ended(std::mem::take(buffered).into()))
}
