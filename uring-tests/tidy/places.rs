//! What the repository contains: a fixed top level, and texts that speak of the project alone.

use std::collections::BTreeSet;

use crate::text::{finding, is_word, occurrences};

/// What ties a text to one machine, workplace or author's tool. A `|` is not part of the word: it keeps this file clean.
const FOREIGN: &[&str] = &[
    "/wo|rk/",
    "/ro|ot/",
    "bash|_jobs",
    "as an |AI",
    "AI |assistant",
    "language |model",
    "Clau|de",
    "Anthr|opic",
    "Chat|GPT",
    "Code|x CLI",
    "index.|crates.io",
    "static.|crates.io",
];

/// Where a locked dependency may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check_top_level(files: &[String], allowed: &[&str]) -> Vec<String> {
    let tops: BTreeSet<&str> = files.iter().filter_map(|path| path.split('/').next()).collect();
    let strangers = tops.into_iter().filter(|top| !top.starts_with('.') && !allowed.contains(top));
    let advice = "does not belong to the top level (TOP_LEVEL in tidy.rs); long texts go to src/_docs, scripts to ci";
    strangers.map(|top| finding(top, 1, advice)).collect()
}

pub(crate) fn check_text(path: &str, text: &str) -> Vec<String> {
    let words: Vec<String> = FOREIGN.iter().map(|word| word.replace('|', "")).collect();
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| speaks_of(line, word)) {
            findings.push(finding(path, index + 1, format!("`{word}`: speak of the project alone")));
        }
        if path == "Cargo.lock" && line.starts_with("source = ") && !line.contains(REGISTRY) {
            findings.push(finding(path, index + 1, "locked to a source of its own; depend on published versions"));
        }
    }
    findings
}

/// A path counts only where it begins: not as a part of a longer one, nor of an address.
fn speaks_of(line: &str, word: &str) -> bool {
    let begins_here =
        |at: usize| !line[..at].bytes().last().is_some_and(|byte| is_word(byte) || b".-~*}".contains(&byte));
    occurrences(line, word).any(|at| !word.starts_with('/') || begins_here(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stranger_at_the_top_is_caught() {
        let files = ["src/lib.rs", "src/_docs/a.md", ".ci/run", "NOTES.md", "tests/a.rs"].map(String::from);
        let found = check_top_level(&files, &["src"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("NOTES.md:1: does not belong"));
    }

    #[test]
    fn foreign_words_are_caught() {
        for word in FOREIGN {
            let line = format!("\nsee {}x", word.replace('|', ""));
            let line = if word.ends_with('/') { line } else { line.trim_end_matches('x').into() };
            assert_eq!(check_text("README.md", &line).len(), 1, "{word}");
        }
        let path = FOREIGN[0].replace('|', "");
        assert_eq!(check_text("a.md", &format!("https://example.org{path}x src{path}x")), [""; 0]);
    }

    #[test]
    fn private_source_in_the_lock_file_is_caught() {
        assert_eq!(check_text("Cargo.lock", "source = \"git+https://example.org\"").len(), 1);
        assert_eq!(check_text("Cargo.lock", &format!("source = \"{REGISTRY}\"")), [""; 0]);
    }
}
