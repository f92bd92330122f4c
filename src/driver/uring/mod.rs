//! The io_uring interpreter: submit, wait, drain.
//!
//! U1. An entry leaves our hands only by being taken by the kernel. When the submission queue is full and the kernel
//!     takes none, entries wait in `overflow`, in order; so nothing is refused and no cancel is lost (S5).
//! U2. What an enter returns says nothing about what completed: the queues are looked at after every one.
//! U3. A quiet send is over when the kernel has taken its entry: it says so itself only if not all was sent. Nobody sleeps
//!     while it is not known whether it has.
#![allow(unsafe_code)] // fence: pushes entries; whoever made the request keeps its memory (S1)

mod encode;
mod route;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io, time::Duration};

use io_uring::squeue;

use super::{Completion, Config, Doorbell, DriverReport, Group, Profile, Request, Token, Wait, select::denied};
use crate::{
    buf::{Pool, PoolLayout},
    sys::{self, BufferRing, Kernel, Ring, Waiting},
};
use encode::group;
use route::Routes;

pub(crate) struct Uring {
    ring: Ring,
    overflow: VecDeque<squeue::Entry>,
    /// Quiet sends that were pushed and not answered, with their lengths (U3).
    quiet: Vec<(Token, u32)>,
    /// Some of them could not be answered when they should have been.
    late: bool,
    /// How many of them are answered when the fence is.
    fenced: Option<usize>,
    buffers: Option<BufferRing>,
    /// From the first socket for datagrams on.
    datagrams: Option<BufferRing>,
    pool: PoolLayout,
    doorbell: Doorbell,
    doorbell_armed: bool,
    profile: Profile,
    /// What the profile would be with memory enough.
    wanted: Profile,
    kernel: Kernel,
    routes: Routes,
}

/// Operations of the driver itself: what stands in the top eight bits of the user data. Tokens have zeros there.
const OURS: u64 = 0xff << 56;
const DOORBELL: u64 = 1 << 56;
const CANCEL: u64 = 2 << 56;
/// Of a quiet send: the rest is its token.
const QUIET: u64 = 3 << 56;

/// Pushed when completions did not fit: what comes before its own was known before it.
const FENCE: u64 = 4 << 56;

/// In place of its length, for a quiet send that was answered: longer than any.
const FAILED: u32 = u32::MAX;

/// How long to wait when the kernel takes nothing for lack of memory or of room for completions.
const BACK_OFF: Duration = Duration::from_millis(1);

impl Uring {
    pub(super) fn open(config: &Config, profile: Profile, kernel: Kernel) -> io::Result<Uring> {
        let ring = Ring::open(config.size)?;
        if let Some(name) = ring.missing_feature() {
            let text = format!("the kernel lacks the io_uring feature {name}; Linux 6.1 or later is needed");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let routes = Routes::new(ring.opcodes())?;
        let pool = config.pool.unwrap_or_else(|| profile.pool_layout());
        let wanted = profile;
        let (profile, buffers) = Uring::buffers(&ring, pool, wanted)?;
        let doorbell = Doorbell::new(sys::doorbell_fd()?);
        Ok(Uring {
            ring,
            overflow: VecDeque::new(),
            quiet: Vec::new(),
            late: false,
            fenced: None,
            buffers,
            datagrams: None,
            pool,
            doorbell,
            doorbell_armed: false,
            profile,
            wanted,
            kernel,
            routes,
        })
    }

    /// The pool's ring, and the profile without it where memory is too short for one.
    fn buffers(ring: &Ring, pool: PoolLayout, profile: Profile) -> io::Result<(Profile, Option<BufferRing>)> {
        if !profile.has_multishot() {
            return Ok((profile, None));
        }
        match BufferRing::register(ring, group(Group::Streams), pool.count_max, profile.has_incremental()) {
            Ok(buffers) => Ok((profile, Some(buffers))),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok((Profile::Base, None)),
            Err(error) => Err(error),
        }
    }

    /// # Safety
    /// As for `Driver::push`.
    #[inline]
    pub(super) unsafe fn push(&mut self, token: Token, request: &Request) {
        let entry = encode::entry(request).user_data(token.to_user_data());
        // SAFETY: passed on to our caller.
        unsafe { self.push_entry(entry) }
    }

    /// # Safety
    /// As for `Driver::push`.
    #[inline]
    pub(super) unsafe fn push_quietly(&mut self, token: Token, request: &Request, len: u32) {
        self.quiet.push((token, len));
        let entry = encode::quiet_send(request).user_data(QUIET | token.to_user_data());
        // SAFETY: passed on to our caller.
        unsafe { self.push_entry(entry) }
    }

    pub(super) fn cancel(&mut self, target: Token) {
        let entry = encode::cancel(target).user_data(CANCEL);
        // SAFETY: the entry points to nothing.
        unsafe { self.push_entry(entry) }
    }

    /// # Safety
    /// As for `Driver::push`.
    #[inline]
    unsafe fn push_entry(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to our caller.
        if !self.overflow.is_empty() || !unsafe { self.ring.push(&entry) } {
            self.overflow.push_back(entry);
        }
    }

    /// Moves what waits into the submission queue, as far as there is room.
    fn refill(&mut self) {
        while let Some(entry) = self.overflow.front() {
            // SAFETY: S1 was promised when the entry was made, and holds until its completion.
            if !unsafe { self.ring.push(entry) } {
                break;
            }
            self.overflow.pop_front();
        }
    }

    #[inline]
    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        if !self.doorbell_armed {
            self.arm_doorbell();
        }
        // More entries than the queue holds: all but the last batch go without waiting.
        while !self.overflow.is_empty() {
            if !self.enter(Waiting::Not)? {
                return Ok(true); // the kernel takes no more now; what it holds for us has to be drained first
            }
            self.refill();
        }
        let waiting = match wait {
            Wait::Not if self.ring.queued() == 0 && !self.ring.wants_enter() => {
                return Ok(!self.ring.completions().is_empty());
            }
            Wait::Not => Waiting::Not,
            // Completions are there already: submit, but do not wait for more.
            Wait::AtMost(_) | Wait::Forever if self.late || !self.ring.completions().is_empty() => Waiting::Not,
            Wait::AtMost(time) => Waiting::AtMost(time),
            Wait::Forever => Waiting::Forever,
        };
        self.enter(waiting)?;
        Ok(true)
    }

    /// Enters the kernel once; false when it took nothing for now. Only what can never get better is an error.
    #[inline]
    fn enter(&mut self, waiting: Waiting) -> io::Result<bool> {
        let Err(error) = self.ring.enter(waiting) else { return Ok(true) };
        match error.raw_os_error() {
            // A signal, or the time ran out: as good as any return (U2).
            Some(libc::EINTR | libc::ETIME) => Ok(true),
            // No memory for a request, or no room for completions. The entries stay queued: give the kernel a moment
            // to finish something. Whether that wait succeeds says nothing either (U2).
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                let _ = self.ring.wait_only(Waiting::AtMost(BACK_OFF));
                Ok(false)
            }
            _ => {
                let help = denied(&error).map_or_else(String::new, |help| format!("; {help}"));
                let text = format!("the ring cannot be used any more: io_uring_enter: {error}{help}");
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    #[inline]
    pub(super) fn drain(&mut self, mut sink: impl FnMut(Completion)) {
        let mut armed = self.doorbell_armed;
        let (mut failed, mut fence_came) = (0, false);
        for entry in self.ring.completions() {
            let data = entry.user_data();
            match data & OURS {
                0 => sink(Completion::new(Token::from_user_data(data), entry.result(), entry.flags())),
                DOORBELL => armed = io_uring::cqueue::more(entry.flags()),
                FENCE => fence_came = true,
                // What became of a cancel tells nothing: its target's own completion does.
                CANCEL => {}
                QUIET => {
                    let token = Token::from_user_data(data & !OURS);
                    // In the order in which they were pushed.
                    if let Some(at) = self.quiet[failed..].iter().position(|(quiet, _)| *quiet == token) {
                        failed += at;
                        self.quiet[failed].1 = FAILED;
                    }
                    sink(Completion::new(token, entry.result(), entry.flags()));
                }
                // Anybody who holds the ring can post any number: not an answer to us.
                _ => {}
            }
        }
        self.doorbell_armed = armed;
        if !self.quiet.is_empty() {
            self.answer_quiet(fence_came, sink);
        }
    }

    /// U3. Answers the quiet sends that the kernel has said nothing of, and would have by now.
    fn answer_quiet(&mut self, fence_came: bool, mut sink: impl FnMut(Completion)) {
        let taken = self.ring.queued() == 0 && self.overflow.is_empty();
        let fenced = if fence_came { self.fenced.take() } else { None };
        let sure = match fenced {
            Some(count) => count,
            None if taken && !self.ring.has_overflowed() => self.quiet.len(),
            // Completions that had no place come in their order: what was to be said of these is said before the fence.
            None => {
                if taken && self.fenced.is_none() {
                    self.fenced = Some(self.quiet.len());
                    let entry = encode::entry(&Request::Nop).user_data(FENCE);
                    // SAFETY: the entry points to nothing.
                    unsafe { self.push_entry(entry) };
                }
                0
            }
        };
        for (token, len) in self.quiet.drain(..sure).filter(|(_, len)| *len != FAILED) {
            sink(Completion::new(token, len as i32, 0)); // fits: see `transfer_len`
        }
        self.fenced = self.fenced.map(|count| count.saturating_sub(sure)).filter(|count| *count > 0);
        self.late = !self.quiet.is_empty();
    }

    fn arm_doorbell(&mut self) {
        let entry = encode::doorbell(self.doorbell.raw_fd()).user_data(DOORBELL);
        // SAFETY: the entry points to nothing, and the descriptor lives as long as the ring.
        unsafe { self.push_entry(entry) };
        self.doorbell_armed = true;
    }

    pub(super) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// # Safety
    /// As for `Driver::provide`.
    pub(super) unsafe fn provide(&mut self, group: Group, pool: &Pool) {
        let buffers = match group {
            Group::Streams => &mut self.buffers,
            Group::Datagrams => &mut self.datagrams,
        };
        let Some(buffers) = buffers else { return };
        pool.provide(|buffer| {
            // SAFETY: P1 and P3: the buffer is free, inside the pool, and the pool outlives every operation.
            unsafe { buffers.provide(buffer, pool.address(buffer), pool.layout().size) }
        });
        buffers.publish();
    }

    pub(super) fn forget_pool(&mut self) -> io::Result<()> {
        let groups = [self.buffers.as_mut(), self.datagrams.as_mut()];
        groups.into_iter().flatten().try_for_each(|buffers| buffers.forget(&self.ring))
    }

    /// One datagram a buffer: nothing is filled piece by piece. False without the memory for it, too.
    pub(super) fn open_datagrams(&mut self, count: u16) -> bool {
        if self.profile.has_multishot() && self.datagrams.is_none() {
            self.datagrams = BufferRing::register(&self.ring, group(Group::Datagrams), count, false).ok();
        }
        self.datagrams.is_some()
    }

    pub(super) fn pool_layout(&self) -> PoolLayout {
        self.pool
    }

    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    fn reason(&self) -> String {
        let mut reason = format!(
            "a ring could be set up and a NOP came back; these flags need Linux {}, this profile was chosen for {}",
            self.ring.flags_since(),
            self.kernel
        );
        if self.profile < self.wanted {
            reason += ", in place of a better one,";
        }
        if self.ring.is_reduced() {
            reason += ", with smaller queues,";
        }
        if self.profile < self.wanted || self.ring.is_reduced() {
            reason += " because locked memory is short (RLIMIT_MEMLOCK): raise it with `ulimit -l`";
        }
        reason
    }

    pub(super) fn report(&self) -> DriverReport {
        let size = self.ring.size();
        DriverReport {
            driver: "io_uring",
            kernel: self.kernel.to_string(),
            profile: self.profile.name(),
            reason: self.reason(),
            flags: self.ring.flag_names().to_vec(),
            queues: (size.submission, size.completion),
            operations: self.routes.describe(self.profile),
        }
    }
}
