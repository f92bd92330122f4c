//! What the fuzz targets run (`fuzz/`, `ci/fuzz`), over the corpus that is kept, and over some fresh inputs.

use std::{fs, path::Path};

use super::in_time;
use crate::support::Rng;

#[path = "../fuzz/bodies/flow.rs"]
mod flow;
#[path = "../fuzz/bodies/readuntil.rs"]
mod readuntil;

/// Calls `check` with everything in the corpus of `target`, then with `fresh` inputs of chance.
fn each_input(target: &'static str, fresh: usize, check: fn(&[u8])) {
    in_time(move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            eprintln!("{}", file.display());
            check(&fs::read(file).unwrap());
        }
        let mut rng = Rng::new(target);
        for _ in 0..fresh {
            let input = rng.chunk(400);
            eprintln!("{input:?}");
            check(&input);
        }
    });
}

#[test]
fn readuntil_is_what_it_plainly_says() {
    // SR3, SR4
    each_input("readuntil", 300, readuntil::check);
}

#[test]
fn flow_control_loses_nothing_and_bounds_what_is_taken_ahead() {
    // SR9, SR10
    each_input("flow", 100, flow::check);
}
