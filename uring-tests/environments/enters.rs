//! A kernel that refuses to be entered, every now and then: slower, never wrong. strace puts the errors in, before the
//! call is made; where there is none, or it may trace nobody, these say that they were skipped.

use std::process::{Command, Stdio};

use nix::unistd::getppid;

use super::smoke;
use crate::support::{Alone, each_profile};

/// Whether strace can trace here, and knows the calls.
fn strace_works() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-e", "inject=io_uring_enter:error=EAGAIN:when=1+1", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Runs a little of everything while every so many enters fail with an error.
fn with_failing_enters(test: &impl Fn(), error: &str, when: &str) {
    if !strace_works() {
        return eprintln!("SKIPPED: strace is not there, or may not trace");
    }
    let inject = format!("inject=io_uring_enter:error={error}:when={when}");
    let strace = ["strace", "-f", "-qq", "-e", "trace=io_uring_enter", "-e", &inject, "-o", "/dev/null"];
    Alone::new(test).under(&strace).run(|| {
        assert!(is_traced(), "strace runs this process");
        each_profile(|_, runner| smoke::run(runner, 2));
    });
}

fn is_traced() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() == getppid().to_string()))
}

#[test]
fn enter_that_has_no_memory_for_now_is_tried_again() {
    // kernel pitfall 5; lessons §3 row 12
    with_failing_enters(&enter_that_has_no_memory_for_now_is_tried_again, "EAGAIN", "3+3");
}

#[test]
fn enter_that_has_no_room_for_completions_is_tried_again() {
    with_failing_enters(&enter_that_has_no_room_for_completions_is_tried_again, "EBUSY", "2+2");
}

#[test]
fn enter_that_is_interrupted_is_as_good_as_any() {
    with_failing_enters(&enter_that_is_interrupted_is_as_good_as_any, "EINTR", "2+2");
}

#[test]
fn enters_that_find_no_memory_every_other_time_get_through() {
    // The first one as well, which is the one that tries the ring.
    with_failing_enters(&enters_that_find_no_memory_every_other_time_get_through, "ENOMEM", "1+2");
}
