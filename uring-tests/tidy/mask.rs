//! Rust text with everything that is not code blanked out. Offsets and lines stay what they were.

use crate::text::{ItemEnd, is_word, item_end};

/// Blanks comments, strings and character literals.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < code.len() {
        match hidden_end(text.as_bytes(), at) {
            Some(end) => {
                blank(&mut code[at..end]);
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// Blanks what is compiled for tests only, in text that is code only.
pub(crate) fn without_tests(code: &str) -> String {
    if code.contains("#![cfg(test)]") {
        return nothing(code);
    }
    let mut live = code.as_bytes().to_vec();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test,"] {
        for (at, _) in code.match_indices(attribute) {
            let end = match item_end(code, at + 1) {
                ItemEnd::Bare(end) | ItemEnd::Body { end, .. } => end,
            };
            blank(&mut live[at..end]);
        }
    }
    String::from_utf8(live).expect("whole characters were blanked")
}

/// Only the lines are left.
pub(crate) fn nothing(code: &str) -> String {
    let mut empty = code.as_bytes().to_vec();
    blank(&mut empty);
    String::from_utf8(empty).expect("whole characters were blanked")
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// If a comment or a literal begins at `at`, the offset behind it.
fn hidden_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let end = match rest[0] {
        b'/' if rest.starts_with(b"//") => at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with(b"/*") => at + block_comment_length(rest),
        b'"' => at + string_length(rest),
        b'\'' => at + char_length(rest)?,
        b'r' | b'b' | b'c' if at == 0 || !is_word(bytes[at - 1]) => at + prefixed_length(rest)?,
        _ => return None,
    };
    Some(end.min(bytes.len()))
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match rest[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A quote begins a character if another follows one character later, else a lifetime.
fn char_length(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|&byte| byte == b'\'')?;
        return Some(close + 4);
    }
    let width = match rest.get(1)? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// `b"…"`, `c"…"`, `b'…'`, and `r`, `br`, `cr` with any number of `#`.
fn prefixed_length(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).take(3).count();
    let (prefix, literal) = rest.split_at(letters);
    match (prefix, literal.first()?) {
        (b"b" | b"c", b'"') => Some(letters + string_length(literal)),
        (b"b", b'\'') => Some(letters + char_length(literal)?),
        (b"r" | b"br" | b"cr", _) => Some(letters + raw_string_length(literal)?),
        _ => None,
    }
}

fn raw_string_length(literal: &[u8]) -> Option<usize> {
    let hashes = literal.iter().take_while(|&&byte| byte == b'#').count();
    if literal.get(hashes) != Some(&b'"') {
        return None; // a raw identifier
    }
    let close = [b"\"".as_slice(), &literal[..hashes]].concat();
    let body = &literal[hashes + 1..];
    let length = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
    Some(hashes + 1 + length + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn masks(text: &str, expected: &str) {
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn comments_are_blanked_and_lines_kept() {
        masks("a // b\nc /* d /* e */ f */ g", "a c g");
        masks("//! a\n/// b\nc", "c");
        masks("a /* never closed", "a");
        assert_eq!(code_only("a /* b\nc */ d"), "a     \n     d");
    }

    #[test]
    fn strings_are_blanked() {
        masks(r#"f("a \" // b", c)"#, "f( , c)");
        masks(r###"f(r#"a " \"#, br"\", c"x", b"y") // z"###, "f( , , , )");
        masks("a(\"b\nc\")", "a( )");
        masks("\"never closed", "");
    }

    #[test]
    fn characters_are_blanked_and_lifetimes_kept() {
        masks(r"fn f<'a>(x: &'a u8) { '\'' '{' b'}' '\u{1f}' 'é' '\\' x }", "fn f<'a>(x: &'a u8) { x }");
        masks("'label: loop { break 'label; }", "'label: loop { break 'label; }");
    }

    #[test]
    fn words_that_only_look_like_prefixes_are_kept() {
        masks(r##"r#fn bar "x" crab r#"y"# b c r"##, "r#fn bar crab b c r");
    }

    #[test]
    fn tests_are_blanked() {
        let live = without_tests("a\n#[cfg(test)]\n#[x]\nmod tests { b { c } }\nd\n#[cfg(test)]\nuse e;\nf");
        assert_eq!(live.split_whitespace().collect::<Vec<_>>(), ["a", "d", "f"]);
        assert_eq!(without_tests("#![cfg(test)]\nfn f() {}").trim(), "");
    }
}
