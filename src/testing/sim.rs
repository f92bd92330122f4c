//! A run in a simulated kernel.

use std::{env, fmt, future::IntoFuture, panic::Location, time::Duration};

use crate::{
    driver::{World, sim::Faults},
    executor::{Runner, RunnerBuilder},
};

/// Runs `main` on virtual time in a kind kernel: time jumps to the next timer when nothing else can happen, nothing fails
/// and nothing takes any time. Every run is the same.
///
/// ```
/// use std::time::Duration;
///
/// let slept = ringio::testing::run_virtual(async {
///     let start = ringio::testing::now();
///     ringio::sleep(Duration::from_secs(24 * 3600)).await.unwrap();
///     ringio::testing::now() - start
/// });
/// assert_eq!(slept, Duration::from_secs(24 * 3600));
/// ```
///
/// # Panics
/// When nothing can happen any more and `main` has not ended, with what everybody waits for. A panic of `main` comes out
/// of here.
#[track_caller]
pub fn run_virtual<F: IntoFuture>(main: F) -> F::Output {
    Sim::new(0).faults(Faults::empty()).run(main)
}

/// A simulated kernel for one program.
#[derive(Debug)]
#[must_use = "call run()"]
pub struct Sim {
    seed: u64,
    faults: Faults,
    shuffled: bool,
    turns_max: u64,
    runner: RunnerBuilder,
}

/// What is known of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report<T> {
    /// What `main` returned.
    pub output: T,
    /// The same for the same seed and program, and in practice for no other.
    pub trace_hash: u64,
    /// What happened in the kernel and in the run queue, counted.
    pub events: u64,
    /// Virtual time.
    pub elapsed: Duration,
    /// The faults that this seed armed.
    pub armed: Faults,
}

/// More turns than any sensible program takes.
const TURNS_MAX: u64 = 20_000_000;

impl Sim {
    /// A hostile kernel: everything that may happen is drawn from `seed`.
    ///
    /// The environment variable `RINGIO_FAULTS` leaves only the faults it names (`SHORT | DELAY`, or nothing at all).
    pub fn new(seed: u64) -> Sim {
        let faults = env::var("RINGIO_FAULTS").map_or(Faults::all(), |names| parse_faults(&names));
        Sim { seed, faults, shuffled: false, turns_max: TURNS_MAX, runner: Runner::builder() }
    }

    /// The only faults that may be armed. With none, the kernel is kind, and only the order of
    /// [`shuffle_tasks`](Sim::shuffle_tasks) is left to the seed.
    pub fn faults(mut self, faults: Faults) -> Sim {
        self.faults &= faults;
        self
    }

    /// Tasks that are ready run in an order that is drawn from the seed, instead of the order in which they became ready:
    /// finds programs that rely on it.
    pub fn shuffle_tasks(mut self) -> Sim {
        self.shuffled = true;
        self
    }

    /// How many turns the program may take before it counts as one that never ends; 20 million unless set.
    pub fn turns_max(mut self, turns: u64) -> Sim {
        self.turns_max = turns;
        self
    }

    /// Settings of the runtime.
    pub fn runner(mut self, settings: impl FnOnce(RunnerBuilder) -> RunnerBuilder) -> Sim {
        self.runner = settings(self.runner);
        self
    }

    /// The faults that this seed arms, out of those that may be.
    pub fn armed(&self) -> Faults {
        Faults::drawn(self.seed, self.faults)
    }

    /// Runs `main` to its end, and closes the runtime.
    ///
    /// # Panics
    /// When nothing can happen any more; when something that was lent or opened is not given back; when memory is used
    /// that belongs to the kernel. A panic of `main` comes out of here. Standard error then has the line that does the
    /// same again.
    #[track_caller]
    pub fn run<F: IntoFuture>(self, main: F) -> F::Output {
        self.report(main).output
    }

    /// As [`Sim::run`], and says what is known of the run.
    ///
    /// # Panics
    /// As [`Sim::run`].
    #[track_caller]
    pub fn report<F: IntoFuture>(self, main: F) -> Report<F::Output> {
        let world = World::new(self.seed, self.faults);
        if self.shuffled {
            world.shuffle_tasks();
        }
        world.limit_turns(self.turns_max);
        let replay = Replay { seed: self.seed, world: world.clone(), place: Location::caller() };
        let mut runner = match self.runner.simulated(world.clone()).build() {
            Ok(runner) => runner,
            Err(error) => panic!("a simulated runtime: {error}"),
        };
        let output = runner.run(main);
        let elapsed = world.elapsed();
        runner.close();
        replay.check();
        Report { output, trace_hash: world.trace_hash(), events: world.events(), elapsed, armed: world.armed() }
    }
}

/// Names as `Faults` prints them: `SHORT | DELAY`.
fn parse_faults(names: &str) -> Faults {
    let found = names.split(['|', ',', '+']).map(str::trim).filter(|name| !name.is_empty()).map(|name| {
        Faults::from_name(name)
            .unwrap_or_else(|| panic!("RINGIO_FAULTS: {name} is no fault; there are {:?}", Faults::all()))
    });
    found.collect()
}

/// Says how a run is repeated when it fails.
struct Replay {
    seed: u64,
    world: World,
    place: &'static Location<'static>,
}

impl Replay {
    /// What the simulation itself has to say, once the runtime is gone.
    fn check(&self) {
        if let Some(violation) = self.world.violation() {
            panic!("the run broke a promise: {violation}");
        }
        let left = self.world.leftovers();
        assert!(left.is_empty(), "the run left something behind: {}", left.join("; "));
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.world.armed().iter_names().map(|(name, _)| name).collect();
        write!(f, "RINGIO_SEED={} RINGIO_FAULTS='{}' at {}", self.seed, names.join(" | "), self.place)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation failed; the same again: {self}");
        }
    }
}
