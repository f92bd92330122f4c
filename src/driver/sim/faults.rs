//! What may go wrong in a simulated kernel. Each run first draws which faults are armed, and how strongly, then draws at
//! every occasion: so that runs differ in kind, and not only in luck.

use crate::rng::Rng;

bitflags::bitflags! {
    /// Kinds of hardship that a simulated kernel may have in store. Which of them a run really has is drawn from its
    /// seed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Faults: u32 {
        /// Reads and writes that move less than they could, down to single bytes.
        const SHORT = 1;
        /// Completions in another order than that of the requests.
        const REORDER = 1 << 1;
        /// Operations and connections that take their time.
        const DELAY = 1 << 2;
        /// Standing receives and accepts that end together with something they bring.
        const CUT = 1 << 3;
        /// Receives that find no buffer although data is there.
        const NO_BUFFER = 1 << 4;
        /// Cancels that are not heard, come late, lose the race, or interrupt.
        const CANCEL = 1 << 5;
        /// Times in which no descriptor is left for another connection, or no process for another child.
        const EXHAUSTED = 1 << 6;
        /// Connections that are reset by somebody on the way, or are gone before they are accepted. The only kind that
        /// takes data away.
        const RESET = 1 << 7;
        /// Operations that say "not now" instead of waiting.
        const NOT_READY = 1 << 8;
        /// A kernel that takes no requests for a while, or only some.
        const ENTER = 1 << 9;
        /// A completion queue that shows little at a time.
        const OVERFLOW = 1 << 10;
        /// Completions of operations that are over, or never were.
        const FORGED = 1 << 11;
        /// Waits that end for no reason.
        const SPURIOUS = 1 << 12;
        /// A clock that jumps forward.
        const CLOCK = 1 << 13;
        /// A kernel that can less.
        const PROFILE = 1 << 14;
        /// Sockets and a buffer pool that hold little.
        const SMALL = 1 << 15;
        /// Turns that take time.
        const SLOW = 1 << 16;
        /// Datagrams of UDP that are lost, come twice, or come late.
        const LOSS = 1 << 17;
        /// Operations that a signal interrupts, although nobody cancelled them.
        const INTERRUPT = 1 << 18;
    }
}

/// What is armed in this run, and how strongly: chances in a thousand, or sizes.
#[derive(Debug, Clone, Default)]
pub(super) struct Knobs {
    pub(super) short: u32,
    pub(super) reorder: bool,
    /// The usual and the longest delay, in nanoseconds; zero for none.
    pub(super) delay: (u64, u64),
    pub(super) cut: u32,
    pub(super) no_buffer: u32,
    pub(super) cancel_lost: u32,
    pub(super) cancel_late: u32,
    pub(super) cancel_interrupts: u32,
    pub(super) cancel_loses: u32,
    pub(super) exhausted: u32,
    pub(super) reset: u32,
    pub(super) not_ready: u32,
    pub(super) enter: u32,
    /// Most completions that are seen at once; zero for all.
    pub(super) overflow: usize,
    pub(super) forged: u32,
    pub(super) spurious: u32,
    pub(super) clock: u32,
    /// 0 for what a modern kernel can, 1 and 2 for less.
    pub(super) profile: u64,
    pub(super) socket_bytes: usize,
    pub(super) pool_count: u16,
    pub(super) pool_bytes: u32,
    /// Nanoseconds of a turn.
    pub(super) turn: u64,
    pub(super) loss: u32,
    pub(super) interrupt: u32,
    /// What was drawn, for reports.
    pub(super) armed: Faults,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::all()
    }
}

impl Faults {
    /// What a seed arms.
    pub(crate) fn drawn(seed: u64, allowed: Faults) -> Faults {
        Knobs::draw(seed, allowed).armed
    }
}

/// One chance for each purpose, so that leaving one fault out changes little for the others.
pub(super) struct Chance {
    pub(super) transfer: Rng,
    pub(super) order: Rng,
    pub(super) delay: Rng,
    pub(super) receive: Rng,
    pub(super) cancel: Rng,
    pub(super) accept: Rng,
    pub(super) enter: Rng,
    pub(super) forge: Rng,
    pub(super) wait: Rng,
    pub(super) tasks: Rng,
    pub(super) datagrams: Rng,
    pub(super) children: Rng,
    pub(super) interrupt: Rng,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        let root = Rng::new(seed);
        Chance {
            transfer: root.branch("transfer"),
            order: root.branch("order"),
            delay: root.branch("delay"),
            receive: root.branch("receive"),
            cancel: root.branch("cancel"),
            accept: root.branch("accept"),
            enter: root.branch("enter"),
            forge: root.branch("forge"),
            wait: root.branch("wait"),
            tasks: root.branch("tasks"),
            datagrams: root.branch("datagrams"),
            children: root.branch("children"),
            interrupt: root.branch("interrupt"),
        }
    }
}

const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1000 * MICROSECOND;

/// What sockets and the pool hold where they are not small.
const SOCKET_BYTES: usize = 256 * 1024;
const POOL_COUNT: u16 = 64;
const POOL_BYTES: u32 = 16 * 1024;

impl Knobs {
    /// Everything is drawn from branches of the seed, also what is not allowed: leaving one out changes no other.
    pub(super) fn draw(seed: u64, allowed: Faults) -> Knobs {
        let root = Rng::new(seed).branch("knobs");
        let mut knobs = Knobs {
            socket_bytes: SOCKET_BYTES,
            pool_count: POOL_COUNT,
            pool_bytes: POOL_BYTES,
            armed: Faults::empty(),
            ..Knobs::default()
        };
        for (name, fault) in Faults::all().iter_names() {
            let mut rng = root.branch(name);
            let drawn = rng.permille(500);
            if drawn && allowed.contains(fault) {
                knobs.arm(fault, &mut rng);
                knobs.armed |= fault;
            }
        }
        knobs
    }

    fn arm(&mut self, fault: Faults, rng: &mut Rng) {
        let mut strength = |choices: &[u32]| choices[rng.index(choices.len())];
        match fault {
            Faults::SHORT => self.short = strength(&[50, 300, 900, 1000]),
            Faults::REORDER => self.reorder = true,
            Faults::DELAY => {
                let usual = u64::from(strength(&[1, 20, 100, 1000])) * MICROSECOND;
                self.delay = (usual, u64::from(strength(&[1, 20, 300])) * MILLISECOND);
            }
            Faults::CUT => self.cut = strength(&[20, 200, 900]),
            Faults::NO_BUFFER => self.no_buffer = strength(&[20, 200, 500]),
            Faults::CANCEL => {
                self.cancel_lost = strength(&[0, 100, 500]);
                self.cancel_late = strength(&[0, 100, 900]);
                self.cancel_interrupts = strength(&[0, 500, 1000]);
                self.cancel_loses = strength(&[0, 300, 1000]);
            }
            Faults::EXHAUSTED => self.exhausted = strength(&[5, 50, 200]),
            Faults::RESET => self.reset = strength(&[1, 5, 30]),
            Faults::NOT_READY => self.not_ready = strength(&[50, 500, 1000]),
            Faults::ENTER => self.enter = strength(&[20, 200, 600]),
            Faults::OVERFLOW => self.overflow = strength(&[1, 2, 7]) as usize,
            Faults::FORGED => self.forged = strength(&[20, 300]),
            Faults::SPURIOUS => self.spurious = strength(&[20, 300, 700]),
            Faults::CLOCK => self.clock = strength(&[2, 20]),
            Faults::PROFILE => self.profile = u64::from(strength(&[1, 2])),
            Faults::SMALL => {
                self.socket_bytes = strength(&[1, 7, 100, 4096]) as usize;
                self.pool_count = strength(&[1, 2, 8]) as u16;
                self.pool_bytes = strength(&[64, 200, 4096]);
            }
            Faults::SLOW => self.turn = u64::from(strength(&[100, 5_000, 100_000])),
            Faults::INTERRUPT => self.interrupt = strength(&[20, 200, 500]),
            Faults::LOSS => self.loss = strength(&[10, 200, 600]),
            other => unreachable!("one fault at a time, not {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_fault_out_changes_no_other() {
        for seed in 0..50 {
            let all = Knobs::draw(seed, Faults::all());
            let without = Knobs::draw(seed, Faults::all() - Faults::SHORT);
            assert_eq!(all.armed - Faults::SHORT, without.armed);
            assert_eq!((all.delay, all.cut, all.socket_bytes), (without.delay, without.cut, without.socket_bytes));
        }
        assert_eq!(Knobs::draw(3, Faults::empty()).armed, Faults::empty());
    }

    #[test]
    fn every_fault_is_armed_in_some_run_and_left_out_in_another() {
        let runs: Vec<Faults> = (0..64).map(|seed| Knobs::draw(seed, Faults::all()).armed).collect();
        for (name, fault) in Faults::all().iter_names() {
            let armed = runs.iter().filter(|run| run.contains(fault)).count();
            assert!((10..54).contains(&armed), "{name}: {armed} of 64");
        }
    }
}
