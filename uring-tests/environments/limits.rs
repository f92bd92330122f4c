//! Limits: locked memory for a user who has no rights, and descriptors.

use std::io;

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Uid, geteuid, setuid},
};
use ringio::{Runner, TcpListener};

use super::{refusal, run_says, smoke};
use crate::support::{PATIENCE, PROFILES, alone, process::descriptors, settled, wire};

const KIB: u64 = 1024;

/// From now on this process may lock so much memory, as a user who has nothing else and no rights. False where that
/// cannot be had.
fn become_nobody(memlock: u64) -> bool {
    setrlimit(Resource::RLIMIT_MEMLOCK, memlock, memlock).expect("a limit can be lowered");
    // Locked memory is counted by user: each of these processes is one of its own.
    let nobody = Uid::from_raw(1_000_000_000 + std::process::id());
    if geteuid().is_root()
        && let Err(error) = setuid(nobody)
    {
        eprintln!("SKIPPED: the rights of root cannot be given up here: {error}");
        return false;
    }
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs");
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a field of status").trim();
    let plain = u64::from_str_radix(rights, 16) == Ok(0);
    if !plain {
        eprintln!("SKIPPED: this user has rights: {rights}");
    }
    plain
}

#[test]
fn no_locked_memory_at_all_is_one_clear_error() {
    alone(&no_locked_memory_at_all_is_one_clear_error, || {
        if become_nobody(0) {
            let text = refusal();
            assert!(text.contains("RLIMIT_MEMLOCK") && text.contains("ulimit -l"), "{text}");
            run_says("LimitMEMLOCK=");
        }
    });
}

#[test]
fn little_locked_memory_means_smaller_queues_and_a_report_that_says_so() {
    alone(&little_locked_memory_means_smaller_queues_and_a_report_that_says_so, || {
        if !become_nobody(64 * KIB) {
            return;
        }
        let mut runner = Runner::new().expect("64 KiB are enough to work with");
        let report = runner.driver_report().unwrap();
        eprintln!("{report}");
        assert!(report.queues.1 < 4096, "the queues do not fit into 64 KiB: {:?}", report.queues);
        assert!(report.reason.contains("RLIMIT_MEMLOCK"), "it does with less and does not say why: {}", report.reason);
        smoke::run(&mut runner, 3);
        // And there is nothing left for a second one while the first lives.
        assert!(refusal().contains("RLIMIT_MEMLOCK"));
        drop(runner);
        smoke::works();
    });
}

#[test]
fn usual_limit_of_locked_memory_is_enough_for_several_runtimes() {
    alone(&usual_limit_of_locked_memory_is_enough_for_several_runtimes, || {
        if !become_nobody(8 * KIB * KIB) {
            return;
        }
        let mut runners: Vec<Runner> = (0..8).map(|_| Runner::new().expect("8 MiB are enough for eight")).collect();
        for runner in &mut runners {
            let report = runner.driver_report().unwrap();
            assert_eq!(report.queues, (256, 4096), "{report}");
            assert!(!report.reason.contains("RLIMIT_MEMLOCK"), "{report}");
            smoke::run(runner, 1);
        }
    });
}

#[test]
fn rings_made_and_dropped_in_a_loop_fit_into_little_locked_memory() {
    // lessons §3 row 25, kernel pitfall 36: the kernel gives memory of closed rings back a little later
    alone(&rings_made_and_dropped_in_a_loop_fit_into_little_locked_memory, || {
        if become_nobody(64 * KIB) {
            for round in 0..40 {
                let mut runner = Runner::new().unwrap_or_else(|error| panic!("round {round}: {error}"));
                assert_eq!(runner.run(async { 7 }), 7);
            }
        }
    });
}

/// From now on so many descriptors may be open.
fn allow_descriptors(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    setrlimit(Resource::RLIMIT_NOFILE, count, hard).expect("a limit can be lowered");
}

/// Opens more clients than there are descriptors for, one group after the other; a blocking client is two of them.
fn serve_more_than_fits(runner: &mut Runner) {
    runner.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for round in 0..20 {
            let client = wire::connect(address);
            let (accepted, _) = ringio::wait_for(listener.accept(), PATIENCE).await.expect("a descriptor is free");
            drop((client, accepted));
            assert!(round < 20);
            settled_but_for_the_accept().await;
        }
        listener.close().await.unwrap();
        settled().await;
    });
}

/// Everything but the accept that is always waiting has ended.
async fn settled_but_for_the_accept() {
    crate::support::until("only the accept is left", || ringio::internals::counts().operations <= 1).await;
}

#[test]
fn few_descriptors_are_enough_for_a_little_of_everything() {
    // kernel pitfall 41
    alone(&few_descriptors_are_enough_for_a_little_of_everything, || {
        for limit in [64, 16] {
            allow_descriptors(limit);
            for profile in PROFILES {
                let mut runner = Runner::builder().profile(profile).handle_ctrl_c(false).build().unwrap();
                smoke::run(&mut runner, 2);
                serve_more_than_fits(&mut runner);
            }
        }
        // Too few to start with: one clear error, and nothing of the attempt stays open.
        let before = descriptors();
        let first_free = (0..).find(|number| !before.iter().any(|(open, _)| open == number)).unwrap();
        for more in 0..2 {
            allow_descriptors(u64::from(first_free + more));
            let error = Runner::new().expect_err("a ring and a doorbell are two descriptors");
            let text = error.to_string();
            assert!(text.contains("RLIMIT_NOFILE") && text.contains("ulimit -n"), "{more}: {text}");
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        }
        allow_descriptors(u64::from(first_free + 2));
        assert_eq!(Runner::new().unwrap().run(async { 7 }), 7);
    });
}
