//! What to start, and how: asyncio's arguments as a builder.

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use super::{Handle, spawn::Spawn};
use crate::{
    driver::{Calls, Held},
    executor::context,
    sys::{Plan, PreExec, Wire, is_root, signal_mask},
};

/// What one of the child's standard streams is.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// What it is in this process.
    #[default]
    Inherit,
    /// A pipe to this process: the other end is a stream of the [`Process`](crate::Process).
    #[doc(alias = "asyncio.subprocess.PIPE")]
    Pipe,
    /// Nothing: reads end at once, writes vanish.
    #[doc(alias = "asyncio.subprocess.DEVNULL")]
    DevNull,
    /// For the standard error: what the standard output is.
    #[doc(alias = "asyncio.subprocess.STDOUT")]
    Stdout,
    /// This descriptor, which is closed here once the child runs.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    /// A file, a pipe, a socket: whatever has a descriptor.
    fn from(fd: T) -> Stdio {
        Stdio::Descriptor(fd.into())
    }
}

/// Starts `program` as a child process: await it for the [`Process`](crate::Process). A name without a slash is looked for
/// in the directories of `PATH`: the child's, if [`env`](CreateSubprocess::env) gives it one.
///
/// Nothing is interpreted by a shell: arguments arrive as they are. No descriptor of this process reaches the child but its
/// standard streams, and those of [`pass_fds`](CreateSubprocess::pass_fds).
///
/// ```
/// use ringio::{Stdio, create_subprocess_exec};
///
/// ringio::run(async {
///     let mut process = create_subprocess_exec("echo").args(["hello", "$HOME"]).stdout(Stdio::Pipe).await?;
///     let (output, _) = process.communicate(None).await?;
///     assert_eq!(output.as_deref(), Some(&b"hello $HOME\n"[..]));
///     assert_eq!(process.returncode(), Some(0));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "asyncio.create_subprocess_exec")]
pub fn create_subprocess_exec(program: impl AsRef<OsStr>) -> CreateSubprocess {
    CreateSubprocess::new(program.as_ref().to_owned(), Vec::new())
}

/// Starts `command` in a shell (`/bin/sh -c`): await it for the [`Process`](crate::Process), which is the shell's. The shell
/// interprets what stands in it, so nothing from strangers may: use [`create_subprocess_exec`] for that.
///
/// ```
/// use ringio::{Stdio, create_subprocess_shell};
///
/// ringio::run(async {
///     let mut process = create_subprocess_shell("echo one; echo two; exit 3").stdout(Stdio::Pipe).await?;
///     let (output, _) = process.communicate(None).await?;
///     assert_eq!(output.as_deref(), Some(&b"one\ntwo\n"[..]));
///     assert_eq!(process.returncode(), Some(3));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "asyncio.create_subprocess_shell")]
pub fn create_subprocess_shell(command: impl AsRef<OsStr>) -> CreateSubprocess {
    let arguments = vec![OsString::from("-c"), command.as_ref().to_owned()];
    CreateSubprocess::new(OsString::from("/bin/sh"), arguments)
}

/// A child about to be started: await it.
///
/// # Errors
/// Why the program was not started, which the text names: `NotFound` and `PermissionDenied` for the program or its working
/// directory, `InvalidInput` for a zero byte in a text or for settings that contradict each other, `WouldBlock` when the
/// system allows no further process. Then there is no child and no descriptor left.
/// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
///
/// # Cancellation
/// **Nothing lost**: a child that was started nevertheless is killed and reaped before the cancel is returned.
#[must_use = "a child is started when this is awaited"]
pub struct CreateSubprocess {
    program: OsString,
    arguments: Vec<OsString>,
    executable: Option<OsString>,
    directory: Option<OsString>,
    /// `None`: what this process has.
    environment: Option<BTreeMap<OsString, OsString>>,
    stdio: [Stdio; 3],
    limit: usize,
    passed: Vec<OwnedFd>,
    close_fds: bool,
    start_new_session: bool,
    process_group: Option<i32>,
    umask: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    extra_groups: Option<Vec<u32>>,
    restore_signals: bool,
    pre_exec: Vec<PreExec>,
}

/// asyncio's default for how long a line may be, in bytes.
const LIMIT_BYTES: usize = 64 * 1024;

/// This process's ends of the child's standard input, output and error.
pub(crate) type Pipes = [Option<Held>; 3];

/// The child's own standard streams.
type Wires = [Wire<Held>; 3];

/// A child that was started.
pub(crate) struct Parts {
    pub(crate) handle: Handle,
    pub(crate) pipes: Pipes,
    pub(crate) limit: usize,
}

impl CreateSubprocess {
    fn new(program: OsString, arguments: Vec<OsString>) -> CreateSubprocess {
        CreateSubprocess {
            program,
            arguments,
            executable: None,
            directory: None,
            environment: None,
            stdio: Default::default(),
            limit: LIMIT_BYTES,
            passed: Vec::new(),
            close_fds: true,
            start_new_session: false,
            process_group: None,
            umask: None,
            user: None,
            group: None,
            extra_groups: None,
            restore_signals: true,
            pre_exec: Vec::new(),
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> CreateSubprocess {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> CreateSubprocess {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The child's standard input; what this process has unless set.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> CreateSubprocess {
        self.stdio[0] = stdin.into();
        self
    }

    /// The child's standard output; what this process has unless set.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> CreateSubprocess {
        self.stdio[1] = stdout.into();
        self
    }

    /// The child's standard error; what this process has unless set.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> CreateSubprocess {
        self.stdio[2] = stderr.into();
        self
    }

    /// How long a line of the child's output may be, in bytes (64 KiB unless set); reading ahead stops at twice this.
    pub fn limit(mut self, bytes: usize) -> CreateSubprocess {
        self.limit = bytes;
        self
    }

    /// The child's working directory; ours unless set.
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> CreateSubprocess {
        self.directory = Some(directory.as_ref().into());
        self
    }

    /// The whole environment of the child, in place of ours.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> CreateSubprocess {
        let owned = |(name, value): (K, V)| (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment = Some(variables.into_iter().map(owned).collect());
        self
    }

    /// Another program than the first argument names: `program` is then only what the child is told it is called.
    pub fn executable(mut self, path: impl AsRef<OsStr>) -> CreateSubprocess {
        self.executable = Some(path.as_ref().to_owned());
        self
    }

    /// Descriptors that the child gets, under the numbers they have here. They are closed here once the child runs: give a
    /// copy (`try_clone()`) of what is still needed.
    pub fn pass_fds<D: Into<OwnedFd>>(mut self, descriptors: impl IntoIterator<Item = D>) -> CreateSubprocess {
        self.passed.extend(descriptors.into_iter().map(Into::into));
        self
    }

    /// Whether every other descriptor is closed in the child (yes, unless set otherwise), and not only those that say so
    /// themselves, as all of ours do.
    pub fn close_fds(mut self, yes: bool) -> CreateSubprocess {
        self.close_fds = yes;
        self
    }

    /// Whether the child begins a session of its own, without our terminal. It leads a process group then, which
    /// [`Process::kill_group`](crate::Process::kill_group) reaches as a whole, and which is killed as a whole when the
    /// [`Process`](crate::Process) is dropped.
    pub fn start_new_session(mut self, yes: bool) -> CreateSubprocess {
        self.start_new_session = yes;
        self
    }

    /// The process group of the child; zero is one of its own, as with
    /// [`start_new_session`](CreateSubprocess::start_new_session).
    pub fn process_group(mut self, group: i32) -> CreateSubprocess {
        self.process_group = Some(group);
        self
    }

    /// The permissions that files of the child will not have.
    pub fn umask(mut self, mask: u32) -> CreateSubprocess {
        self.umask = Some(mask);
        self
    }

    /// The child's user, by number. It keeps no group of ours by accident: without
    /// [`extra_groups`](CreateSubprocess::extra_groups), it has none beside its [`group`](CreateSubprocess::group) if we
    /// are privileged to take them away.
    pub fn user(mut self, number: u32) -> CreateSubprocess {
        self.user = Some(number);
        self
    }

    /// The child's group, by number.
    pub fn group(mut self, number: u32) -> CreateSubprocess {
        self.group = Some(number);
        self
    }

    /// The child's further groups, by number.
    pub fn extra_groups(mut self, numbers: impl IntoIterator<Item = u32>) -> CreateSubprocess {
        self.extra_groups = Some(numbers.into_iter().collect());
        self
    }

    /// Whether the child begins with no signal blocked, and with the default action for SIGPIPE, SIGXFSZ and SIGCHLD (yes,
    /// unless set otherwise). If not, it has the mask of this thread and ignores what this process ignores. What this
    /// process catches has its default action in the child in any case.
    pub fn restore_signals(mut self, yes: bool) -> CreateSubprocess {
        self.restore_signals = yes;
        self
    }

    /// Calls `step` in the child just before the program, after everything else is set up. An error, or a panic, ends the
    /// start, with the number of the error.
    ///
    /// The child's parent is a thread of the runtime's, which lives as long as the runtime: `PR_SET_PDEATHSIG` speaks of
    /// that.
    ///
    /// # Safety
    /// The step runs in the child while it shares the memory of this process, whose other threads run on: what it writes
    /// is written here. It may use only what is safe to use in a signal handler, and may not change the
    /// credentials by functions of the C library, which would change those of this process.
    pub unsafe fn pre_exec(mut self, step: impl FnMut() -> io::Result<()> + Send + 'static) -> CreateSubprocess {
        self.pre_exec.push(Box::new(step));
        self
    }

    /// Starts it.
    pub(crate) async fn start(self) -> io::Result<Parts> {
        if self.limit == 0 {
            return Err(invalid(&self.program, "limit has to be at least 1"));
        }
        let limit = self.limit;
        let port = context::with(|runtime| runtime.port.clone());
        let (plan, wires, pipes) = self.plan(port.calls())?;
        let handle = Spawn::new(&port, plan, wires).await?;
        Ok(Parts { handle, pipes, limit })
    }

    fn plan(self, calls: &Calls) -> io::Result<(Plan, Wires, Pipes)> {
        let name = self.program.to_string_lossy().into_owned();
        let text = |text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| invalid(&self.program, "a text has a zero byte in it"))
        };
        if let Some(fd) = self.passed.iter().find(|fd| fd.as_raw_fd() <= 2) {
            let text = format!("pass_fds: {} is a standard stream; set it with stdin(), stdout()", fd.as_raw_fd());
            return Err(invalid(&self.program, &text));
        }
        let environment = self.environment.unwrap_or_else(|| env::vars_os().collect());
        let program = self.executable.as_ref().unwrap_or(&self.program);
        let candidates = candidates(program, environment.get(OsStr::new("PATH")));
        let candidates = candidates.iter().map(|path| text(path)).collect::<io::Result<_>>()?;
        let mut arguments = vec![text(&self.program)?];
        for argument in &self.arguments {
            arguments.push(text(argument)?);
        }
        let directory = self.directory.as_deref().map(text).transpose()?;
        let environment = environment.into_iter().map(|variable| assignment(&self.program, variable));
        let environment = environment.collect::<io::Result<_>>()?;
        let drops_groups = self.user.is_some() && is_root();
        let (wires, pipes) = wires(calls, &self.program, self.stdio)?;
        let plan = Plan {
            name,
            candidates,
            arguments,
            environment,
            directory,
            wires: [Wire::Same, Wire::Same, Wire::Same],
            passed: self.passed,
            close_others: self.close_fds,
            new_session: self.start_new_session,
            process_group: self.process_group,
            umask: self.umask,
            user: self.user,
            group: self.group,
            extra_groups: self.extra_groups.or_else(|| drops_groups.then(Vec::new)),
            restore_signals: self.restore_signals,
            mask: (!self.restore_signals).then(signal_mask),
            pre_exec: self.pre_exec,
        };
        Ok((plan, wires, pipes))
    }
}

fn invalid(program: &OsStr, what: &str) -> io::Error {
    let text = format!("cannot start {:?}: {what}", program.to_string_lossy());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Where a search looks that was told no place, as in the C library.
const SEARCHED: &str = "/bin:/usr/bin";

/// Where the program may be.
fn candidates(program: &OsStr, path: Option<&OsString>) -> Vec<OsString> {
    if program.is_empty() || program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = path.map_or(OsStr::new(SEARCHED), OsString::as_os_str);
    env::split_paths(path).map(|directory| directory.join(program).into_os_string()).collect()
}

fn assignment(program: &OsStr, (name, value): (OsString, OsString)) -> io::Result<CString> {
    if name.is_empty() || name.as_bytes()[1..].contains(&b'=') {
        return Err(invalid(program, "env: a name is empty or has a '=' in it"));
    }
    let mut text = name.into_vec();
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    CString::new(text).map_err(|_| invalid(program, "env: a text has a zero byte in it"))
}

/// The child's three descriptors, and our ends of its pipes.
fn wires(calls: &Calls, program: &OsStr, stdio: [Stdio; 3]) -> io::Result<(Wires, Pipes)> {
    let mut pipes = Pipes::default();
    let mut wires = [Wire::Same, Wire::Same, Wire::Same];
    for (index, stdio) in stdio.into_iter().enumerate() {
        wires[index] = match stdio {
            Stdio::Inherit => Wire::Same,
            Stdio::DevNull => Wire::Descriptor(calls.hold(calls.null_device()?)),
            Stdio::Descriptor(fd) => Wire::Descriptor(calls.hold(calls.high(fd)?)),
            Stdio::Stdout if index == 2 => Wire::Output,
            Stdio::Stdout => return Err(invalid(program, "Stdio::Stdout is for stderr alone")),
            Stdio::Pipe => {
                let (reader, writer) = calls.high_pipe()?;
                let (reader, writer) = (calls.hold(reader), calls.hold(writer));
                let (ours, theirs) = if index == 0 { (writer, reader) } else { (reader, writer) };
                pipes[index] = Some(ours);
                Wire::Descriptor(theirs)
            }
        };
    }
    Ok((wires, pipes))
}

impl fmt::Debug for CreateSubprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSubprocess")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}
