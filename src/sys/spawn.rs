//! Starts a program as vfork does: the child borrows this process's memory until it runs the program, so that it does not
//! matter how large this process is. Only the thread that asks stands still meanwhile.
//!
//! - X1 From the clone until the child runs the program or ends, the calling thread stands still; what the child reads
//!   belongs to that thread and is neither moved nor freed.
//! - X2 The child allocates nothing and takes no lock; a `pre_exec` is its author's business.
//! - X3 The calling thread blocks every signal, so that no handler of this process runs in the child.
//! - X4 The pidfd comes with the child in one call: it names no other process, even if the child is gone at once.

use std::{
    error,
    ffi::{CStr, CString, c_char, c_void},
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, AtomicU8, Ordering},
};

use nix::sys::{
    mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap},
    signal::{SigSet, SigmaskHow},
};

use super::{Reach, exec, kill_and_reap};

/// What runs in the child just before the program.
pub(crate) type PreExec = Box<dyn FnMut() -> io::Result<()> + Send>;

/// What one of the child's first three descriptors is.
#[derive(Debug)]
pub(crate) enum Wire<D = OwnedFd> {
    /// What it is here.
    Same,
    Descriptor(D),
    /// What the child's standard output is.
    Output,
}

impl<D> Wire<D> {
    pub(crate) fn map<E>(self, change: impl FnOnce(D) -> E) -> Wire<E> {
        match self {
            Wire::Same => Wire::Same,
            Wire::Descriptor(descriptor) => Wire::Descriptor(change(descriptor)),
            Wire::Output => Wire::Output,
        }
    }
}

/// Everything about a child that is to be.
pub(crate) struct Plan {
    /// What the user calls it.
    pub(crate) name: String,
    /// Where the program may be, in the order to try.
    pub(crate) candidates: Vec<CString>,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) directory: Option<CString>,
    pub(crate) wires: [Wire; 3],
    /// Given to the child under the numbers they have here.
    pub(crate) passed: Vec<OwnedFd>,
    /// Whether every other descriptor is closed, and not only those that say so themselves.
    pub(crate) close_others: bool,
    pub(crate) new_session: bool,
    pub(crate) process_group: Option<i32>,
    pub(crate) umask: Option<u32>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) extra_groups: Option<Vec<u32>>,
    /// Signals that Rust ignores are as usual again.
    pub(crate) restore_signals: bool,
    /// The signals that are blocked; none unless set.
    pub(crate) mask: Option<SigSet>,
    pub(crate) pre_exec: Vec<PreExec>,
}

impl Plan {
    /// Whether the child will be the first of a process group of its own.
    pub(crate) fn leads_group(&self) -> bool {
        self.new_session || self.process_group == Some(0)
    }

    /// Who is killed when the child is given up.
    pub(super) fn reach(&self) -> Reach {
        if self.leads_group() { Reach::Group } else { Reach::Process }
    }
}

/// A child, and the one descriptor that names it.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// How far the child came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// All the way.
    Program,
    Directory,
    Descriptors,
    Session,
    Credentials,
    PreExec,
    Exec,
}

const STAGES: [Stage; 7] = [
    Stage::Program,
    Stage::Directory,
    Stage::Descriptors,
    Stage::Session,
    Stage::Credentials,
    Stage::PreExec,
    Stage::Exec,
];

/// What the child reads, in the form the system calls want it, and what it has to say when it fails.
pub(super) struct Orders<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) candidates: Vec<*const c_char>,
    pub(super) argv: Vec<*const c_char>,
    pub(super) envp: Vec<*const c_char>,
    /// Numbers to keep open, in order.
    pub(super) kept: Vec<RawFd>,
    stage: AtomicU8,
    errno: AtomicI32,
}

impl Orders<'_> {
    fn new(plan: &mut Plan) -> Orders<'_> {
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
        let ended = |mut pointers: Vec<*const c_char>| {
            pointers.push(ptr::null());
            pointers
        };
        let mut kept: Vec<RawFd> = plan.passed.iter().map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        Orders {
            candidates: pointers(&plan.candidates),
            argv: ended(pointers(&plan.arguments)),
            envp: ended(pointers(&plan.environment)),
            kept,
            stage: AtomicU8::new(Stage::Program as u8),
            errno: AtomicI32::new(0),
            plan,
        }
    }

    /// For the child: it is about to end.
    pub(super) fn fail(&self, stage: Stage, errno: i32) {
        self.errno.store(errno, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Release);
    }

    fn failure(&self) -> Option<(Stage, i32)> {
        let stage = STAGES[usize::from(self.stage.load(Ordering::Acquire))];
        (stage != Stage::Program).then(|| (stage, self.errno.load(Ordering::Relaxed)))
    }
}

/// Memory for the child to run on until it runs its program.
pub(super) struct Stack {
    memory: ptr::NonNull<c_void>,
}

/// Enough for a generous `pre_exec`; the lowest page is out of bounds. Untouched pages cost nothing.
const STACK_BYTES: usize = 256 * 1024;
const GUARD_BYTES: usize = 4096;

// SAFETY: plain memory, used by whichever thread has it.
unsafe impl Send for Stack {}

impl Stack {
    pub(super) fn new() -> io::Result<Stack> {
        let size = const { std::num::NonZero::new(STACK_BYTES).unwrap() };
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK | MapFlags::MAP_NORESERVE;
        // SAFETY: a mapping of its own, at no address of anybody's.
        let memory = unsafe { mmap_anonymous(None, size, protection, flags) }?;
        let stack = Stack { memory };
        // SAFETY: the first page of our own mapping, which nobody uses yet.
        unsafe { mprotect(memory, GUARD_BYTES, ProtFlags::PROT_NONE) }?;
        Ok(stack)
    }

    /// One past its end, from where it grows down.
    fn top(&self) -> *mut c_void {
        self.memory.as_ptr().wrapping_byte_add(STACK_BYTES)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our own mapping; no child runs on it (X1). It cannot fail for such.
        let _ = unsafe { munmap(self.memory, STACK_BYTES) };
    }
}

/// Starts the program, or says why not; then there is no child left either. To be called on a thread that blocks every
/// signal (X3).
pub(super) fn spawn(mut plan: Box<Plan>, stack: &Stack) -> io::Result<Spawned> {
    let mut orders = Orders::new(&mut plan);
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: X1: `orders` and the stack are this function's until it returns; X2 for what the child does.
    let pid = unsafe { libc::clone(child_main, stack.top(), flags, (&raw mut orders).cast(), &raw mut pidfd) };
    if pid < 0 {
        let errno = io::Error::last_os_error();
        return Err(refuse(&orders.plan.name, "the system allows no further process", errno));
    }
    // SAFETY: X4: made for us by the clone that succeeded.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let spawned = Spawned { pid: pid as u32, pidfd }; // positive
    if let Some((stage, errno)) = orders.failure() {
        kill_and_reap(spawned, Reach::Process);
        return Err(failure(orders.plan, stage, errno));
    }
    Ok(spawned)
}

/// The child's first and last function of ours.
extern "C" fn child_main(orders: *mut c_void) -> libc::c_int {
    // SAFETY: X1: whoever cloned lent it to us and stands still.
    let orders = unsafe { &mut *orders.cast::<Orders<'_>>() };
    let (stage, errno) = exec::carry_out(orders);
    orders.fail(stage, errno);
    // SAFETY: ends the child at once, without running anything of this process's.
    unsafe { libc::_exit(127) }
}

/// Why a program was not started: [`io::Error`] says what kind of reason it is.
#[derive(Debug)]
struct NotStarted {
    text: String,
    cause: io::Error,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, self.cause)
    }
}

impl error::Error for NotStarted {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// An error that names the program and what was wrong.
pub(crate) fn refuse(name: &str, what: &str, cause: io::Error) -> io::Error {
    let text = format!("cannot start {name:?}: {what}");
    io::Error::new(cause.kind(), NotStarted { text, cause })
}

fn failure(plan: &Plan, stage: Stage, errno: i32) -> io::Error {
    let directory = plan.directory.as_deref().map(CStr::to_string_lossy).unwrap_or_default();
    let what = match stage {
        Stage::Directory => format!("its working directory {directory:?} cannot be entered"),
        Stage::Descriptors => "its descriptors cannot be put in place; close some, or raise the limit".to_owned(),
        Stage::Session => "its session or process group cannot be made".to_owned(),
        Stage::Credentials => "its user or groups cannot be set; that takes the privilege to".to_owned(),
        Stage::PreExec => "its pre_exec failed".to_owned(),
        Stage::Exec | Stage::Program => match errno {
            libc::ENOENT => "there is no such program; look at its name, at PATH, and at its interpreter".to_owned(),
            libc::EACCES => "it may not be executed; look at its permissions".to_owned(),
            _ => "the system refuses to execute it".to_owned(),
        },
    };
    refuse(&plan.name, &what, io::Error::from_raw_os_error(errno))
}

/// Blocks every signal for this thread and the threads it makes; gives the mask that was.
pub(super) fn block_signals() -> SigSet {
    // It cannot fail: the arguments are right.
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).unwrap_or_else(|_| SigSet::empty())
}

/// The signals that this thread blocks, without the one that the runtime itself blocks.
pub(crate) fn signal_mask() -> SigSet {
    let mut mask = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
    mask.remove(nix::sys::signal::Signal::SIGPIPE);
    mask
}

/// Whether this process may change its groups, as far as a user's number says.
pub(crate) fn is_root() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::geteuid() == 0 }
}

/// A pipe whose ends have numbers from three up: those below are the child's to be given.
pub(crate) fn high_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    Ok((high(reader)?, high(writer)?))
}

/// Where nothing comes from and everything vanishes.
pub(crate) fn null_device() -> io::Result<OwnedFd> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    high(file.into())
}

/// The same descriptor under a number from three up.
pub(crate) fn high(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { duplicate(fd.as_fd()) }
}

/// A second descriptor for the same, under a number from three up.
fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: made for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
