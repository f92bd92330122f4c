//! Every public function that may wait says, in one of four phrases, what a cancel does.

use crate::text::{ItemEnd, behind_bracket, finding, item_end, line_of, occurrences, skip_space, word_at};
use crate::tree::Source;

const PHRASES: [&str; 4] = ["**Nothing lost**", "**Buffer lost**", "**Effect unknown**", "**Runs on**"];

pub(crate) fn check(source: &Source) -> Vec<String> {
    let waiting = occurrences(&source.live, "pub").filter(|&at| may_wait(&source.live, at));
    waiting.filter_map(|at| check_docs(source, line_of(&source.live, at))).collect()
}

/// `pub async fn`, and `pub fn` that returns `impl … Future …`.
fn may_wait(live: &str, at: usize) -> bool {
    let mut at = skip_space(live, at + "pub".len());
    let mut is_async = false;
    loop {
        match word_at(live, at) {
            "fn" => break,
            "async" => is_async = true,
            "unsafe" | "const" => {}
            _ => return false,
        }
        at = skip_space(live, at + word_at(live, at).len());
    }
    is_async || returns_future(live, at)
}

fn returns_future(live: &str, function: usize) -> bool {
    let Some(open) = live[function..].find('(').map(|open| function + open) else { return false };
    let behind_arguments = behind_bracket(live, open);
    let (ItemEnd::Bare(end) | ItemEnd::Body { open: end, .. }) = item_end(live, behind_arguments);
    let result = live[behind_arguments..end].split(" where ").next().unwrap_or_default().trim_start();
    result.strip_prefix("->").is_some_and(|result| {
        result.trim_start().starts_with("impl")
            && ["Future", "IntoFuture"].iter().any(|name| occurrences(result, name).next().is_some())
    })
}

fn check_docs(source: &Source, line: usize) -> Option<String> {
    let docs = docs_above(&source.text, line);
    let section = docs.split("# Cancellation").nth(1).map(|behind| behind.split("\n# ").next().unwrap_or(behind));
    let advice = match section {
        None => "may wait, and its docs have no `# Cancellation` section; add one with one of these phrases",
        Some(section) if PHRASES.iter().any(|phrase| section.contains(phrase)) => return None,
        Some(_) => "its `# Cancellation` section lacks the promise; use one of these phrases",
    };
    Some(finding(&source.path, line, format!("{advice}: {}", PHRASES.join(", "))))
}

/// The doc comments above an item, without their slashes; attributes may stand between.
fn docs_above(text: &str, line: usize) -> String {
    let above: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let item =
        above.iter().rposition(|line| !line.starts_with("///") && !line.starts_with("#[")).map_or(0, |at| at + 1);
    let docs = above[item..].iter().filter_map(|line| line.strip_prefix("///"));
    docs.map(str::trim_start).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(&Source::new("src/a.rs", text))
    }

    #[test]
    fn missing_section_is_caught() {
        assert!(findings("/// Waits.\npub async fn f() {}")[0].starts_with("src/a.rs:2: may wait"));
        assert_eq!(findings("/// # Cancellation\n/// **Nothing lost**.\npub fn g() {}\npub async fn f() {}").len(), 1);
        assert_eq!(findings("pub fn f(x: u8) -> impl Future<Output = ()> + use<> { x }").len(), 1);
        assert_eq!(findings("pub const unsafe fn f() {}\npub async unsafe fn g() {}").len(), 1);
    }

    #[test]
    fn missing_phrase_is_caught() {
        let found =
            findings("/// # Cancellation\n/// Fine.\n///\n/// # Panics\n/// **Nothing lost**.\npub async fn f() {}");
        assert!(found[0].contains("lacks the promise"), "{found:?}");
    }

    #[test]
    fn promise_passes() {
        let docs = "/// Reads.\n///\n/// # Cancellation\n/// **Nothing lost**: it stays.\n#[doc(alias = \"x\")]\n";
        assert_eq!(findings(&format!("{docs}    pub async fn f() {{}}")), [""; 0]);
        assert_eq!(findings("pub(crate) async fn f() {}\nasync fn g() {}\npub fn h(f: impl Future) -> u8 {}"), [""; 0]);
        assert_eq!(findings("#[cfg(test)]\nmod tests { pub async fn f() {} }"), [""; 0]);
    }
}
