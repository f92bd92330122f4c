//! One io_uring instance: set up by a ladder of flags, entered in one place.
//!
//! R1. Memory that a pushed entry points to stays valid until its last completion; whoever pushes keeps it so.

use std::{io, thread, time::Duration};

use io_uring::{CompletionQueue, EnterFlags, IoUring, cqueue, squeue, types};

use super::{Kernel, Opcodes};

/// How many entries the queues have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingSize {
    pub(crate) submission: u32,
    pub(crate) completion: u32,
}

/// How long [`Ring::enter`] may wait for a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    Not,
    AtMost(Duration),
    Forever,
}

pub(crate) struct Ring {
    inner: IoUring,
    /// Pushed and not yet taken by the kernel.
    queued: u32,
    enter_flags: EnterFlags,
    size: RingSize,
    /// The queues are smaller than they should be, for lack of memory.
    reduced: bool,
    flags: &'static Rung,
    opcodes: Opcodes,
}

/// One set of set-up flags to try.
struct Rung {
    names: &'static [&'static str],
    defer: bool,
    single: bool,
    sqarray: bool,
    since: Kernel,
}

/// From the best to the least; the kernel's first yes is taken. SINGLE_ISSUER with DEFER_TASKRUN (6.1) is the pair that
/// counts; NO_SQARRAY came with 6.6. SQPOLL is on no rung: it burns a core and keeps credentials over setuid.
const LADDER: [Rung; 3] = [
    Rung {
        names: &["SINGLE_ISSUER", "DEFER_TASKRUN", "TASKRUN_FLAG", "SUBMIT_ALL", "NO_SQARRAY"],
        defer: true,
        single: true,
        sqarray: false,
        since: Kernel(6, 6),
    },
    Rung {
        names: &["SINGLE_ISSUER", "DEFER_TASKRUN", "TASKRUN_FLAG", "SUBMIT_ALL"],
        defer: true,
        single: true,
        sqarray: true,
        since: Kernel(6, 1),
    },
    Rung {
        names: &["COOP_TASKRUN", "TASKRUN_FLAG", "SUBMIT_ALL"],
        defer: false,
        single: false,
        sqarray: true,
        since: Kernel(5, 19),
    },
];

/// The smallest completion queue that is worth having when memory is short.
const COMPLETION_MIN: u32 = 64;

/// Memory of closed rings is given back by the kernel a little later: how often, and how long, to wait for it.
const MEMORY_RETRIES: u32 = 50;
const MEMORY_PAUSE: Duration = Duration::from_millis(20);

impl Ring {
    /// Tries every rung, and smaller queues where locked memory is short.
    pub(crate) fn open(wanted: RingSize) -> io::Result<Ring> {
        let mut size = wanted;
        let mut retries = 0;
        loop {
            match Ring::open_sized(size) {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    if size.completion > COMPLETION_MIN.max(wanted.submission) {
                        size.completion /= 2;
                    } else if retries < MEMORY_RETRIES {
                        retries += 1;
                        size = wanted;
                        thread::sleep(MEMORY_PAUSE);
                    } else {
                        return Err(error);
                    }
                }
                done => {
                    return done.map(|ring| Ring { reduced: size.completion < wanted.completion, ..ring });
                }
            }
        }
    }

    fn open_sized(size: RingSize) -> io::Result<Ring> {
        let mut refused = None;
        for rung in &LADDER {
            match rung.build(size) {
                Ok(inner) => return Ring::wrap(inner, rung),
                // EINVAL: this kernel does not know one of the flags; try with fewer.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)))
    }

    fn wrap(inner: IoUring, flags: &'static Rung) -> io::Result<Ring> {
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if inner.params().is_feature_no_iowait() {
            // Without it (6.15) an idle loop shows up as a core that waits for a disk.
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        let size = RingSize { submission: inner.params().sq_entries(), completion: inner.params().cq_entries() };
        let opcodes = Opcodes::ask(&inner)?;
        Ok(Ring { inner, queued: 0, enter_flags, size, reduced: false, flags, opcodes })
    }

    pub(crate) fn size(&self) -> RingSize {
        self.size
    }

    /// Whether locked memory was too short for queues of the wanted size.
    pub(crate) fn is_reduced(&self) -> bool {
        self.reduced
    }

    pub(crate) fn flag_names(&self) -> &'static [&'static str] {
        self.flags.names
    }

    pub(crate) fn flags_since(&self) -> Kernel {
        self.flags.since
    }

    pub(crate) fn opcodes(&self) -> &Opcodes {
        &self.opcodes
    }

    /// The features without which lost completions or unbounded waits would be possible, by name, if one is missing.
    pub(crate) fn missing_feature(&self) -> Option<&'static str> {
        let parameters = self.inner.params();
        [
            ("NODROP", parameters.is_feature_nodrop()),
            ("EXT_ARG", parameters.is_feature_ext_arg()),
            ("SUBMIT_STABLE", parameters.is_feature_submit_stable()),
            ("FAST_POLL", parameters.is_feature_fast_poll()),
            ("CQE_SKIP", parameters.is_feature_skip_cqe_on_success()),
        ]
        .into_iter()
        .find_map(|(name, there)| (!there).then_some(name))
    }

    pub(super) fn io_uring(&self) -> &IoUring {
        &self.inner
    }

    /// Puts an entry into the submission queue; false when it is full.
    ///
    /// # Safety
    /// R1 for what the entry points to.
    #[inline]
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        let mut queue = self.inner.submission();
        // SAFETY: passed on to our caller.
        let pushed = unsafe { queue.push(entry) }.is_ok();
        self.queued += u32::from(pushed);
        pushed
    }

    pub(crate) fn queued(&self) -> u32 {
        self.queued
    }

    /// Whether the kernel holds back completions until it is entered.
    #[inline]
    pub(crate) fn wants_enter(&mut self) -> bool {
        let queue = self.inner.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether there are completions that the queue had no room for.
    pub(crate) fn has_overflowed(&mut self) -> bool {
        self.inner.submission().cq_overflow()
    }

    /// Submits what is queued and waits. What the kernel does not take stays queued.
    #[inline]
    pub(crate) fn enter(&mut self, waiting: Waiting) -> io::Result<()> {
        self.enter_with(self.queued, waiting)
    }

    /// Waits without submitting.
    pub(crate) fn wait_only(&mut self, waiting: Waiting) -> io::Result<()> {
        self.enter_with(0, waiting)
    }

    #[inline]
    fn enter_with(&mut self, submit: u32, waiting: Waiting) -> io::Result<()> {
        let least = u32::from(waiting != Waiting::Not);
        let time;
        let mut arguments = types::SubmitArgs::new();
        if let Waiting::AtMost(duration) = waiting {
            time = types::Timespec::from(duration);
            arguments = arguments.timespec(&time);
        }
        // SAFETY: EXT_ARG is set, and `arguments` is what it expects; R1 holds for every entry pushed so far.
        let taken = unsafe { self.inner.submitter().enter(submit, least, self.enter_flags.bits(), Some(&arguments)) }?;
        self.queued -= taken as u32; // never more than `submit`
        Ok(())
    }

    /// The completions that are there now. Their places are given back to the kernel when the queue is dropped.
    #[inline]
    pub(crate) fn completions(&mut self) -> CompletionQueue<'_, cqueue::Entry> {
        self.inner.completion()
    }
}

impl Rung {
    fn build(&self, size: RingSize) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_submit_all().setup_taskrun_flag().setup_cqsize(size.completion);
        if self.single {
            builder.setup_single_issuer();
        }
        if self.defer {
            builder.setup_defer_taskrun();
        } else {
            builder.setup_coop_taskrun();
        }
        if !self.sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(size.submission)
    }
}
