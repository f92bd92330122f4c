//! `cfg` stands on `mod` lines (and in lib.rs on the `pub use` beside them) and on the variants of `Driver`.

use crate::text::{ItemEnd, behind_bracket, finding, item_end, line_of, occurrences, skip_space, word_at};
use crate::tree::Source;

const SEAM: &str = "src/driver/mod.rs";

/// Conditions that may stand on any item: what only tests see.
const HARMLESS: &[&str] = &["(test)", "(feature = \"internals\")", "(any(test, feature = \"internals\"))"];

pub(crate) fn check(source: &Source) -> Vec<String> {
    let live = &source.live;
    let attributes = ["#[cfg(", "#[cfg_attr("].into_iter().flat_map(|pattern| live.match_indices(pattern));
    let misplaced = attributes.filter(|&(at, _)| !is_in_place(source, at)).map(|(at, _)| at);
    let macros = ["cfg!", "cfg_if"].into_iter().flat_map(|word| occurrences(live, word));
    let advice = "cfg stands on `mod` lines only; make two files with one interface, or decide once at run time";
    misplaced.chain(macros).map(|at| finding(&source.path, line_of(live, at), advice)).collect()
}

fn is_in_place(source: &Source, at: usize) -> bool {
    let open = at + source.live[at..].find('(').expect("part of the pattern");
    let condition = &source.text[open..behind_bracket(&source.live, open)];
    HARMLESS.contains(&condition) || is_on_module(source, at) || is_on_variant(source, at)
}

fn is_on_module(source: &Source, at: usize) -> bool {
    let item = behind_attributes(&source.live, at);
    let mut item = source.live[item..].trim_start();
    if let Some(public) = item.strip_prefix("pub") {
        let restricted = public.starts_with('(').then(|| &public[behind_bracket(public, 0)..]);
        item = restricted.unwrap_or(public).trim_start();
    }
    let keyword = word_at(item, 0);
    keyword == "mod" || keyword == "use" && source.path == "src/lib.rs"
}

/// In the body of `enum Driver`, of the file that knows which drivers there are.
fn is_on_variant(source: &Source, at: usize) -> bool {
    let mut enums = occurrences(&source.live, "enum Driver");
    source.path == SEAM
        && enums.any(|item| match item_end(&source.live, item) {
            ItemEnd::Body { open, end } => (open..end).contains(&at),
            ItemEnd::Bare(_) => false,
        })
}

fn behind_attributes(live: &str, at: usize) -> usize {
    let mut at = at;
    while live[at..].starts_with("#[") {
        at = skip_space(live, behind_bracket(live, at + 1));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn cfg_elsewhere_is_caught() {
        assert_eq!(count("src/a.rs", "fn f() {\n#[cfg(feature = \"x\")]\ng();\n}"), 1);
        assert_eq!(count("src/a.rs", "#[cfg(loom)]\nuse loom::x;\n#[cfg_attr(miri, inline)]\nfn f() {}"), 2);
        assert_eq!(count("src/a.rs", "fn f() { if cfg!(debug_assertions) {} }\ncfg_if::cfg_if! {}"), 3);
        assert_eq!(count("src/a.rs", "#[cfg(not(test))]\nfn f() {}"), 1);
        assert_eq!(count("src/driver/mod.rs", "#[cfg(x)]\nfn f() {}\nenum Driver { A }"), 1);
    }

    #[test]
    fn cfg_in_its_places_passes() {
        assert_eq!(count("src/a.rs", "#[cfg(feature = \"x\")]\n#[doc(hidden)]\npub(crate) mod x;"), 0);
        assert_eq!(
            count("src/lib.rs", "#![cfg_attr(docsrs, feature(doc_cfg))]\n#[cfg(feature = \"x\")]\npub use x::Y;"),
            0
        );
        assert_eq!(
            count("src/a.rs", "#[cfg(feature = \"internals\")]\nfn f() {}\n#[cfg(test)]\nmod tests { cfg!(miri) }"),
            0
        );
        assert_eq!(count("src/driver/mod.rs", "enum Driver { A, #[cfg(feature = \"sim\")] Sim(World) }"), 0);
    }
}
