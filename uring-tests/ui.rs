//! Programs that must not compile, and why; and programs that must.
//!
//! Each file of `ui/` is a program. A line that ends with `//~ text` is an error: with those lines the program does not
//! compile, each of the texts is in what the compiler says, and it speaks of each such line that has one. Without them it
//! compiles, and without a warning: so it is they that are wrong, and nothing else. A program without such lines compiles.
//!
//! The compiler is called by itself, with the library that was built for the tests: some tenths of a second a program.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::SystemTime,
};

const MARK: &str = "//~";

#[test]
fn programs_compile_or_say_why_not() {
    let cases = cases();
    assert!(cases.len() > 5, "the programs are found");
    let (_, _) = library();
    let mut findings = Vec::new();
    // Two at a time: each has one or two compilers to wait for.
    for pair in cases.chunks(2) {
        let checks: Vec<_> = pair.iter().cloned().map(|case| thread::spawn(move || case.check())).collect();
        findings.extend(checks.into_iter().filter_map(|check| check.join().expect("a check does not panic")));
    }
    assert!(findings.is_empty(), "{} program(s)\n{}", findings.len(), findings.join("\n"));
}

#[derive(Clone)]
struct Case {
    name: String,
    text: String,
}

struct Marked<'a> {
    number: usize,
    text: &'a str,
}

/// What the compiler says of a program.
struct Verdict {
    compiles: bool,
    said: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let of = |path: PathBuf| Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs")).map(of).collect()
}

impl Case {
    /// What is wrong with it, if anything is.
    fn check(&self) -> Option<String> {
        let right = self.compile("right", &self.without_marked());
        if !right.compiles {
            return Some(format!("{} does not compile as it should:\n{}", self.name, right.said));
        }
        let marked = self.marked();
        if marked.is_empty() {
            return None;
        }
        let wrong = self.compile("wrong", &self.without_expectations());
        let mut findings = String::new();
        if wrong.compiles {
            writeln!(findings, "it compiles").unwrap();
        }
        for Marked { number, text } in marked.iter().filter(|marked| !marked.text.is_empty()) {
            let place = format!("{}.rs:{number}:", self.name);
            if !wrong.said.contains(&place) {
                writeln!(findings, "nothing is said of line {number}").unwrap();
            }
            if !wrong.said.contains(text) {
                writeln!(findings, "line {number}: it is not said that {text:?}").unwrap();
            }
        }
        (!findings.is_empty()).then(|| format!("{}:\n{findings}{}", self.name, wrong.said))
    }

    fn marked(&self) -> Vec<Marked<'_>> {
        let lines = (1..).zip(self.text.lines());
        let of = |(number, line): (usize, &'_ str)| {
            let at = line.find(MARK)?;
            Some((number, at + MARK.len()))
        };
        lines
            .filter_map(|(number, line)| {
                of((number, line)).map(|(number, at)| Marked { number, text: line[at..].trim() })
            })
            .collect()
    }

    fn without_marked(&self) -> String {
        let kept = |line: &&str| !line.contains(MARK);
        self.text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect()
    }

    /// The compiler shows the lines it speaks of, and what is expected of it must not stand there.
    fn without_expectations(&self) -> String {
        let code = |line: &str| line.find(MARK).unwrap_or(line.len());
        self.text.lines().flat_map(|line| [&line[..code(line)], "\n"]).collect()
    }

    fn compile(&self, variant: &str, text: &str) -> Verdict {
        let (library, dependencies) = library();
        compile(&self.name, variant, text, library, dependencies)
    }
}

fn compile(name: &str, variant: &str, text: &str, library: &Path, dependencies: &Path) -> Verdict {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui").join(variant);
    fs::create_dir_all(&folder).unwrap();
    let source = folder.join(name).with_extension("rs");
    fs::write(&source, text).unwrap();
    let kind = match (
        text.contains("#[ringio::test"),
        text.lines().any(|line| line.contains("fn main() ") && !line.starts_with(' ')),
    ) {
        (true, _) => ["--test", "--crate-name=case"],
        (false, true) => ["--crate-type=bin", "--crate-name=case"],
        (false, false) => ["--crate-type=lib", "--crate-name=case"],
    };
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(kind)
        .args(["--edition=2024", "--emit=metadata", "--color=never", "--deny=warnings"])
        // Not the lines' own fault, with or without the marked ones.
        .args(["--allow=unused", "--deny=unused_must_use"])
        .arg("--extern")
        .arg(format!("ringio={}", library.display()))
        .arg(format!("-Ldependency={}", dependencies.display()))
        .arg("--out-dir")
        .arg(folder.join(name))
        .arg(&source)
        .stdin(Stdio::null())
        .output()
        .expect("rustc can be started; set RUSTC to where it is");
    Verdict { compiles: output.status.success(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// The library as it was built for these tests, and where what it uses is.
///
/// The newest one that can be used: nothing that was built since can be older than the sources this test was built from.
fn library() -> (&'static Path, &'static Path) {
    static LIBRARY: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let (library, dependencies) = LIBRARY.get_or_init(|| {
        let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
        let mut built: Vec<(SystemTime, PathBuf)> = fs::read_dir(&folder)
            .unwrap()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let is_library = name.starts_with("libringio-") && name.ends_with(".rlib");
                Some((path.metadata().ok()?.modified().ok()?, path.clone())).filter(|_| is_library)
            })
            .collect();
        built.sort_by(|one, other| other.cmp(one));
        let probe = "#[ringio::main]\nasync fn main() { let _ = ringio::testing::now(); }\n";
        let usable = built.into_iter().map(|(_, path)| path);
        let mut usable = usable.filter(|path| compile("probe", "probe", probe, path, &folder).compiles);
        let library = usable.next().unwrap_or_else(|| panic!("no usable libringio in {}", folder.display()));
        (library, folder)
    });
    (library, dependencies)
}
