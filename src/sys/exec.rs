//! What the child does between its birth and its program (X1-X4 in `spawn.rs`). Only system calls: its memory is still its
//! parent's.

use std::{
    os::fd::{AsRawFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::spawn::{Orders, Stage, Wire};

type Failure = (Stage, i32);

fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}

fn check(stage: Stage, result: impl Into<i64>) -> Result<i64, Failure> {
    let result = result.into();
    if result < 0 { Err((stage, errno())) } else { Ok(result) }
}

/// Returns only when something failed.
pub(super) fn carry_out(orders: &mut Orders<'_>) -> Failure {
    match prepare(orders) {
        Ok(()) => run_program(orders),
        Err(failure) => failure,
    }
}

/// In CPython's order.
fn prepare(orders: &mut Orders<'_>) -> Result<(), Failure> {
    place_descriptors(orders)?;
    let plan = &mut *orders.plan;
    if let Some(directory) = &plan.directory {
        // SAFETY: a text that ends with a zero.
        check(Stage::Directory, unsafe { libc::chdir(directory.as_ptr()) })?;
    }
    if let Some(umask) = plan.umask {
        // SAFETY: no memory is passed.
        unsafe { libc::umask(umask as libc::mode_t) };
    }
    if plan.new_session {
        // SAFETY: no memory is passed.
        check(Stage::Session, unsafe { libc::setsid() })?;
    }
    if let Some(group) = plan.process_group {
        // SAFETY: no memory is passed.
        check(Stage::Session, unsafe { libc::setpgid(0, group) })?;
    }
    set_credentials(orders)?;
    for step in &mut orders.plan.pre_exec {
        // A panic must not unwind into the stack of the parent.
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err((Stage::PreExec, error.raw_os_error().unwrap_or(libc::EINVAL))),
            Err(_) => return Err((Stage::PreExec, libc::ECANCELED)),
        }
    }
    if orders.plan.close_others {
        close_others(&orders.kept)?;
    }
    reset_signals(orders.plan.restore_signals);
    let mask = orders.plan.mask.unwrap_or_else(nix::sys::signal::SigSet::empty);
    // It cannot fail: the set is valid.
    let _ = mask.thread_set_mask();
    Ok(())
}

/// Puts 0, 1 and 2 in place. Sources are numbers from three up, or what stands here already.
fn place_descriptors(orders: &Orders<'_>) -> Result<(), Failure> {
    for (target, wire) in (0..).zip(&orders.plan.wires) {
        match wire {
            // One that is not open here is not open there; that is no failure.
            Wire::Same => drop(stay_open(target)),
            Wire::Descriptor(fd) => replace(fd.as_raw_fd(), target)?,
            Wire::Output => replace(1, target)?,
        }
    }
    orders.kept.iter().try_for_each(|&fd| stay_open(fd))
}

fn replace(source: RawFd, target: RawFd) -> Result<(), Failure> {
    // SAFETY: no memory is passed; the table of descriptors is the child's own.
    check(Stage::Descriptors, unsafe { libc::dup2(source, target) })?;
    Ok(())
}

fn stay_open(fd: RawFd) -> Result<(), Failure> {
    // SAFETY: no memory is passed; the table of descriptors is the child's own.
    check(Stage::Descriptors, unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
    Ok(())
}

/// Closes everything from three up but what is kept.
fn close_others(kept: &[RawFd]) -> Result<(), Failure> {
    let mut from = 3;
    for &fd in kept {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = from.max(fd + 1);
    }
    close_range(from, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), Failure> {
    // SAFETY: no memory is passed; the table of descriptors is the child's own.
    check(Stage::Descriptors, unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

/// By plain system calls: the C library's functions would change every thread of the parent.
fn set_credentials(orders: &Orders<'_>) -> Result<(), Failure> {
    let plan = &*orders.plan;
    if let Some(groups) = &plan.extra_groups {
        // SAFETY: as many readable numbers as it says.
        check(Stage::Credentials, unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    }
    if let Some(group) = plan.group {
        // SAFETY: no memory is passed.
        check(Stage::Credentials, unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
    }
    if let Some(user) = plan.user {
        // SAFETY: no memory is passed.
        check(Stage::Credentials, unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) })?;
    }
    Ok(())
}

/// The highest number of a signal.
const SIGNAL_MAX: i32 = 64;

/// Rust's own programs ignore the first; a parent that ignores its children must not make theirs vanish.
const RESTORED: [i32; 3] = [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD];

/// X3: what this process catches has its default action before a signal may come. What it ignores stays ignored, but for
/// those above.
fn reset_signals(restore: bool) {
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: zeros are a valid action: the default.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: asks only. It fails for signals that are nobody's to set.
        if unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) } != 0 {
            continue;
        }
        let caught = action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN;
        if caught || restore && RESTORED.contains(&signal) {
            // SAFETY: zeros are a valid action: the default.
            let default: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: the action is valid, and the child's own (CLONE_SIGHAND is not set).
            unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
        }
    }
}

/// Tries every place; what it reports is the first refusal that says more than "not there".
fn run_program(orders: &Orders<'_>) -> Failure {
    let mut told = libc::ENOENT;
    for &candidate in &orders.candidates {
        // SAFETY: texts that end with a zero, in lists that end with a null.
        unsafe { libc::execve(candidate, orders.argv.as_ptr(), orders.envp.as_ptr()) };
        let refused = errno();
        if !matches!(refused, libc::ENOENT | libc::ENOTDIR) && told == libc::ENOENT {
            told = refused;
        }
    }
    (Stage::Exec, told)
}
