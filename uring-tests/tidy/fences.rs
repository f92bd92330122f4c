//! `unsafe` has an address and an argument.

use crate::sizes::ratchet;
use crate::text::{finding, line_of, occurrences, skip_space, word_at};
use crate::tree::Source;

/// `unsafe` in `src` stands in its homes, on as many lines as their budgets say; the examples have none.
pub(crate) fn check(sources: &[Source], homes: &[&str], budgets: &[(&str, usize)]) -> Vec<String> {
    let budgeted = |source: &Source| budgets.iter().any(|(path, _)| *path == source.path && is_home(path, homes));
    let free = sources.iter().filter(|source| !budgeted(source));
    let strays = free.filter(|source| source.path.starts_with("src/") || source.path.starts_with("examples/"));
    let mut findings: Vec<String> = strays.filter_map(|source| check_stray(source, homes)).collect();
    for (path, budget) in budgets {
        let found = sources.iter().find(|source| source.path == *path).map(unsafe_lines);
        findings.extend(ratchet("UNSAFE_BUDGETS", path, *budget, found, |lines| format!("(\"{path}\", {lines}),")));
    }
    findings
}

fn is_home(path: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| path == *home || home.ends_with('/') && path.starts_with(home))
}

fn check_stray(source: &Source, homes: &[&str]) -> Option<String> {
    let first = occurrences(&source.code, "unsafe").next()?;
    let Source { path, .. } = source;
    let advice = match is_home(path, homes) {
        true if unsafe_lines(source) == 0 => return None, // tests alone
        true => format!("no budget yet; add to UNSAFE_BUDGETS: (\"{path}\", {}),", unsafe_lines(source)),
        false => "`unsafe` outside of its homes (UNSAFE_HOMES in tidy.rs); use what `sys`, `buf` or `op` offer".into(),
    };
    Some(finding(path, line_of(&source.code, first), advice))
}

fn unsafe_lines(source: &Source) -> usize {
    source.live.lines().filter(|line| occurrences(line, "unsafe").next().is_some()).count()
}

/// Every unsafe block and impl has a SAFETY comment directly above it or above its statement.
pub(crate) fn check_arguments(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for at in occurrences(&source.code, "unsafe") {
        let next = skip_space(&source.code, at + "unsafe".len());
        let needs_argument = source.code[next..].starts_with('{') || word_at(&source.code, next) == "impl";
        let line = line_of(&source.code, at);
        if needs_argument && !is_argued_for(source, line) {
            let advice = "unsafe without an argument; write `// SAFETY: which invariant, and who keeps it` above it";
            findings.push(finding(&source.path, line, advice));
        }
    }
    findings
}

/// Climbs from the line of the `unsafe` through comments, attributes and the beginning of its statement.
fn is_argued_for(source: &Source, line: usize) -> bool {
    let text: Vec<&str> = source.text.lines().take(line).collect();
    let code: Vec<&str> = source.code.lines().take(line).collect();
    for index in (0..line).rev() {
        let (words, code) = (text[index].trim(), code[index].trim());
        let is_comment = code.is_empty() && !words.is_empty();
        if is_comment && words.contains("SAFETY:") {
            return true;
        }
        let is_attribute = code.starts_with("#[") && code.ends_with(']');
        let ends_before = code.is_empty() || code.ends_with([';', '{', '}', ',']);
        if index + 1 < line && !is_comment && !is_attribute && ends_before {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str, budgets: &[(&str, usize)]) -> Vec<String> {
        check(&[Source::new(path, text)], &["src/op/slot.rs", "src/sys/"], budgets)
    }

    #[test]
    fn unsafe_outside_its_homes_is_caught() {
        assert!(findings("src/net/tcp.rs", "\nunsafe { }", &[])[0].starts_with("src/net/tcp.rs:2: `unsafe` outside"));
        assert!(findings("src/op/slot.rs", "unsafe { }", &[])[0].ends_with("(\"src/op/slot.rs\", 1),"));
        assert!(findings("src/sys/a.rs", "unsafe { }", &[])[0].contains("no budget yet"));
        assert_eq!(findings("src/sys/a.rs", "#[cfg(test)]\nmod tests { unsafe {} }", &[]), [""; 0]);
        assert_eq!(findings("src/net/tcp.rs", "unsafe { }", &[("src/net/tcp.rs", 1)]).len(), 1);
        assert_eq!(findings("examples/echo.rs", "unsafe { }", &[]).len(), 1);
        assert_eq!(findings("src/net/tcp.rs", "#![deny(unsafe_code)] // unsafe\n\"unsafe\"", &[]), [""; 0]);
    }

    #[test]
    fn budget_is_a_ratchet() {
        let four = "unsafe {}\nunsafe {}\nunsafe {}\nunsafe {}\n#[cfg(test)]\nmod tests { unsafe {} }";
        let found = |budget| findings("src/sys/a.rs", four, &[("src/sys/a.rs", budget)]).join(" ");
        assert!(found(3).contains("over"), "{}", found(3));
        assert_eq!(found(4) + &found(5), "");
        assert!(found(6).contains("(\"src/sys/a.rs\", 4),"), "{}", found(6));
        assert!(findings("src/sys/b.rs", "", &[("src/sys/a.rs", 4)])[0].contains("strike"));
    }

    #[track_caller]
    fn argued(text: &str, expected: bool) {
        assert_eq!(check_arguments(&Source::new("src/a.rs", text)).is_empty(), expected, "{text}");
    }

    #[test]
    fn unsafe_without_an_argument_is_caught() {
        argued("let x = unsafe { f() };", false);
        argued("// Says nothing.\nunsafe impl Send for X {}", false);
        argued("// SAFETY: S1.\nlet y = 1;\nunsafe { f() };", false);
        argued("// SAFETY: S1.\n\nunsafe { f() };", false);
        argued("// SAFETY: S1.\nunsafe impl Send for X {}\nunsafe impl Sync for X {}", false);
        argued("let s = \"SAFETY:\"; unsafe { f() };", false);
    }

    #[test]
    fn unsafe_with_an_argument_passes() {
        argued("// SAFETY: S1: the slot keeps it,\n// until the end.\nunsafe { f() };", true);
        argued("// SAFETY: S1.\nlet x =\n    unsafe { f() };", true);
        argued("// SAFETY: S1.\n#[allow(x)]\nunsafe impl Send for X {}", true);
        argued("pub unsafe fn f() {}\nunsafe extern \"C\" fn g() {}", true);
    }
}
