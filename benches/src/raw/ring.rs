//! One ring, one enter per turn. Guards: what is common to all raw loops costs what the kernel costs and no more.

use std::io;

use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, squeue};

/// SINGLE_ISSUER and DEFER_TASKRUN are what counts (`performance.md`, point 3); the rest is free.
pub(crate) fn new(submissions: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}

/// The submitting half. The completion queue is apart, so that a loop can push while it reads.
pub(crate) struct Queue<'ring> {
    pub(crate) submitter: Submitter<'ring>,
    entries: SubmissionQueue<'ring>,
}

pub(crate) fn split(ring: &mut IoUring) -> (Queue<'_>, CompletionQueue<'_>) {
    let (submitter, entries, completions) = ring.split();
    (Queue { submitter, entries }, completions)
}

impl Queue<'_> {
    /// # Safety
    /// What `entry` points to stays valid until its last completion.
    #[inline]
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller's promise.
        while unsafe { self.entries.push(entry) }.is_err() {
            self.enter(0)?;
        }
        Ok(())
    }

    /// Submits everything and waits for one completion. The caller has published the head of its completion queue,
    /// or the kernel would see an old completion and come back at once.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.enter(1)
    }

    fn enter(&mut self, wait_for: usize) -> io::Result<()> {
        self.entries.sync();
        let entered = self.submitter.submit_and_wait(wait_for);
        self.entries.sync();
        match entered {
            Ok(_) => Ok(()),
            // Nothing is lost in these three: what was not taken stays queued.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
