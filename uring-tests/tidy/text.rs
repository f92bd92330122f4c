//! Looking things up in Rust text: words, lines, matching brackets. Offsets are bytes, lines count from one.

pub(crate) fn finding(path: &str, line: usize, advice: impl std::fmt::Display) -> String {
    format!("{path}:{line}: {advice}")
}

pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Where `pattern` occurs. An end of the pattern that is part of a word is not found inside a longer word.
pub(crate) fn occurrences<'t>(text: &'t str, pattern: &'t str) -> impl Iterator<Item = usize> + 't {
    let begins_word = pattern.bytes().next().is_some_and(is_word);
    let ends_word = pattern.bytes().last().is_some_and(is_word);
    text.match_indices(pattern).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).map(|before| text.as_bytes()[before]);
        let after = text.as_bytes().get(at + pattern.len()).copied();
        let goes_on = begins_word && before.is_some_and(is_word) || ends_word && after.is_some_and(is_word);
        !goes_on
    })
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// The word that begins at `at`; empty if none does.
pub(crate) fn word_at(text: &str, at: usize) -> &str {
    let length = text.as_bytes()[at..].iter().take_while(|&&byte| is_word(byte)).count();
    &text[at..at + length]
}

pub(crate) fn skip_space(code: &str, at: usize) -> usize {
    at + code[at..].len() - code[at..].trim_start().len()
}

/// The offset behind the bracket that closes the one at `open`.
pub(crate) fn behind_bracket(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (index, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    code.len()
}

/// How an item that begins at `from` ends.
pub(crate) enum ItemEnd {
    /// At a semicolon, or with the bracket that encloses the item: it has no body.
    Bare(usize),
    Body {
        open: usize,
        end: usize,
    },
}

/// A struct field, a variant or a match arm has no end of its own here: it ends with what encloses it.
pub(crate) fn item_end(code: &str, from: usize) -> ItemEnd {
    let mut at = from;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'(' | b'[' => at = behind_bracket(code, at),
            b'{' => return ItemEnd::Body { open: at, end: behind_bracket(code, at) },
            b';' => return ItemEnd::Bare(at + 1),
            b'}' | b')' | b']' => return ItemEnd::Bare(at),
            _ => at += 1,
        }
    }
    ItemEnd::Bare(code.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_inside_longer_words_are_not_found() {
        let code = "operand::x rand::y unsafe_code unsafe { }";
        assert_eq!(occurrences(code, "rand::").collect::<Vec<_>>(), [11]);
        assert_eq!(occurrences(code, "unsafe").collect::<Vec<_>>(), [31]);
    }

    #[test]
    fn item_end_passes_over_inner_semicolons() {
        let code = "fn f(a: [u8; 2]) -> [u8; 2] { a; } after";
        let ItemEnd::Body { open, end } = item_end(code, 0) else { panic!("has a body") };
        assert_eq!(&code[open..end], "{ a; }");
        assert!(matches!(item_end("fn f(a: [u8; 2]); fn g() {}", 0), ItemEnd::Bare(17)));
    }
}
