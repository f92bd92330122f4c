//! The process: a test in one of its own, and what a process can be seen to use.

use std::{
    any::type_name_of_val,
    env, fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::alarm;

const ALONE: &str = "RINGIO_TEST_ALONE";

/// Runs `body` in a process that runs nothing but the test `test` (the test function itself): no other test's
/// descriptors, limits or signals are in the way.
///
/// ```ignore
/// #[test]
/// fn descriptors_stay_flat() {
///     alone(&descriptors_stay_flat, || { /* .. */ });
/// }
/// ```
#[track_caller]
pub(crate) fn alone<T: Fn()>(test: &T, body: impl FnOnce()) {
    Alone::new(test).run(body);
}

/// How long a test in a process of its own may take, unless it says otherwise: then it hangs, and the clock ends it.
const SECONDS_MAX: u32 = 180;

/// The same with an environment of its own.
pub(crate) struct Alone {
    name: String,
    wrapper: Vec<String>,
    stdin: Stdio,
    variables: Vec<(&'static str, &'static str)>,
    seconds_max: u32,
}

impl Alone {
    pub(crate) fn new<T: Fn()>(test: &T) -> Alone {
        let path = type_name_of_val(test);
        let name = path.split_once("::").map_or(path, |(_, name)| name).to_owned();
        Alone { name, wrapper: Vec::new(), stdin: Stdio::null(), variables: Vec::new(), seconds_max: SECONDS_MAX }
    }

    /// Started by this command, which gets the test binary and its arguments as its last ones.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Alone {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn stdin(mut self, stdin: Stdio) -> Alone {
        self.stdin = stdin;
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &'static str) -> Alone {
        self.variables.push((name, value));
        self
    }

    pub(crate) fn seconds_max(mut self, seconds: u32) -> Alone {
        self.seconds_max = seconds;
        self
    }

    /// In the process of its own: runs `body`. Else: starts that process, and fails if it does.
    #[track_caller]
    pub(crate) fn run(self, body: impl FnOnce()) {
        let Alone { name, wrapper, stdin, variables, seconds_max } = self;
        if env::var(ALONE).is_ok_and(|alone| alone == name) {
            alarm::set(seconds_max);
            return body();
        }
        let binary = env::current_exe().expect("the test binary");
        let mut command = match wrapper.split_first() {
            None => Command::new(binary),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        let output = command
            .args([&name, "--exact", "--nocapture", "--test-threads=1"])
            .env(ALONE, &name)
            .env("RINGIO_SEED", super::seed().to_string())
            .envs(variables)
            .stdin(stdin)
            .output()
            .expect("the test binary can run itself");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        eprintln!("{text}");
        assert!(output.status.success(), "{name} failed in a process of its own: {}", output.status);
        assert!(text.contains("1 passed"), "{name} did not run in a process of its own");
    }
}

/// Open descriptors: number and what it is.
pub(crate) fn descriptors() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc/self/fd").expect("procfs");
    let mut open: Vec<(u32, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            // The descriptor of this very listing is gone by now.
            let what = fs::read_link(&path).ok()?.display().to_string();
            (!what.ends_with("/fd")).then_some((number, what))
        })
        .collect();
    open.sort_unstable();
    open
}

/// Asserts that the open descriptors are those of before; a close that the kernel still works on gets a moment.
#[track_caller]
pub(crate) fn assert_descriptors(before: &[(u32, String)]) {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let now = descriptors();
        if now.len() <= before.len() || Instant::now() > end {
            let more: Vec<_> = now.iter().filter(|one| !before.contains(one)).collect();
            assert!(now.len() <= before.len(), "{} descriptors leaked: {more:?}", now.len() - before.len());
            return;
        }
        std::thread::yield_now();
    }
}

fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc/self/status");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

pub(crate) fn threads() -> usize {
    status("Threads:")
}

/// Resident memory in KiB.
pub(crate) fn resident_kib() -> usize {
    status("VmRSS:")
}

/// Time on a processor, user and system, of this process.
pub(crate) fn processor_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let of = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    of(usage.user_time()) + of(usage.system_time())
}
