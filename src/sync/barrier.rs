//! A point that a number of tasks pass together.

use std::{cell::Cell, fmt, panic::Location, pin::Pin, rc::Rc};

use pin_project_lite::pin_project;

use super::{
    taking::{Source, Taking},
    wait_list::WaitList,
};
use crate::error::{BarrierError, BrokenBarrierError, NoPartiesError};

/// Holds tasks of one thread back until as many as there are parties have come, again and again. Clones are the same
/// barrier.
///
/// ```
/// # ringio::run(async {
/// let barrier = ringio::Barrier::new(2)?;
/// let other = ringio::create_task({
///     let barrier = barrier.clone();
///     async move { barrier.wait().await }
/// });
/// assert_eq!(barrier.wait().await? + other.await?, 0 + 1);
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Barrier")]
#[derive(Clone)]
pub struct Barrier {
    gate: Pin<Rc<Gate>>,
}

pin_project! {
    struct Gate {
        parties: usize,
        phase: Cell<Phase>,
        // Those who are let through, or sent away, and have not gone yet.
        leaving: Cell<usize>,
        // They are sent away, even if they were let through.
        sent_away: Cell<bool>,
        #[pin]
        inside: WaitList<Pass>,
        // Those who came while others were leaving.
        #[pin]
        blocked: WaitList<Pass>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// What somebody leaves with.
struct Pass {
    index: Option<usize>,
    /// Counted in `leaving`.
    counted: bool,
}

impl Barrier {
    /// A barrier for `parties` tasks.
    ///
    /// # Errors
    /// When there are none.
    #[track_caller]
    pub fn new(parties: usize) -> Result<Barrier, NoPartiesError> {
        if parties == 0 {
            return Err(NoPartiesError);
        }
        let gate = Gate {
            parties,
            phase: Cell::new(Phase::Filling),
            leaving: Cell::new(0),
            sent_away: Cell::new(false),
            inside: WaitList::new(&["Barrier", "wait"], Location::caller()),
            blocked: WaitList::new(&["Barrier", "wait"], Location::caller()),
        };
        Ok(Barrier { gate: Rc::pin(gate) })
    }

    /// Waits until all parties have come. Returns how many came before this one: a different number for each. While those
    /// of the last round are still leaving, newcomers wait outside.
    ///
    /// # Errors
    /// [`BarrierError`], if the barrier was reset or aborted, or a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: one fewer waits, and the barrier stays whole.
    #[doc(alias = "asyncio.Barrier.wait")]
    pub async fn wait(&self) -> Result<usize, BarrierError> {
        let gate = self.gate.as_ref();
        let pass = Taking::new(Turnstile(gate)).await?;
        let index = pass.index.filter(|_| !gate.sent_away.get());
        gate.leave(&pass);
        index.ok_or(BarrierError::Broken(BrokenBarrierError))
    }

    /// Sends away those who wait, with an error; the barrier is as new once they have gone. Mends a broken one.
    #[doc(alias = "asyncio.Barrier.reset")]
    pub fn reset(&self) {
        self.gate.as_ref().reset();
    }

    /// Breaks the barrier: whoever waits, or will, gets an error, until it is [`reset`](Barrier::reset).
    #[doc(alias = "asyncio.Barrier.abort")]
    pub fn abort(&self) {
        let gate = self.gate.as_ref();
        gate.phase.set(Phase::Broken);
        gate.send_away();
        while let Some(((), waiter)) = gate.blocked.grant(|slot| slot.set(Some(Pass { index: None, counted: false }))) {
            waiter.wake();
        }
    }

    /// How many tasks it takes.
    #[doc(alias = "asyncio.Barrier.parties")]
    pub fn parties(&self) -> usize {
        self.gate.parties
    }

    /// How many have come for this round.
    #[doc(alias = "asyncio.Barrier.n_waiting")]
    pub fn n_waiting(&self) -> usize {
        self.gate.inside.count()
    }

    /// Whether it was aborted.
    #[doc(alias = "asyncio.Barrier.broken")]
    pub fn broken(&self) -> bool {
        self.gate.phase.get() == Phase::Broken
    }

    /// Who waits where.
    pub fn statistics(&self) -> BarrierStatistics {
        let gate = &self.gate;
        BarrierStatistics {
            parties: gate.parties,
            waiting: gate.inside.count(),
            leaving: gate.leaving.get(),
            blocked: gate.blocked.count(),
            broken: self.broken(),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.gate.phase.get() {
            Phase::Filling => "filling",
            Phase::Draining => "draining",
            Phase::Resetting => "resetting",
            Phase::Broken => return f.write_str("<Barrier [broken]>"),
        };
        write!(f, "<Barrier [{state}, waiters:{}/{}]>", self.n_waiting(), self.gate.parties)
    }
}

/// What [`Barrier::statistics`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierStatistics {
    /// How many tasks it takes.
    pub parties: usize,
    /// Tasks that have come for this round.
    pub waiting: usize,
    /// Tasks of the last round that have not gone on yet.
    pub leaving: usize,
    /// Tasks that wait for those to leave.
    pub blocked: usize,
    /// Whether it was aborted.
    pub broken: bool,
}

impl Gate {
    fn reset(self: Pin<&Self>) {
        match self.phase.get() {
            Phase::Filling if self.inside.is_empty() => {}
            Phase::Filling | Phase::Draining => {
                self.phase.set(Phase::Resetting);
                self.send_away();
            }
            Phase::Resetting => {}
            Phase::Broken if self.leaving.get() > 0 => self.phase.set(Phase::Resetting),
            Phase::Broken => self.phase.set(Phase::Filling),
        }
    }

    fn send_away(self: Pin<&Self>) {
        self.sent_away.set(true);
        self.open(|_| None);
    }

    /// Indices in the order of coming, given out now, so that they are unique whoever was cancelled before (BA6).
    fn let_through(self: Pin<&Self>) {
        self.phase.set(Phase::Draining);
        self.open(Some);
    }

    fn open(self: Pin<&Self>, index: impl Fn(usize) -> Option<usize>) {
        let door = Pass { index: None, counted: true };
        self.leaving.set(self.leaving.get() + 1); // held open: the round is not over before the last one is woken
        for number in 0.. {
            let pass = Pass { index: index(number), counted: true };
            let Some(((), waiter)) = self.inside.grant(|slot| slot.set(Some(pass))) else { break };
            self.leaving.set(self.leaving.get() + 1);
            waiter.wake();
        }
        self.leave(&door);
    }

    /// The last one to leave lets in those who wait outside.
    fn leave(self: Pin<&Self>, pass: &Pass) {
        if !pass.counted {
            return;
        }
        self.leaving.set(self.leaving.get() - 1);
        if self.leaving.get() > 0 {
            return;
        }
        self.sent_away.set(false);
        if self.phase.get() != Phase::Broken {
            self.phase.set(Phase::Filling);
            let this = self.project_ref();
            let mut waiting = this.inside.count();
            while waiting < *this.parties && this.blocked.pass_on(this.inside, false) {
                waiting += 1;
            }
            if waiting == *this.parties {
                self.let_through();
            }
        }
    }
}

/// The way into a barrier.
struct Turnstile<'a>(Pin<&'a Gate>);

impl Source for Turnstile<'_> {
    type Grant = Pass;

    fn take(&self) -> Result<Pass, Pin<&WaitList<Pass>>> {
        let gate = self.0.project_ref();
        match gate.phase.get() {
            Phase::Broken => Ok(Pass { index: None, counted: false }),
            Phase::Draining | Phase::Resetting => Err(gate.blocked),
            Phase::Filling => {
                let before = gate.inside.count();
                if before + 1 < *gate.parties {
                    return Err(gate.inside);
                }
                gate.leaving.set(1);
                self.0.let_through();
                Ok(Pass { index: Some(before), counted: true })
            }
        }
    }

    fn give_back(&self, pass: Pass) {
        self.0.leave(&pass);
    }
}
