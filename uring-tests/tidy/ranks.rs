//! A file uses only modules of lower rank, its own module, and its neighbours.

use crate::text::{behind_bracket, finding, line_of, occurrences, skip_space, word_at};
use crate::tree::Source;

/// Rank by row, the modules of one row being neighbours.
pub(crate) type Ranks = [(u8, &'static [&'static str])];

pub(crate) fn check(source: &Source, ranks: &Ranks) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some((rank, neighbours)) = row_of(module, ranks) else {
        return vec![finding(&source.path, 1, format!("`{module}` has no rank; give it a rank in RANKS of tidy.rs"))];
    };
    let blame = |(at, name): (usize, String)| {
        let complaint = match row_of(&name, ranks) {
            Some((_, row)) if std::ptr::eq(row, neighbours) => return None,
            Some((used, _)) if used < rank => return None,
            Some((used, _)) => format!(
                "`{module}` (rank {rank}) uses `crate::{name}` (rank {used}); move what is shared to a lower rank, \
                 or hand it down as an argument"
            ),
            None => format!("`crate::{name}` hides where it lives; name it by the module that defines it"),
        };
        Some(finding(&source.path, line_of(&source.live, at), complaint))
    };
    let absolute = crate_paths(&source.live);
    let relative = super_paths(source).into_iter().filter(|(_, name)| row_of(name, ranks).is_some());
    absolute.into_iter().chain(relative).filter_map(blame).collect()
}

/// The rank of a file's module; none for `lib.rs`, for files outside of `src` and for modules without a rank.
pub(crate) fn rank_of(source: &Source, ranks: &Ranks) -> Option<u8> {
    Some(row_of(source.module()?, ranks)?.0)
}

fn row_of(module: &str, ranks: &Ranks) -> Option<(u8, &'static [&'static str])> {
    ranks.iter().find(|(_, row)| row.contains(&module)).copied()
}

/// What follows each `crate::`. A macro's `$crate::` speaks from the user's crate, through public names.
fn crate_paths(live: &str) -> Vec<(usize, String)> {
    let paths = occurrences(live, "crate").filter(|&at| !live[..at].ends_with('$'));
    let roots = paths.filter_map(|at| Some((at, behind_colons(live, at + "crate".len())?)));
    roots.flat_map(|(_, after)| first_names(live, after)).collect()
}

/// What follows each `super::` chain that is long enough to climb to the root of the crate.
fn super_paths(source: &Source) -> Vec<(usize, String)> {
    let live = &source.live;
    let chains = occurrences(live, "super").filter(|&at| !live[..at].trim_end().ends_with("::"));
    let ends = chains.filter_map(|at| {
        let (mut steps, mut after) = (0, at);
        while word_at(live, after) == "super" {
            steps += 1;
            after = behind_colons(live, after + "super".len())?;
        }
        (steps >= depth(&source.path)).then_some(after)
    });
    ends.flat_map(|after| first_names(live, after)).collect()
}

/// How many modules a file is away from the root: `src/net/tcp.rs` is `crate::net::tcp`.
fn depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").matches('/').count()
}

fn behind_colons(code: &str, at: usize) -> Option<usize> {
    let at = skip_space(code, at);
    code[at..].starts_with("::").then(|| skip_space(code, at + 2))
}

/// The name at `at`, or the first names of the group that stands there. Macros, `self` and globs have none.
fn first_names(code: &str, at: usize) -> Vec<(usize, String)> {
    if code[at..].starts_with('{') {
        return group_members(code, at).flat_map(|member| first_names(code, member)).collect();
    }
    let name = word_at(code, at);
    let is_macro = code[at + name.len()..].starts_with('!');
    if name.is_empty() || name == "self" || is_macro { Vec::new() } else { vec![(at, name.into())] }
}

/// Where the members of the group that opens at `open` begin.
fn group_members(code: &str, open: usize) -> impl Iterator<Item = usize> {
    let mut members = Vec::new();
    let (mut at, end) = (open + 1, behind_bracket(code, open) - 1);
    while at < end {
        members.push(skip_space(code, at));
        while at < end && code.as_bytes()[at] != b',' {
            at = if code.as_bytes()[at] == b'{' { behind_bracket(code, at) } else { at + 1 };
        }
        at += 1;
    }
    members.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: &Ranks = &[(0, &["buf"]), (0, &["sys"]), (3, &["executor", "scope"]), (4, &["sync"])];

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text), RANKS)
    }

    #[test]
    fn higher_rank_is_caught() {
        let found = findings("src/buf/pool.rs", "\nuse crate::sync::Lock;\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/buf/pool.rs:2: `buf` (rank 0) uses `crate::sync` (rank 4)"), "{found:?}");
        assert_eq!(findings("src/scope.rs", "fn f() { let x = crate::sync::f(); }").len(), 1);
        assert_eq!(findings("src/buf/mod.rs", "use crate::{sys::X, buf::{a, b}, sync, executor as e};").len(), 3);
    }

    #[test]
    fn same_rank_is_caught_unless_neighbours() {
        assert_eq!(findings("src/buf/mod.rs", "use crate::sys;").len(), 1);
        assert_eq!(findings("src/executor/turn.rs", "use crate::scope::Scope;").len(), 0);
        assert_eq!(findings("src/scope.rs", "use crate::executor::context;").len(), 0);
    }

    #[test]
    fn lower_rank_own_folder_and_text_pass() {
        let text = "//! [`crate::sync`]\nuse crate::{buf::IoBuf, scope};\nuse crate::sync::*;\n/* crate::net */ \"crate::net\"";
        assert_eq!(findings("src/sync/lock.rs", text), [""; 0]);
        let text = "use crate::buf;\n#[cfg(test)]\nmod tests { use crate::sync::Lock; }";
        assert_eq!(findings("src/buf/mod.rs", text), [""; 0]);
        assert_eq!(findings("src/lib.rs", "pub use crate::sync::Lock;"), [""; 0]);
        assert_eq!(findings("src/buf/mod.rs", "macro_rules! m { () => { $crate::sync() } }"), [""; 0]);
    }

    #[test]
    fn climbing_by_super_is_caught() {
        assert_eq!(findings("src/buf/pool.rs", "use super::super::sync;").len(), 1);
        assert_eq!(findings("src/scope.rs", "use super::sync::Lock;").len(), 1);
        assert_eq!(findings("src/buf/pool.rs", "use super::sync;\npub(in super::super) fn f() {}").len(), 0);
    }

    #[test]
    fn unknown_modules_and_names_are_caught() {
        assert!(findings("src/helper.rs", "")[0].contains("give it a rank"));
        assert!(findings("src/sync/lock.rs", "use crate::Lock;")[0].contains("the module that defines it"));
    }
}
