//! Words that code must not contain, each with what to write instead.

use crate::ranks::{Ranks, rank_of};
use crate::text::{behind_bracket, finding, is_word, line_of, occurrences, word_at};
use crate::tree::Source;

struct Ban {
    words: &'static [&'static str],
    place: Place,
    instead: &'static str,
}

enum Place {
    /// All Rust of the project, tests as well.
    Everywhere,
    /// `src` from this rank up, without tests. What has no rank (lib.rs) counts as the highest.
    FromRank(u8),
    /// `src` but for this file, without tests.
    OutsideOf(&'static str),
}

const BANS: &[Ban] = &[
    Ban {
        words: &["libc"],
        place: Place::FromRank(2),
        instead: "the kernel's names end at the driver; give the thing a name of ours in `sys` or `driver`",
    },
    Ban {
        words: &["Instant::now", "SystemTime::now"],
        place: Place::OutsideOf("src/clock.rs"),
        instead: "ask the runtime's clock (clock.rs), which may be virtual",
    },
    Ban {
        words: &["thread_rng", "rand::", "RandomState"],
        place: Place::OutsideOf("src/rng.rs"),
        instead: "take chance from the runtime's seeded generator (rng.rs)",
    },
    Ban {
        words: &["HashMap", "HashSet"],
        place: Place::FromRank(0),
        instead: "the order of hashes is chance that no seed repeats; use a BTreeMap, a Slab or a Vec",
    },
    Ban { words: &["todo!", "unimplemented!"], place: Place::Everywhere, instead: "write it, or leave it out" },
    Ban { words: &["dbg!"], place: Place::Everywhere, instead: "remove it" },
    Ban {
        words: &["#[ignore"],
        place: Place::Everywhere,
        instead: "run the test, skip aloud where the kernel lacks what it needs, or delete it",
    },
];

pub(crate) fn check(source: &Source, ranks: &Ranks) -> Vec<String> {
    let mut findings = Vec::new();
    for ban in BANS {
        let Some(code) = ban.place.code_in(source, ranks) else { continue };
        for word in ban.words {
            let blame = |at| finding(&source.path, line_of(code, at), format!("`{word}`: {}", ban.instead));
            findings.extend(occurrences(code, word).map(blame));
        }
    }
    findings
}

impl Place {
    fn code_in<'s>(&self, source: &'s Source, ranks: &Ranks) -> Option<&'s str> {
        let is_in_src = source.path.starts_with("src/");
        match *self {
            Place::Everywhere => Some(&source.code),
            Place::FromRank(lowest) => {
                let rank = rank_of(source, ranks).unwrap_or(u8::MAX);
                (is_in_src && rank >= lowest).then_some(&source.live)
            }
            Place::OutsideOf(home) => (is_in_src && source.path != home).then_some(&source.live),
        }
    }
}

/// No `allow` or `expect` of unused or dead code.
pub(crate) fn check_silenced_lints(source: &Source) -> Vec<String> {
    let code = &source.code;
    let lists = ["allow(", "expect("].into_iter().flat_map(|verb| {
        let attributes = occurrences(code, verb).filter(|&at| !code[..at].trim_end().ends_with('.'));
        attributes.map(move |at| (at, at + verb.len() - 1))
    });
    let silenced = lists.flat_map(|(at, open)| {
        let lints = code[open + 1..behind_bracket(code, open).max(open + 2) - 1].split(',').map(str::trim);
        lints.filter(|lint| *lint == "dead_code" || lint.starts_with("unused")).map(move |lint| (at, lint))
    });
    silenced
        .map(|(at, lint)| {
            finding(&source.path, line_of(code, at), format!("`{lint}` silenced; use the code or delete it"))
        })
        .collect()
}

/// No test and no part of the crate waits by sleeping. Exceptions are files, each with its reason.
pub(crate) fn check_sleep<'s>(sources: impl Iterator<Item = &'s Source>, exceptions: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<&Source> = sources.collect();
    let excepted = |path: &str| exceptions.iter().any(|(file, _)| *file == path);
    let awake = sources.iter().filter(|source| !excepted(&source.path));
    let mut findings: Vec<String> = awake.flat_map(|source| sleeps(source)).collect();
    for (path, _) in exceptions {
        if !sources.iter().any(|source| source.path == *path && !sleeps(source).is_empty()) {
            findings.push(finding(path, 1, "does not sleep; strike it out of SLEEPERS in tidy.rs"));
        }
    }
    findings
}

fn sleeps(source: &Source) -> Vec<String> {
    let code = &source.code;
    let imported = occurrences(code, "thread::{").filter(|&at| {
        let group = &code[at..behind_bracket(code, at + "thread::".len())];
        occurrences(group, "sleep").next().is_some()
    });
    let advice = "a sleep is a guess; wait for the event itself (a channel, a barrier, `Thread::park` until a flag is \
                  set) or let virtual time pass";
    let called = occurrences(code, "thread::sleep").filter(|&at| is_std_thread(code, at));
    called.chain(imported).map(|at| finding(&source.path, line_of(code, at), advice)).collect()
}

/// `crate::thread` is ours.
fn is_std_thread(code: &str, at: usize) -> bool {
    let Some(before) = code[..at].strip_suffix("::") else { return true };
    let length = before.bytes().rev().take_while(|&byte| is_word(byte)).count();
    word_at(before, before.len() - length) != "crate"
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: &Ranks = &[(0, &["clock"]), (0, &["rng"]), (1, &["driver"]), (2, &["op"])];

    fn count(path: &str, text: &str) -> usize {
        check(&Source::new(path, text), RANKS).len()
    }

    #[test]
    fn libc_from_rank_two_up_is_caught() {
        assert_eq!(count("src/op/slot.rs", "libc::EINVAL"), 1);
        assert_eq!(count("src/lib.rs", "use libc;"), 1);
        assert_eq!(count("src/driver/perform.rs", "libc::EINVAL"), 0);
        assert_eq!(count("uring-tests/kernel/a.rs", "libc::EINVAL"), 0);
        assert_eq!(count("src/op/slot.rs", "// libc::EINVAL\n#[cfg(test)]\nmod tests { libc::X }"), 0);
    }

    #[test]
    fn time_and_chance_outside_their_homes_are_caught() {
        assert_eq!(count("src/op/slot.rs", "std::time::Instant::now(); SystemTime::now()"), 2);
        assert_eq!(count("src/op/slot.rs", "thread_rng(); rand::random(); operand::x"), 2);
        assert_eq!(count("src/op/slot.rs", "use std::collections::HashMap;"), 1);
        assert_eq!(count("src/clock.rs", "Instant::now()"), 0);
        assert_eq!(count("src/rng.rs", "RandomState::new()"), 0);
        assert_eq!(count("benches/load.rs", "Instant::now()"), 0);
    }

    #[test]
    fn placeholders_are_caught_even_in_tests() {
        let text =
            "#[cfg(test)]\nmod tests { #[test]\n#[ignore = \"slow\"]\nfn f() { todo!(); dbg!(x); unimplemented!{} } }";
        assert_eq!(count("src/op/slot.rs", text), 4);
        assert_eq!(count("uring-tests/a.rs", "\"todo!()\" // dbg!"), 0);
    }

    #[test]
    fn silenced_lints_are_caught() {
        let count = |text| check_silenced_lints(&Source::new("src/a.rs", text)).len();
        assert_eq!(count("#![allow(dead_code)]\n#[allow(clippy::x, unused_variables)]\n#[expect(unused)]"), 3);
        assert_eq!(count("#[cfg_attr(miri, allow(dead_code))]"), 1);
        assert_eq!(count("x.expect(unused); #[allow(clippy::unused_async, unsafe_code)]"), 0);
    }

    #[test]
    fn sleep_is_caught() {
        let count = |text, exceptions: &[(&str, &str)]| {
            check_sleep([&Source::new("uring-tests/a.rs", text)].into_iter(), exceptions).len()
        };
        assert_eq!(count("std::thread::sleep(d); thread::sleep(d); use std::thread::{self, sleep};", &[]), 3);
        assert_eq!(count("crate::thread::sleep(d); task::sleep(d); use std::thread::{park, spawn};", &[]), 0);
        assert_eq!(count("thread::sleep(d)", &[("uring-tests/a.rs", "a reason")]), 0);
        assert_eq!(count("", &[("uring-tests/a.rs", "a reason")]), 1);
    }
}
