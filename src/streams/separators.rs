//! What [`StreamReader::readuntil`](super::StreamReader::readuntil) looks for.

use std::io;

use memchr::memmem;

use crate::error::LimitOverrunError;

/// One separator or several: bytes or text, or an array or a slice of those.
pub trait Separators {
    /// Calls `look` with each of them.
    fn each(&self, look: &mut dyn FnMut(&[u8]));
}

/// What a look at the buffered bytes found.
pub(super) enum Looked {
    /// It was taken.
    Found,
    /// Nothing, in so many bytes.
    Unfinished(usize),
    /// It is too long.
    TooLong(LimitOverrunError),
}

/// The shortest and the longest of the separators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    shortest: usize,
    longest: usize,
}

/// SR3: an empty separator, or none, is an error.
pub(super) fn lengths(separators: &impl Separators) -> io::Result<Lengths> {
    let mut lengths = Lengths { shortest: usize::MAX, longest: 0 };
    separators.each(&mut |separator| {
        lengths.shortest = lengths.shortest.min(separator.len());
        lengths.longest = lengths.longest.max(separator.len());
    });
    if lengths.shortest == 0 || lengths.longest == 0 {
        let text = "a separator has to have at least one byte, and there has to be one";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(lengths)
}

/// SR3, SR4: how many bytes to take, and why. Before `looked_at` no separator begins.
pub(super) fn look(
    bytes: &[u8],
    separators: &impl Separators,
    lengths: Lengths,
    looked_at: usize,
    limit: usize,
) -> (usize, Looked) {
    // A close of ours may have thrown away what was looked at.
    let looked_at = looked_at.min(bytes.len());
    if let Some((begin, end)) = first_to_end(&bytes[looked_at..], separators) {
        let consumed = looked_at + begin;
        if consumed > limit {
            return (0, Looked::TooLong(LimitOverrunError { consumed, found: true }));
        }
        return (looked_at + end, Looked::Found);
    }
    if bytes.len() - looked_at < lengths.shortest {
        return (0, Looked::Unfinished(looked_at));
    }
    // From here on the beginning of a separator may stand.
    let consumed = (bytes.len() + 1).saturating_sub(lengths.longest);
    if consumed > limit {
        return (0, Looked::TooLong(LimitOverrunError { consumed, found: false }));
    }
    (0, Looked::Unfinished(consumed))
}

/// Where the match begins and ends that ends first; of several, the separator that is named first.
fn first_to_end(bytes: &[u8], separators: &impl Separators) -> Option<(usize, usize)> {
    let mut first: Option<(usize, usize)> = None;
    separators.each(&mut |separator| {
        // A match that ends later is of no use.
        let bytes = first.map_or(bytes, |(_, end)| &bytes[..end - 1]);
        if let Some(begin) = memmem::find(bytes, separator) {
            first = Some((begin, begin + separator.len()));
        }
    });
    first
}

impl Separators for u8 {
    fn each(&self, look: &mut dyn FnMut(&[u8])) {
        look(&[*self]);
    }
}

macro_rules! one {
    ($($type:ty),*) => {$(
        impl Separators for $type {
            fn each(&self, look: &mut dyn FnMut(&[u8])) {
                look(self.as_ref());
            }
        }
        impl Separators for &[$type] {
            fn each(&self, look: &mut dyn FnMut(&[u8])) {
                self.iter().for_each(|separator| look(separator.as_ref()));
            }
        }
        impl<const N: usize> Separators for [$type; N] {
            fn each(&self, look: &mut dyn FnMut(&[u8])) {
                self.as_slice().each(look);
            }
        }
    )*};
}

one!(&[u8], &str, Vec<u8>, String);

impl<const N: usize> Separators for &[u8; N] {
    fn each(&self, look: &mut dyn FnMut(&[u8])) {
        look(*self);
    }
}

impl<const N: usize, const M: usize> Separators for [&[u8; N]; M] {
    fn each(&self, look: &mut dyn FnMut(&[u8])) {
        self.iter().for_each(|separator| look(*separator));
    }
}
