//! Where do the two CPUs stand to each other, and what runs on which?
//!
//! The host of a virtual machine moves its CPUs about, here several times a minute: onto two threads of one core,
//! within one core complex, or apart; and a server's CPU time per message changes by half. Guards: no two figures are
//! compared that were not taken in the same placement. The time that a cache line takes to cross is measured before
//! and after each slice of 100 ms; a slice in which the placement changed is dropped.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// Seen: 14 ns between two threads of a core; 30-140 ns within a core complex; 190-225 ns (Zen 3) or 510-610 ns (Zen 5)
/// across two.
const TWIN_NS_MAX: f64 = 22.0;
const NEAR_NS_MAX: f64 = 160.0;
/// One crossing measurement: this many chunks of this many round trips, median of the chunks. 0.1 ms near, 0.6 ms far.
const CHUNKS: usize = 15;
const ROUND_TRIPS: u64 = 100;

/// The two CPUs of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cpus {
    /// The last two CPUs this process may use: interrupts prefer the first.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>) -> io::Result<Cpus> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut free =
            (0..CpuSet::count()).rev().filter(|&cpu| allowed.is_set(cpu).unwrap_or(false) && Some(cpu) != load);
        let server = server.or_else(|| free.next());
        let load = load.or_else(|| free.find(|&cpu| Some(cpu) != server));
        match (server, load) {
            (Some(server), Some(load)) => Ok(Cpus { server, load }),
            (None, _) | (_, None) => Err(io::Error::other("two CPUs are needed: one for the server, one for the load")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Placement {
    /// Two threads of one core: each slows the other down.
    Twin,
    /// One core complex.
    Near,
    /// Two.
    Far,
}

impl Placement {
    pub(crate) const ALL: [Placement; 3] = [Placement::Near, Placement::Far, Placement::Twin];
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Placement::Twin => "twin",
            Placement::Near => "near",
            Placement::Far => "far",
        })
    }
}

/// How long a cache line takes from one CPU to the other, in one direction.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Crossing {
    pub(crate) ns: f64,
}

impl Crossing {
    pub(crate) fn placement(self) -> Placement {
        if self.ns < TWIN_NS_MAX {
            Placement::Twin
        } else if self.ns < NEAR_NS_MAX {
            Placement::Near
        } else {
            Placement::Far
        }
    }
}

/// Where it was measured between two crossings; None: the placement changed meanwhile.
pub(crate) fn steady(before: Crossing, after: Crossing) -> Option<Placement> {
    (before.placement() == after.placement()).then_some(before.placement())
}

/// Measures crossings: the caller's CPU against that of a partner thread, which sleeps in between.
pub(crate) struct Prober {
    court: Arc<Court>,
    partner: thread::Thread,
}

struct Court {
    ball: Line,
    /// How far the partner shall play.
    until: AtomicU64,
    closed: AtomicBool,
}

impl Prober {
    /// The partner plays on `cpu`, above a server that may run there at real-time priority, where that is permitted.
    pub(crate) fn on(cpu: usize) -> Prober {
        let court =
            Arc::new(Court { ball: Line(AtomicU64::new(0)), until: AtomicU64::new(0), closed: AtomicBool::new(false) });
        let playing = Arc::clone(&court);
        let partner = thread::spawn(move || playing.play(cpu)).thread().clone();
        Prober { court, partner }
    }

    /// The caller is pinned to the other CPU.
    pub(crate) fn measure(&self) -> Crossing {
        let ball = &self.court.ball;
        let mut turn = ball.0.load(Ordering::Relaxed);
        let mut round_trips = |count: u64| {
            for _ in 0..count {
                ball.0.store(turn + 1, Ordering::Release);
                ball.wait_for(turn + 2);
                turn += 2;
            }
        };
        let all = (CHUNKS as u64 * ROUND_TRIPS + 1) * 2;
        self.court.until.fetch_add(all, Ordering::Release);
        self.partner.unpark();
        // The first wakes the partner.
        round_trips(1);
        let mut chunks_ns = Vec::with_capacity(CHUNKS);
        for _ in 0..CHUNKS {
            let start = Instant::now();
            round_trips(ROUND_TRIPS);
            chunks_ns.push(start.elapsed().as_nanos() as f64 / (ROUND_TRIPS * 2) as f64);
        }
        Crossing { ns: crate::report::median(&mut chunks_ns) }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.court.closed.store(true, Ordering::Release);
        self.partner.unpark();
    }
}

impl Court {
    fn play(&self, cpu: usize) {
        // Refused: then the partner is only later on the court, and the figure is the same.
        let _refused = pin(cpu).and_then(|()| real_time(2));
        // Returns every odd value as the next even one.
        let mut turn = 1;
        while !self.closed.load(Ordering::Acquire) {
            while turn < self.until.load(Ordering::Acquire) {
                self.ball.wait_for(turn);
                self.ball.0.store(turn + 1, Ordering::Release);
                turn += 2;
            }
            thread::park();
        }
    }
}

/// A cache line (two, for the adjacent-line prefetcher) of its own.
#[repr(align(128))]
struct Line(AtomicU64);

impl Line {
    fn wait_for(&self, value: u64) {
        let mut spins = 0_u32;
        while self.0.load(Ordering::Acquire) != value {
            std::hint::spin_loop();
            spins += 1;
            // Where both threads share a CPU, spinning alone would never end.
            if spins > 20_000 {
                thread::sleep(Duration::from_micros(10));
            }
        }
    }
}

/// Ties the calling thread to one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Real-time priority for the calling thread, so that background work does not show up in a server's figures.
/// Bounded: a server that neither blocks nor ends within a minute is killed by the kernel (RLIMIT_RTTIME).
pub(crate) fn real_time(priority: i32) -> io::Result<()> {
    let limit_us = Duration::from_secs(60).as_micros() as libc::rlim_t;
    setrlimit(Resource::RLIMIT_RTTIME, limit_us, limit_us)?;
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: sched_setscheduler reads one sched_param, which lives on this stack.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// As many descriptors as we may have, and how many that is: 5,000 connections to each of a dozen servers are 60,000.
pub(crate) fn raise_descriptor_limit() -> io::Result<usize> {
    const WANTED: libc::rlim_t = 200_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Root may raise the hard limit too.
    for limit in [WANTED.max(hard), hard] {
        if soft >= limit || setrlimit(Resource::RLIMIT_NOFILE, limit, limit).is_ok() {
            return Ok(limit.max(soft) as usize);
        }
    }
    Ok(soft as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossing_between_two_cpus_is_a_plausible_time() {
        let Ok(cpus) = Cpus::choose(None, None) else {
            eprintln!("SKIP: one CPU only");
            return;
        };
        pin(cpus.load).unwrap();
        let prober = Prober::on(cpus.server);
        for _ in 0..3 {
            let crossing = prober.measure();
            assert!(crossing.ns > 2.0 && crossing.ns < 1e6, "{crossing:?}");
        }
    }

    #[test]
    fn steady_drops_a_slice_in_which_the_placement_changed() {
        let (near, far) = (Crossing { ns: 90.0 }, Crossing { ns: 550.0 });
        assert_eq!(steady(near, far), None);
        assert_eq!(steady(far, far), Some(Placement::Far));
    }
}
