//! Processes by descriptor: a pidfd names one process for ever, whatever becomes of its number.
//!
//! Never `waitpid(-1)`, never a signal to a number that may have been given away.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Spawned;

/// What a look at a child finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has not ended.
    Running,
    /// It has ended, and is reaped now.
    Ended(ExitStatus),
    /// Somebody else reaped it, but the kernel still tells how it ended (Linux 6.15).
    Stolen(ExitStatus),
    /// Somebody else reaped it, and nobody can tell how it ended.
    Lost,
}

/// Reaps a child if it has ended.
pub(crate) fn look_at_child(pidfd: BorrowedFd<'_>) -> Look {
    // SAFETY: zeros are a valid, empty answer to be written over.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let number = pidfd.as_raw_fd() as libc::id_t; // a descriptor is never negative
    // SAFETY: `info` is writable, and the descriptor open.
    let waited = unsafe { libc::waitid(libc::P_PIDFD, number, &raw mut info, libc::WEXITED | libc::WNOHANG) };
    if waited != 0 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => Look::Running,
            _ => stolen(pidfd),
        };
    }
    // SAFETY: an answer of waitid, or zeros.
    if unsafe { info.si_pid() } == 0 {
        return Look::Running;
    }
    // SAFETY: as above.
    let value = unsafe { info.si_status() };
    Look::Ended(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (value & 0xff) << 8,
        libc::CLD_DUMPED => value | 0x80,
        _ => value,
    }))
}

/// How often to ask about a child that is being reaped by somebody at this moment.
const ASKS_MAX: u32 = 1000;

/// Who reaps publishes the exit code a moment after it has made the child nobody's.
fn stolen(pidfd: BorrowedFd<'_>) -> Look {
    for _ in 0..ASKS_MAX {
        // SAFETY: zeros are a valid question to be written over.
        let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
        info.mask = u64::from(libc::PIDFD_INFO_EXIT);
        // SAFETY: `info` is writable, and as long as the request says.
        if unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) } == 0 {
            if info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0 {
                return Look::Stolen(ExitStatus::from_raw(info.exit_code));
            }
        } else if io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH) {
            break; // an old kernel
        }
        thread::yield_now();
    }
    Look::Lost
}

/// The status that stands for one nobody knows, as asyncio has it.
pub(crate) fn unknown_status() -> ExitStatus {
    ExitStatus::from_raw(255 << 8)
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Process,
    /// The process group that the process leads.
    Group,
}

/// What became of a signal.
#[derive(Debug)]
pub(crate) enum Signalled {
    Sent,
    /// There is no such process (or group) any more.
    Gone,
    Failed(io::Error),
}

/// Sends a signal to exactly the process of the descriptor; zero asks only whether it could be sent.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32, reach: Reach) -> Signalled {
    let flags = match reach {
        Reach::Process => 0,
        Reach::Group => libc::PIDFD_SIGNAL_PROCESS_GROUP,
    };
    // SAFETY: no memory is passed.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    if sent == 0 {
        return Signalled::Sent;
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) { Signalled::Gone } else { Signalled::Failed(error) }
}

/// Sends a signal to the group that an unreaped child leads: for kernels before 6.9, which know no groups of pidfds. As
/// long as the child is not reaped, its number is nobody else's.
pub(crate) fn send_signal_to_unreaped_group(pid: u32, signal: i32) -> Signalled {
    // SAFETY: no memory is passed.
    if unsafe { libc::kill(-(pid as libc::pid_t), signal) } == 0 {
        return Signalled::Sent;
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) { Signalled::Gone } else { Signalled::Failed(error) }
}

/// How long to wait for a child that was killed before it is left to whoever comes next: one that hangs in the kernel.
const KILLED_MS_MAX: u16 = 1000;

/// Kills a child, with the group it leads if told so, and reaps it, waiting a moment.
pub(crate) fn kill_and_reap(spawned: Spawned, reach: Reach) {
    let Spawned { pid, pidfd } = spawned;
    // Before it is reaped: until then its number, and its group's, is nobody else's.
    if reach == Reach::Group
        && let Signalled::Failed(_) = send_signal(pidfd.as_fd(), libc::SIGKILL, Reach::Group)
    {
        let _ = send_signal_to_unreaped_group(pid, libc::SIGKILL);
    }
    // If it is gone already there is nothing to kill.
    let _ = send_signal(pidfd.as_fd(), libc::SIGKILL, Reach::Process);
    if look_at_child(pidfd.as_fd()) == Look::Running {
        let mut waited = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        // An error looks like a time that ran out.
        let _ = poll(&mut waited, PollTimeout::from(KILLED_MS_MAX));
        leave_orphan(pidfd);
    }
}

/// Children that have no runtime any more: reaped by whoever starts the next one, or closes the next runtime.
static ORPHANS: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Leaves a child to whoever comes by next; reaped here if it has ended.
pub(crate) fn leave_orphan(pidfd: OwnedFd) {
    if look_at_child(pidfd.as_fd()) == Look::Running {
        ORPHANS.lock().unwrap_or_else(PoisonError::into_inner).push(pidfd);
    }
}

/// Reaps the orphans that have ended.
pub(crate) fn reap_orphans() {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.retain(|pidfd| look_at_child(pidfd.as_fd()) == Look::Running);
}
