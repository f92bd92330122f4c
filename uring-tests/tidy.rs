//! The house rules as a test: who may use whom, where `unsafe` lives, how long things are, what the docs promise.
//!
//! Each rule is a file in `tidy/` and a test below. A finding reads `file:line: what is wrong; what to do instead`.
//! The tables that people update stand first; a wrong entry fails with the line to paste in its place.

#[path = "tidy/cfgs.rs"]
mod cfgs;
#[path = "tidy/fences.rs"]
mod fences;
#[path = "tidy/mask.rs"]
mod mask;
#[path = "tidy/places.rs"]
mod places;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/ranks.rs"]
mod ranks;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use std::sync::OnceLock;

use tree::House;

/// A file uses modules of lower rank and its own. Modules in one bracket are one neighbourhood: they use each other.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["error"]),
    (0, &["clock"]),
    (0, &["rng"]),
    (0, &["buf"]),
    (0, &["sys"]),
    (1, &["driver"]),
    (2, &["op"]),
    (3, &["executor", "scope"]), // one rank, one neighbourhood: a poll opens scopes, a cancelled scope wakes its task
    (4, &["sync"]),
    (5, &["task", "thread"]), // what crosses threads ends in tasks
    (6, &["net"]),
    (6, &["fs"]),
    (6, &["process"]),
    (6, &["signal"]),
    (7, &["streams"]),
    (8, &["testing"]),
    (9, &["internals"]),
];

/// Where the architecture lets `unsafe` stand: files, and folders with a slash at the end.
const UNSAFE_HOMES: &[&str] = &[
    "src/buf/",
    "src/sys/",
    "src/driver/mod.rs",       // the seam: passes the promise of `push` on
    "src/driver/uring/mod.rs", // keeps it
    "src/driver/uring/tests.rs",
    "src/driver/perform.rs",
    "src/driver/no_sim.rs", // the same signatures, without anything to call
    "src/driver/sim/kernel.rs",
    "src/op/mod.rs",
    "src/op/slot.rs",
    "src/executor/context.rs", // the runtime of this thread, without a destructor in thread-local storage
    "src/executor/inbox.rs",   // links tasks through their headers
    "src/executor/runner.rs",  // a main future may borrow from its blocked caller
    "src/executor/cell/lists.rs", // links tasks through their headers
    "src/process/command.rs",  // `pre_exec` passes a promise of its caller on
    "src/executor/cell/raw.rs",
    "src/executor/cell/spares.rs", // memory of tasks
    "src/executor/cell/waker.rs",
    "src/sync/wait_list.rs", // links the places of those who wait, which are in their futures
];

/// How many lines of those files say `unsafe`, outside of their tests. The budgets follow the tree downwards by force.
const UNSAFE_BUDGETS: &[(&str, usize)] = &[
    ("src/buf/mod.rs", 19),
    ("src/buf/pool.rs", 6),
    ("src/buf/slice.rs", 5),
    ("src/driver/mod.rs", 10),
    ("src/driver/no_sim.rs", 3),
    ("src/driver/sim/kernel.rs", 30),
    ("src/driver/uring/mod.rs", 12),
    ("src/executor/cell/lists.rs", 2),
    ("src/executor/cell/raw.rs", 59),
    ("src/executor/cell/spares.rs", 4),
    ("src/executor/cell/waker.rs", 12),
    ("src/executor/context.rs", 5),
    ("src/executor/inbox.rs", 3),
    ("src/executor/runner.rs", 1),
    ("src/op/mod.rs", 4),
    ("src/op/slot.rs", 24),
    ("src/process/command.rs", 1),
    ("src/sync/wait_list.rs", 6),
    ("src/sys/address.rs", 4),
    ("src/sys/buffer_ring.rs", 9),
    ("src/sys/exec.rs", 15),
    ("src/sys/interrupt.rs", 5),
    ("src/sys/message.rs", 5),
    ("src/sys/pidfd.rs", 8),
    ("src/sys/ring.rs", 3),
    ("src/sys/signals.rs", 7),
    ("src/sys/spawn.rs", 10),
];

/// Functions of more than `sizes::FUNCTION_LINES_MAX` lines: file, name, lines. For a `match` that only maps.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Files that may call `thread::sleep`, and why nothing better would do.
const SLEEPERS: &[(&str, &str)] =
    &[("src/sys/ring.rs", "the kernel gives the locked memory of closed rings back without an event to wait for")];

/// What may stand at the top of the repository, beside dotfiles.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "rustfmt.toml",
    "clippy.toml",
    "benches",
    "ci",
    "examples",
    "src",
    "uring-tests",
];

#[test]
fn the_house_is_found() {
    let found = |path: &str| house().sources.iter().any(|source| source.path == path);
    assert!(found("src/lib.rs") && found("uring-tests/tidy.rs"), "not the repository: {}", house().root.display());
}

#[test]
fn files_use_only_lower_ranks() {
    demand(house().under(&["src/"]).flat_map(|source| ranks::check(source, RANKS)));
}

#[test]
fn unsafe_stays_inside_its_fences() {
    demand(fences::check(&house().sources, UNSAFE_HOMES, UNSAFE_BUDGETS));
}

#[test]
fn unsafe_is_argued_for() {
    demand(house().sources.iter().flat_map(fences::check_arguments));
}

#[test]
fn banned_words_do_not_occur() {
    demand(house().sources.iter().flat_map(|source| words::check(source, RANKS)));
}

#[test]
fn lints_are_not_silenced() {
    demand(house().sources.iter().flat_map(words::check_silenced_lints));
}

#[test]
fn nothing_sleeps() {
    demand(words::check_sleep(house().under(&["src/", "uring-tests/"]), SLEEPERS));
}

#[test]
fn cfg_stands_on_mod_lines() {
    demand(house().under(&["src/"]).flat_map(cfgs::check));
}

#[test]
fn functions_fit_a_screen() {
    demand(sizes::check_functions(house().under(&["src/", "uring-tests/", "examples/"]), LONG_FUNCTIONS));
}

#[test]
fn files_are_short() {
    demand(house().sources.iter().flat_map(sizes::check_file));
}

#[test]
fn async_functions_say_what_a_cancel_does() {
    demand(house().under(&["src/"]).flat_map(promises::check));
}

#[test]
fn the_top_level_is_fixed() {
    demand(places::check_top_level(&house().files, TOP_LEVEL));
}

#[test]
fn files_speak_of_the_project_alone() {
    demand(house().texts().flat_map(|(path, text)| places::check_text(path, &text)));
}

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(House::read)
}

#[track_caller]
fn demand(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{} finding(s)\n{}\n", findings.len(), findings.join("\n"));
}
