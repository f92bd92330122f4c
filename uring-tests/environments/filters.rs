//! Filters of system calls, as containers and sandboxes have them. A filter is the thread's and stays for ever.

use std::{collections::BTreeMap, io, time::Duration};

use nix::libc::{EINVAL, ENOSYS, EPERM, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, c_long};
use ringio::{ReportKind, Runner};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{kernel_is, refusal, run_says, smoke, smoke_once};
use crate::support::{PROFILES, Reports, alone, canary::Quarantine, wire};

/// From now on this thread's system calls that match these rules fail. (A call without rules always matches.)
fn refuse(calls: impl IntoIterator<Item = (c_long, Vec<SeccompRule>)>, errno: i32) {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.into_iter().collect();
    let answer = SeccompAction::Errno(errno as u32);
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture that can be filtered");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a thread may give up rights");
}

fn always(call: c_long) -> (c_long, Vec<SeccompRule>) {
    (call, Vec::new())
}

/// What a filter does to a runtime that starts, and what it says.
#[track_caller]
fn refused_at_the_start(call: c_long, errno: i32, says: &[&str]) {
    refuse([always(call)], errno);
    let text = refusal();
    for words in says {
        assert!(text.contains(words), "{words:?} is missing: {text}");
        assert_eq!(text.matches(words).count(), 1, "it says so twice: {text}");
    }
    run_says(says[0]);
    // It is said again to whoever asks again.
    assert_eq!(refusal(), text);
}

#[test]
fn set_up_refused_as_docker_does_names_the_filter_and_the_fix() {
    alone(&set_up_refused_as_docker_does_names_the_filter_and_the_fix, || {
        refused_at_the_start(
            SYS_io_uring_setup,
            EPERM,
            &["a seccomp filter blocks it", "--security-opt", "cannot use io_uring"],
        );
    });
}

#[test]
fn set_up_unknown_as_in_a_sandbox_says_that_there_is_no_io_uring() {
    alone(&set_up_unknown_as_in_a_sandbox_says_that_there_is_no_io_uring, || {
        refused_at_the_start(SYS_io_uring_setup, ENOSYS, &["has no io_uring", "gVisor"]);
    });
}

#[test]
fn enter_refused_is_found_out_at_the_start() {
    // A filter may allow the set-up and refuse the rest: one operation is passed through before a runtime is one.
    alone(&enter_refused_is_found_out_at_the_start, || {
        refused_at_the_start(
            SYS_io_uring_enter,
            EPERM,
            &["a seccomp filter blocks it", "ring cannot be used any more"],
        );
    });
}

#[test]
fn register_refused_names_the_filter_and_the_fix() {
    alone(&register_refused_names_the_filter_and_the_fix, || {
        refused_at_the_start(SYS_io_uring_register, EPERM, &["a seccomp filter blocks it", "io_uring_register"]);
    });
}

/// A filter comes when the runtime is in the middle of its work; what it had lent stays lent.
fn filtered_later(profile: &'static str, errno: i32, says: &str) {
    let (quarantine, reports) = (Quarantine::default(), Reports::default());
    let builder = Runner::builder().profile(profile).handle_ctrl_c(false).shutdown_timeout(Duration::from_secs(60));
    let mut runner = reports.hear(builder).build().unwrap();
    let mut writers = Vec::new();
    let (buffers, pipes) = (quarantine.clone(), &mut writers);
    let text = crate::contract::panic_text(
        std::panic::AssertUnwindSafe(|| {
            runner.run(async move {
                for _ in 0..3 {
                    let ((reader, writer), buffer) = (wire::pipe(), buffers.buffer(512, 1));
                    pipes.push(writer);
                    ringio::create_task(async move { reader.read(buffer).await.0 });
                }
                smoke_once().await;
                refuse([always(SYS_io_uring_enter)], errno);
                let slept = ringio::sleep(Duration::from_secs(3600)).await;
                panic!("nothing can be waited for any more: {slept:?}");
            })
        })
        .0,
    );
    assert!(text.contains("io_uring_enter") && text.contains(says), "{text}");
    // Its end ends, though no task can: at once, not after a minute.
    let start = std::time::Instant::now();
    runner.close();
    assert!(start.elapsed() < Duration::from_secs(10), "the end took {:?}", start.elapsed());
    assert_eq!(reports.of(ReportKind::OperationsLeaked), 1, "{:?}", reports.texts());
    // The kernel may still write there: it is leaked, not freed.
    for mut writer in writers {
        io::Write::write_all(&mut writer, b"late").unwrap();
    }
    assert_eq!(quarantine.len(), 0, "lent memory was freed though the kernel never gave it back");
    run_says(says);
}

#[test]
fn filter_added_later_is_one_clear_error_and_an_end() {
    // kernel pitfall 42: a refused enter is fatal, not a loop
    alone(&filter_added_later_is_one_clear_error_and_an_end, || {
        for (profile, (errno, says)) in
            PROFILES.iter().zip([(EPERM, "seccomp"), (ENOSYS, "has no io_uring"), (EPERM, "seccomp")])
        {
            // A filter stays with its thread.
            let thread = std::thread::spawn(move || filtered_later(profile, errno, says));
            thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        }
        smoke::works();
    });
}

#[test]
fn every_wait_is_marked_as_no_wait_for_a_disk() {
    // lessons §3 row 26: without NO_IOWAIT an idle loop shows up as a core that waits for a disk
    alone(&every_wait_is_marked_as_no_wait_for_a_disk, || {
        if !kernel_is(6, 15) {
            return eprintln!("SKIPPED: NO_IOWAIT came with Linux 6.15");
        }
        const NO_IOWAIT: u64 = 1 << 7;
        let unmarked = |wanted: u64| {
            let flags = SeccompCmpOp::MaskedEq(NO_IOWAIT);
            let condition = SeccompCondition::new(3, SeccompCmpArgLen::Dword, flags, wanted).expect("a condition");
            vec![SeccompRule::new(vec![condition]).expect("a rule")]
        };
        refuse([(SYS_io_uring_enter, unmarked(0))], EINVAL);
        smoke::works();
        // And the filter is one: the marked calls refused as well, nothing works.
        refuse([(SYS_io_uring_enter, unmarked(NO_IOWAIT))], EINVAL);
        assert!(refusal().contains("Invalid argument"), "{}", refusal());
    });
}
