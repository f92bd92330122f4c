//! Which driver a runtime gets, decided once, with the reason; and where there is none, what is in the way and the line
//! that helps.

use std::{env, fmt, fs, io};

use super::{Driver, Token, Uring, Wait, World};
use crate::{
    buf::PoolLayout,
    sys::{Kernel, RingSize},
};

/// What the runtime asks of its driver.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) size: RingSize,
    /// Chosen by the profile unless set.
    pub(crate) pool: Option<PoolLayout>,
    /// No more than this profile, whatever the kernel can.
    pub(crate) profile_max: Option<Profile>,
    /// The simulated kernel to run in, instead of the one that is there.
    pub(crate) world: Option<World>,
}

/// How much of a modern kernel is used. Behaviour below these versions has known faults that no probe shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// Linux 6.1: one receive, one accept at a time, into buffers of our own.
    Base,
    /// Linux 6.12: multishot accept and receive, provided buffers.
    Multi,
    /// Linux 6.18: buffers that the kernel fills piece by piece.
    Full,
}

impl Profile {
    fn of(kernel: Kernel) -> Profile {
        match kernel {
            kernel if kernel >= Kernel(6, 18) => Profile::Full,
            kernel if kernel >= Kernel(6, 12) => Profile::Multi,
            Kernel(..) => Profile::Base,
        }
    }

    pub(crate) fn parse(name: &str) -> io::Result<Profile> {
        match name {
            "base" => Ok(Profile::Base),
            "multi" => Ok(Profile::Multi),
            "full" => Ok(Profile::Full),
            other => Err(bad_setting("RINGIO_PROFILE", other, "base, multi or full")),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Profile::Base => "base",
            Profile::Multi => "multi",
            Profile::Full => "full",
        }
    }

    /// Accept and receive go on by themselves.
    pub(crate) fn has_multishot(self) -> bool {
        self >= Profile::Multi
    }

    /// Large buffers where they are shared, else one for each message. Few at first, so that they stay in the cache; 16 MiB
    /// at most.
    pub(crate) fn pool_layout(self) -> PoolLayout {
        if self.has_incremental() {
            PoolLayout { count_max: 256, count_first: 32, size: 64 * 1024 }
        } else {
            PoolLayout { count_max: 1024, count_first: 64, size: 16 * 1024 }
        }
    }

    /// Buffers are filled piece by piece.
    pub(crate) fn has_incremental(self) -> bool {
        self >= Profile::Full
    }
}

/// The lowest kernel we run on.
const KERNEL_MIN: Kernel = Kernel(6, 1);

/// Sets a driver up and passes one operation through it: a filter may allow the set-up and refuse the rest.
pub(crate) fn select(config: &Config) -> io::Result<Driver> {
    if let Some(world) = &config.world {
        world.configure(config);
        return Ok(Driver::Sim(world.clone()));
    }
    if let Some(name) = setting("RINGIO_DRIVER")
        && name != "io_uring"
    {
        return Err(bad_setting("RINGIO_DRIVER", &name, "io_uring, the one driver of this version"));
    }
    let kernel = Kernel::running();
    if kernel < KERNEL_MIN {
        let text = format!(
            "Linux {kernel} is too old for ringio: Linux {KERNEL_MIN} or later is needed (6.12 or later is better)"
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let mut profile = Profile::of(kernel);
    if let Some(name) = setting("RINGIO_PROFILE") {
        profile = profile.min(Profile::parse(&name)?);
    }
    profile = profile.min(config.profile_max.unwrap_or(Profile::Full));
    let ring = Uring::open(config, profile, kernel).map_err(explain)?;
    let mut driver = Driver::Uring(Box::new(ring));
    pass_one(&mut driver)?;
    Ok(driver)
}

fn pass_one(driver: &mut Driver) -> io::Result<()> {
    let token = Token::new(0, 0);
    driver.push_nop(token);
    let mut answered = false;
    while !answered {
        driver.turn(Wait::Forever)?;
        driver.drain(|completion| answered |= completion.token == token);
    }
    Ok(())
}

fn setting(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn bad_setting(name: &str, value: &str, allowed: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name}={value}: not known; use {allowed}"))
}

/// Says what is in the way of a ring, and what helps.
fn explain(error: io::Error) -> io::Error {
    let help = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => denied(&error).unwrap_or_default(),
        Some(libc::ENOMEM) => {
            "the limit of locked memory (RLIMIT_MEMLOCK) is too low for a ring; raise it with `ulimit -l \
             65536`, `LimitMEMLOCK=64M` in the systemd unit, or give the process CAP_IPC_LOCK"
                .to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "no file descriptor is left (RLIMIT_NOFILE); raise it with `ulimit -n`".to_owned()
        }
        Some(libc::EINVAL) => {
            "the kernel refuses every set of ring flags we know; Linux 6.1 or later is needed".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("cannot use io_uring: {error}; {help}"))
}

/// Who refuses a call of io_uring, and what helps: for a set-up, and for a ring that was cut off later.
pub(super) fn denied(error: &io::Error) -> Option<String> {
    match error.raw_os_error()? {
        libc::EPERM | libc::EACCES => Some(not_permitted()),
        libc::ENOSYS => Some(
            "this system has no io_uring (a kernel without CONFIG_IO_URING, or a sandbox such as gVisor); run on a \
             kernel that has it"
                .to_owned(),
        ),
        _ => None,
    }
}

fn not_permitted() -> String {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if matches!(disabled.trim(), "1" | "2") {
        return format!(
            "kernel.io_uring_disabled is {}; allow it with `sysctl -w kernel.io_uring_disabled=0`",
            disabled.trim()
        );
    }
    // A filter is the thread's, and may not be the first one's.
    let filtered = fs::read_to_string("/proc/thread-self/status")
        .unwrap_or_default()
        .lines()
        .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() != "0"));
    if filtered {
        return "a seccomp filter blocks it, as Docker and Kubernetes do by default; allow io_uring_setup, \
                io_uring_enter and io_uring_register in the profile (Docker: `--security-opt seccomp=profile.json`)"
            .to_owned();
    }
    "a security module (SELinux, AppArmor) forbids it; allow io_uring for this program".to_owned()
}

/// Which driver a runtime has and why; see [`driver_report`](crate::driver_report).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DriverReport {
    /// The driver's name.
    pub driver: &'static str,
    /// The kernel that runs.
    pub kernel: String,
    /// How much of the kernel is used: `base` (6.1), `multi` (6.12) or `full` (6.18).
    pub profile: &'static str,
    /// Why this driver and this profile.
    pub reason: String,
    /// The flags the ring was set up with.
    pub flags: Vec<&'static str>,
    /// Entries of the submission and the completion queue.
    pub queues: (u32, u32),
    /// Every operation and how it is carried out.
    pub operations: Vec<(&'static str, &'static str)>,
}

impl fmt::Display for DriverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "driver      {} (profile {}) on Linux {}", self.driver, self.profile, self.kernel)?;
        writeln!(f, "because     {}", self.reason)?;
        writeln!(f, "flags       {}", self.flags.join(" "))?;
        writeln!(f, "queues      {} submissions, {} completions", self.queues.0, self.queues.1)?;
        f.write_str("operations ")?;
        for (name, route) in &self.operations {
            write!(f, " {name}={route}")?;
        }
        Ok(())
    }
}
