//! What a process may inherit: a profile, signals, a standard input of somebody else's.

use std::{io::Write, process::Stdio};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::close,
};
use ringio::{Descriptor, Runner, create_task, yield_now};

use super::smoke;
use crate::support::{
    Alone, PROFILES, alone, each_profile,
    process::descriptors,
    signals::{default_sigpipe, ignore_sigchld},
    wire,
};

#[test]
fn everything_works_in_every_profile() {
    alone(&everything_works_in_every_profile, || each_profile(|_, runner| smoke::run(runner, 3)));
}

#[test]
fn profile_in_the_environment_is_the_one_that_is_used() {
    // lessons §3 row 32: what the kernel is known to get wrong can be left out, whatever it says it can
    let test = Alone::new(&profile_in_the_environment_is_the_one_that_is_used).variable("RINGIO_PROFILE", PROFILES[0]);
    test.run(|| assert_eq!(smoke::works(), "base"));
}

#[test]
fn signals_at_their_defaults_and_ignored_change_nothing() {
    alone(&signals_at_their_defaults_and_ignored_change_nothing, || {
        default_sigpipe();
        ignore_sigchld();
        each_profile(|_, runner| {
            smoke::run(runner, 2);
            runner.run(async {
                let (reader, writer) = wire::pipe_out();
                drop(reader);
                writer.write("nobody reads").await.0.unwrap_err();
            });
        });
    });
}

#[test]
fn closed_standard_descriptors_are_numbers_like_any_other() {
    alone(&closed_standard_descriptors_are_numbers_like_any_other, || {
        each_profile(|profile, _| {
            close(0).unwrap_or_else(|error| assert_eq!(error, nix::errno::Errno::EBADF));
            // The ring itself, its doorbell and connections get the number 0.
            let mut runner = Runner::builder().profile(profile).handle_ctrl_c(false).build().unwrap();
            assert_eq!(descriptors()[0].0, 0);
            smoke::run(&mut runner, 2);
            runner.close();
            let first = wire::listener();
            let mut runner = Runner::builder().profile(profile).handle_ctrl_c(false).build().unwrap();
            drop(first);
            smoke::run(&mut runner, 2);
        });
    });
}

#[test]
fn standard_input_that_does_not_block_is_waited_for_and_left_as_it_was() {
    // kernel pitfall 22; lessons §3 row 18
    let (reader, mut writer) = std::io::pipe().unwrap();
    wire::nonblocking(&reader);
    writer.write_all(b"first").unwrap();
    let test = Alone::new(&standard_input_that_does_not_block_is_waited_for_and_left_as_it_was);
    test.stdin(Stdio::from(reader)).run(|| {
        each_profile(|profile, runner| {
            let stdin = std::io::stdin();
            let flags = || OFlag::from_bits_truncate(fcntl(&stdin, FcntlArg::F_GETFL).unwrap());
            assert!(flags().contains(OFlag::O_NONBLOCK));
            // What was written before this process began is there once.
            if profile == PROFILES[0] {
                let input = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned().unwrap();
                let read = runner.run(async { Descriptor::new(input).read(vec![0; 64]).await });
                assert_eq!(read.0.unwrap(), 5);
            }
            smoke::run(runner, 1);
            runner.run(waits_for_bytes());
            assert!(flags().contains(OFlag::O_NONBLOCK), "the mode of a shared description was changed");
        });
    });
    drop(writer);
}

/// A pipe that does not block is waited for like any other.
async fn waits_for_bytes() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    wire::nonblocking(&reader);
    let input = Descriptor::new(reader.into());
    let reading = create_task(async move { input.read(vec![0; 64]).await.0 });
    for _ in 0..5 {
        yield_now().await.unwrap();
    }
    assert!(!reading.done(), "a read of nothing ended");
    writer.write_all(b"then").unwrap();
    assert_eq!(reading.await.unwrap(), 4);
}
