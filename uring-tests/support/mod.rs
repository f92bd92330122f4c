//! What the tests share. Everything here is about the real ring, real sockets and real pipes.
//!
//! - [`Rng`]: chance with a seed. The seed is printed by every test that draws; `RINGIO_SEED=<number>` runs it again.
//! - [`runner`], [`each_profile`]: a runtime that keeps its reports, and one for each set of kernel features.
//! - [`until`], [`settled`]: wait for a state, with a deadline and a message; never for a time.
//! - [`alone`]: runs the body of a test in a process of its own, for what counts or changes the process.
//! - [`wire`]: plain blocking peers to talk to. [`process`]: descriptors, threads, memory. [`canary`]: lent memory that
//!   shows when the kernel wrote to it after it was freed.

pub(crate) mod canary;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod wire;

use std::{
    cell::{Cell, RefCell},
    env,
    rc::Rc,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ringio::{ErrorReport, ReportKind, Runner, RunnerBuilder, internals};

pub(crate) use process::{Alone, alone};

/// The profiles of the kernel that a test may ask for.
pub(crate) const PROFILES: [&str; 3] = ["base", "multi", "full"];

/// How long anything here may take before a test says that it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The seed of this process: `RINGIO_SEED`, or a fresh one.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match env::var("RINGIO_SEED") {
        Ok(text) => text.parse().expect("RINGIO_SEED is a decimal number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64),
    })
}

/// Numbers from the process's seed: splitmix64.
pub(crate) struct Rng(u64);

impl Rng {
    /// A generator of its own for each test; says how to get the same numbers again.
    pub(crate) fn new(test: &str) -> Rng {
        eprintln!("{test}: RINGIO_SEED={}", seed());
        let salt = test
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Rng(seed() ^ salt)
    }

    /// The numbers of one seed.
    pub(crate) fn of(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn of_seed(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A generator of its own for one decision in one of many tasks, which share the seeds.
    pub(crate) fn from(seeds: &Cell<u64>) -> Rng {
        let seed = Rng(seeds.get()).next();
        seeds.set(seed);
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least zero, less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn micros(&mut self, end: usize) -> Duration {
        Duration::from_micros(self.below(end) as u64)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// From one byte up to `most`.
    pub(crate) fn chunk(&mut self, most: usize) -> Vec<u8> {
        let len = 1 + self.below(most);
        self.bytes(len)
    }
}

/// What a runtime said to its error handler.
#[derive(Clone, Default)]
pub(crate) struct Reports(Rc<RefCell<Vec<ErrorReport>>>);

impl Reports {
    pub(crate) fn of(&self, kind: ReportKind) -> usize {
        self.0.borrow().iter().filter(|report| report.kind == kind).count()
    }

    /// The reports as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.borrow().iter().map(ToString::to_string).collect()
    }

    /// Has a builder send its reports here.
    pub(crate) fn hear(&self, builder: RunnerBuilder) -> RunnerBuilder {
        let reports = self.0.clone();
        builder.error_handler(move |report| reports.borrow_mut().push(report.clone()))
    }
}

/// A runtime of a profile.
pub(crate) fn runner(profile: &str) -> Runner {
    Runner::builder().profile(profile).handle_ctrl_c(false).build().expect("a runtime")
}

/// The same for each profile; says aloud where the kernel has less than was asked for.
pub(crate) fn each_profile(mut test: impl FnMut(&'static str, &mut Runner)) {
    for profile in PROFILES {
        let mut runner = runner(profile);
        let report = runner.driver_report().expect("a runtime that is not closed");
        if report.profile == profile {
            eprintln!("profile {profile}");
            test(profile, &mut runner);
        } else {
            eprintln!("SKIPPED: this kernel has no more than the profile {}", report.profile);
        }
        runner.close();
    }
}

/// Waits until something holds; other tasks run meanwhile.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{place}: this never came about: {what}; {:?}", internals::counts());
            // A cancel that is still to be delivered is none of our business.
            let _ = ringio::sleep(Duration::from_micros(50)).await;
        }
    }
}

/// Waits until no operation is left, and then no buffer of the pool may be missing either.
#[track_caller]
pub(crate) fn settled() -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        until("no operation is left", || internals::counts().operations == 0).await;
        assert_home(place);
    }
}

fn assert_home(place: &std::panic::Location<'_>) {
    let counts = internals::counts();
    assert_eq!(counts.buffers_home, counts.buffers, "{place}: a buffer of the pool is lost");
}
