//! The repository as the checks see it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mask;

/// Every file of the project, and the Rust among them.
pub(crate) struct House {
    pub(crate) root: PathBuf,
    /// Paths from the root, with `/`, sorted.
    pub(crate) files: Vec<String>,
    pub(crate) sources: Vec<Source>,
}

/// One Rust file in three readings of the same length and lines.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` without comments and literals.
    pub(crate) code: String,
    /// `code` without what is compiled for tests only.
    pub(crate) live: String,
}

/// Folders of `src` that are crates of their own: the attribute macros and the commands.
const CRATES_APART: &[&str] = &["macros", "bin"];

impl House {
    pub(crate) fn read() -> House {
        let root = root();
        let mut files = tracked(&root).unwrap_or_else(|| listed(&root, &root));
        files.retain(|path| root.join(path).is_file());
        files.sort();
        let rust = files.iter().filter(|path| path.ends_with(".rs"));
        let sources = rust.filter_map(|path| Some(Source::new(path, &text_of(&root, path)?))).collect();
        House { root, files, sources }
    }

    pub(crate) fn under<'h>(&'h self, folders: &'h [&str]) -> impl Iterator<Item = &'h Source> {
        self.sources.iter().filter(|source| folders.iter().any(|folder| source.path.starts_with(folder)))
    }

    /// Every file that is text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, String)> {
        self.files.iter().filter_map(|path| Some((path.as_str(), text_of(&self.root, path)?)))
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let code = mask::code_only(text);
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let live = if is_test { mask::nothing(&code) } else { mask::without_tests(&code) };
        Source { path: path.into(), text: text.into(), code, live }
    }

    /// The top-level module of `src` that the file belongs to: none for `lib.rs`, for files elsewhere, and for crates of
    /// their own.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?;
        let is_apart = name == "lib.rs" || CRATES_APART.contains(&name);
        (!is_apart).then(|| name.trim_end_matches(".rs"))
    }
}

fn root() -> PathBuf {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").ok();
    let manifest = manifest.as_deref().or(option_env!("CARGO_MANIFEST_DIR")).unwrap_or("uring-tests");
    Path::new(manifest).join("..")
}

/// What git tracks or would track. None without git, or outside a repository.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let files: Vec<String> = names.split_terminator('\0').map(String::from).collect();
    (output.status.success() && !files.is_empty()).then_some(files)
}

fn listed(root: &Path, folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the repository can be listed");
    let paths = entries.map(|entry| entry.expect("the repository can be listed").path());
    let kept = paths.filter(|path| !path.ends_with("target") && !path.ends_with(".git"));
    kept.flat_map(|path| match path.is_dir() && !path.is_symlink() {
        true => listed(root, &path),
        false => vec![path.strip_prefix(root).expect("is below the root").to_string_lossy().into_owned()],
    })
    .collect()
}

fn text_of(root: &Path, path: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root.join(path)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_is_the_first_name_below_src() {
        let module = |path| Source::new(path, "").module().map(String::from);
        assert_eq!(module("src/executor/cell/raw.rs").as_deref(), Some("executor"));
        assert_eq!(module("src/scope.rs").as_deref(), Some("scope"));
        assert_eq!(module("src/lib.rs"), None);
        assert_eq!(module("src/macros/function.rs"), None);
        assert_eq!(module("examples/echo.rs"), None);
    }

    #[test]
    fn listing_finds_what_git_finds() {
        let root = root();
        let found = listed(&root, &root);
        assert!(found.iter().any(|path| path == "uring-tests/tidy.rs"));
        assert!(!found.iter().any(|path| path.starts_with(".git/")));
    }
}
