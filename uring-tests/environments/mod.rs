//! The places ringio is run in, each in a process of its own on the real ring: filters of system calls, limits, signals and
//! descriptors as somebody else left them, a kernel that says no. Everywhere it works, does with less and says so, or
//! gives one clear error; nowhere it hangs: a clock ends each of these processes (`support::process`).
//!
//! What runs everywhere is [`smoke`]. `panic = "abort"` needs a build of its own: `ci/abort`.

mod enters;
mod filters;
mod inherited;
mod limits;
mod smoke;

use std::{io::Write, time::Duration};

use ringio::Runner;

use crate::support::wire;

/// Whether a kernel of this version or a later one runs.
fn kernel_is(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// The text of the error that a runtime's start ends with.
#[track_caller]
fn refusal() -> String {
    match Runner::new() {
        Ok(runner) => panic!("a runtime started: {:?}", runner.driver_report()),
        Err(error) => error.to_string(),
    }
}

/// The same through `run`, which panics with it.
#[track_caller]
fn run_says(what: &str) {
    let text = crate::contract::panic_text(|| ringio::run(async {}));
    assert!(text.starts_with("ringio::run: ") && text.contains(what), "{text}");
}

/// A timer and a message, inside a runtime.
pub(crate) async fn smoke_once() {
    ringio::sleep(Duration::from_millis(1)).await.unwrap();
    let (mut reader, _writer, mut peer) = wire::stream_pair().await;
    peer.write_all(b"before").unwrap();
    assert_eq!(reader.readexactly(6).await.unwrap(), "before");
}
