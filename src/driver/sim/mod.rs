//! A kernel in memory, with a clock of its own that stands still while anything runs, and hardships drawn from a seed.
//! It answers every request of the driver as Linux may, and watches that what is lent and opened is given back and closed.
//!
//! What is not simulated: names of hosts (looked up for real), and wakes from other threads, for which it waits in real time.
//!
//! Where it differs from Linux on purpose, beside its [`Faults`]: a connect takes no time to be refused or to be put
//! into the listener's queue; nothing is retransmitted, and nothing times out by itself; `set_nodelay` changes nothing;
//! a reset leaves what has arrived readable.

mod arena;
mod calls;
mod children;
mod datagrams;
mod faults;
mod flights;
mod kernel;
mod ledger;
mod names;
mod net;
mod pool;
mod programs;
mod signals;
mod state;
mod trace;

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{BTreeMap, VecDeque},
    fmt, io,
    rc::Rc,
    thread,
    time::Duration,
};

pub(crate) use children::{Act, Script};
pub use faults::Faults;
use state::{LOOK, State, Turned};

use super::{Completion, Config, Doorbell, DriverReport, Profile, Token, Wait};
use crate::{buf::PoolLayout, clock::Clock, sys};

/// A simulated kernel, for one runtime. Clones are the same one.
#[derive(Clone)]
pub(crate) struct World(Rc<Shared>);

struct Shared {
    seed: u64,
    doorbell: Doorbell,
    state: RefCell<State>,
    profile: Cell<Profile>,
    layout: Cell<PoolLayout>,
    /// Tasks that are ready run in an order that is drawn.
    shuffles: Cell<bool>,
    /// Threads that may wake a task: time does not jump over them.
    outside: Cell<usize>,
    /// By name.
    programs: RefCell<BTreeMap<String, Rc<Program>>>,
}

/// What a program does with its arguments.
type Program = dyn Fn(&[String]) -> Script;

/// How often a world without anything to do looks for wakes of other threads before it says that there will be none.
const LOOKS: u32 = 100;

impl World {
    /// # Panics
    /// When the process has no descriptor left.
    pub(crate) fn new(seed: u64, allowed: Faults) -> World {
        let bell = sys::doorbell_fd().expect("a simulated kernel needs two descriptors of the process");
        let blank = bell.try_clone().expect("a simulated kernel needs two descriptors of the process");
        let state = State::new(seed, allowed, blank);
        let layout = PoolLayout {
            count_max: state.knobs.pool_count,
            count_first: state.knobs.pool_count.div_ceil(2),
            size: state.knobs.pool_bytes,
        };
        World(Rc::new(Shared {
            seed,
            doorbell: Doorbell::new(bell),
            state: RefCell::new(state),
            profile: Cell::new(Profile::Full),
            layout: Cell::new(layout),
            shuffles: Cell::new(false),
            outside: Cell::new(0),
            programs: RefCell::default(),
        }))
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.state.borrow_mut()
    }

    pub(super) fn configure(&self, config: &Config) {
        let mut state = self.state();
        let drawn = match state.knobs.profile {
            0 => Profile::Full,
            1 => Profile::Multi,
            _ => Profile::Base,
        };
        let profile = drawn.min(config.profile_max.unwrap_or(Profile::Full));
        state.pool.incremental = profile.has_incremental();
        self.0.profile.set(profile);
        if let Some(layout) = config.pool {
            self.0.layout.set(layout);
        }
    }

    // ---- as a driver

    pub(super) fn cancel(&self, target: Token) {
        self.state().cancel(target);
    }

    pub(super) fn turn(&self, wait: Wait) -> io::Result<bool> {
        if wait != Wait::Not && self.0.outside.get() > 0 {
            // What a thread does takes real time.
            self.state().turn(Wait::Not)?;
            if self.state().done.is_empty() && !self.is_rung() {
                thread::park_timeout(LOOK);
            }
            return Ok(true);
        }
        match self.state().turn(wait)? {
            Turned::Done => return Ok(true),
            Turned::Deadlock => {}
        }
        for _ in 0..LOOKS {
            if self.is_rung() {
                return Ok(true);
            }
            thread::park_timeout(LOOK);
        }
        Err(io::Error::new(io::ErrorKind::Deadlock, self.deadlock()))
    }

    fn is_rung(&self) -> bool {
        self.state().take_ring()
    }

    fn deadlock(&self) -> String {
        let state = self.state();
        let flights = state.in_flight();
        let list = if flights.is_empty() { "nothing".to_owned() } else { flights.join("; ") };
        format!("Deadlock: nothing is runnable, timed or about to happen. In flight: {list}")
    }

    pub(super) fn drain(&self, mut sink: impl FnMut(Completion)) {
        let visible = self.state().visible();
        for _ in 0..visible {
            let Some(completion) = self.state().drain() else { return };
            sink(completion);
        }
        let withheld = self.state().answer_quiet();
        withheld.into_iter().for_each(sink);
    }

    pub(super) fn doorbell(&self) -> &Doorbell {
        &self.0.doorbell
    }

    pub(super) fn forget_pool(&self) -> io::Result<()> {
        self.state().pool.clear();
        Ok(())
    }

    pub(super) fn pool_layout(&self) -> PoolLayout {
        self.0.layout.get()
    }

    pub(super) fn profile(&self) -> Profile {
        self.0.profile.get()
    }

    pub(super) fn clock(&self) -> Clock {
        self.state().clock.clone()
    }

    pub(super) fn report(&self) -> DriverReport {
        DriverReport {
            driver: "simulated",
            kernel: format!("simulated, seed {}", self.0.seed),
            profile: self.profile().name(),
            reason: "asked for by ringio::testing".to_owned(),
            flags: self.state().knobs.armed.iter_names().map(|(name, _)| name).collect(),
            queues: (0, 0),
            operations: Vec::new(),
        }
    }

    // ---- for the executor

    /// The order in which tasks that are ready run.
    pub(crate) fn order_tasks<T>(&self, ready: &mut VecDeque<T>) {
        if self.0.shuffles.get() {
            self.state().chance.tasks.shuffle(ready.make_contiguous());
        }
    }

    /// A task runs now.
    pub(crate) fn note_task(&self, key: u64) {
        let mut state = self.state();
        let now = state.clock.now();
        state.trace.task(now, key);
    }

    /// Threads that may wake a task come and go.
    pub(crate) fn count_outside(&self, by: isize) {
        self.0.outside.set(self.0.outside.get().wrapping_add_signed(by));
    }

    // ---- for whoever made it

    /// From now on tasks that are ready run in an order that is drawn.
    pub(crate) fn shuffle_tasks(&self) {
        self.0.shuffles.set(true);
    }

    pub(crate) fn limit_turns(&self, turns: u64) {
        self.state().limit_turns(turns);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.state().clock.now().since_origin()
    }

    pub(crate) fn armed(&self) -> Faults {
        self.state().knobs.armed
    }

    /// What is the same for the same seed and the same program.
    pub(crate) fn trace_hash(&self) -> u64 {
        self.state().trace.hash()
    }

    pub(crate) fn events(&self) -> u64 {
        self.state().trace.events()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.lines()
    }

    /// What broke first, if anything did.
    pub(crate) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    /// What is left when the runtime is gone, and should not be.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.state().leftovers()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.0.seed).finish_non_exhaustive()
    }
}
