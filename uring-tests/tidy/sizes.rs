//! A function fits a screen, a file fits a head.

use crate::text::{ItemEnd, finding, item_end, line_of, occurrences, skip_space};
use crate::tree::Source;

pub(crate) const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;
const EXAMPLE_LINES_MAX: usize = 80;

/// How far, in percent of what a table allows, the tree may stay below it before the table must follow.
const RATCHET_SLACK_PERCENT: usize = 30;

/// Compares an entry of a table with the tree: it may not be exceeded, nor be much too generous, nor be stale.
pub(crate) fn ratchet(
    table: &str,
    path: &str,
    allowed: usize,
    found: Option<usize>,
    entry: impl Fn(usize) -> String,
) -> Option<String> {
    let advice = match found {
        None | Some(0) => format!("nothing there to allow; strike it out of {table}: {}", entry(allowed)),
        Some(lines) if lines > allowed => {
            format!("{lines} lines, {} over its entry in {table}; shorten it: {}", lines - allowed, entry(allowed))
        }
        Some(lines) if lines * 100 < allowed * (100 - RATCHET_SLACK_PERCENT) => {
            format!("ratchet: lower the entry in {table} to {}", entry(lines))
        }
        Some(_) => return None,
    };
    Some(finding(path, 1, advice))
}

pub(crate) fn check_file(source: &Source) -> Option<String> {
    let (lines_max, advice) = match source.path.split('/').next()? {
        "src" | "uring-tests" => (FILE_LINES_MAX, "split it where its name needs an `and`"),
        "examples" => (EXAMPLE_LINES_MAX, "an example shows one thing; leave the rest out"),
        _ => return None,
    };
    let lines = source.text.lines().count();
    let advice = format!("{lines} lines, {lines_max} are allowed; {advice}");
    (lines > lines_max).then(|| finding(&source.path, lines, advice))
}

pub(crate) fn check_functions<'s>(
    sources: impl Iterator<Item = &'s Source>,
    exceptions: &[(&str, &str, usize)],
) -> Vec<String> {
    let long: Vec<Long> = sources.flat_map(long_functions).collect();
    let listed = |long: &Long| exceptions.iter().any(|(path, name, _)| *path == long.path && *name == long.name);
    let mut findings: Vec<String> = long.iter().filter(|long| !listed(long)).map(Long::finding).collect();
    for (path, name, allowed) in exceptions {
        let found = long.iter().filter(|long| long.path == *path && long.name == *name).map(|long| long.lines).max();
        let entry = |lines| format!("(\"{path}\", \"{name}\", {lines}),");
        findings.extend(ratchet("LONG_FUNCTIONS", path, *allowed, found, entry));
    }
    findings
}

/// A function with more lines than a screen has.
struct Long<'s> {
    path: &'s str,
    name: &'s str,
    line: usize,
    lines: usize,
}

impl Long<'_> {
    fn finding(&self) -> String {
        let Long { name, lines, .. } = self;
        let advice = "keep the branches here and move what they do into functions of their own";
        finding(self.path, self.line, format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed; {advice}"))
    }
}

fn long_functions(source: &Source) -> impl Iterator<Item = Long<'_>> {
    let code = &source.code;
    let measured = occurrences(code, "fn").filter_map(move |at| {
        let name = function_name(code, at)?;
        let ItemEnd::Body { end, .. } = item_end(code, at) else { return None };
        let line = line_of(code, at);
        Some(Long { path: &source.path, name, line, lines: line_of(code, end) - line + 1 })
    });
    measured.filter(|long| long.lines > FUNCTION_LINES_MAX)
}

/// None for a function pointer type.
fn function_name(code: &str, at: usize) -> Option<&str> {
    let begin = skip_space(code, at + "fn".len());
    let length = code[begin..].find(['(', '<'])?;
    (length > 0).then(|| &code[begin..begin + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> Source {
        let body = "    step();\n".repeat(lines - 2);
        Source::new(
            "src/a.rs",
            &format!("type F = fn(u8);\nfn long<T>(x: T) -> [u8; 4] {{\n{body}}}\nfn short() {{}}\n"),
        )
    }

    fn findings(lines: usize, exceptions: &[(&str, &str, usize)]) -> String {
        check_functions([&function(lines)].into_iter(), exceptions).join("\n")
    }

    #[test]
    fn long_function_is_caught() {
        assert_eq!(findings(70, &[]), "");
        assert!(findings(71, &[]).starts_with("src/a.rs:2: `long` has 71 lines, 70 are allowed"));
    }

    #[test]
    fn exceptions_are_a_ratchet() {
        assert_eq!(findings(80, &[("src/a.rs", "long", 80)]), "");
        assert!(findings(81, &[("src/a.rs", "long", 80)]).contains("over"));
        assert!(findings(71, &[("src/a.rs", "long", 120)]).contains("(\"src/a.rs\", \"long\", 71),"));
        assert!(findings(70, &[("src/a.rs", "long", 80)]).contains("strike"));
    }

    #[test]
    fn long_file_is_caught() {
        let file = |path, lines| check_file(&Source::new(path, &"//\n".repeat(lines))).is_some();
        assert!(file("src/a.rs", 701) && file("uring-tests/a.rs", 701) && file("examples/a.rs", 81));
        assert!(!file("src/a.rs", 700) && !file("examples/a.rs", 80) && !file("benches/a.rs", 900));
    }
}
