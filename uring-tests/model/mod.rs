//! Random programs against plain reference models: N tasks that wait for locks, queues and the like, cancelled, dropped and
//! timed out at any moment, in every order. After every step the real thing and its model show the same, and tasks end in
//! the same order with the same results. In the end nothing is left over.
//!
//! Deterministic by the loop's own rules (S1, S2): the model keeps a run queue as the loop does. The seed is printed;
//! `RINGIO_SEED` runs the same programs again, `RINGIO_MODEL_PROGRAMS` sets how many there are of each kind. A program that
//! fails is shrunk.

mod barrier;
mod condition;
mod event;
mod permits;
mod queue;
mod world;

use std::{
    cell::{Cell, RefCell},
    env,
    fmt::Debug,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use ringio::{AnyTask, CancelledError, Runner, Timeout};

use crate::support::Rng;
use world::{Stage, World};

/// Programs of each kind; there are nine kinds.
const PROGRAMS: u32 = 2500;
const STEPS_MAX: usize = 24;

pub(crate) type Wait = Pin<Box<dyn Future<Output = String>>>;

/// A real thing and its model.
pub(crate) trait Subject {
    /// Done by a task; may wait.
    type Op: Clone + Debug + 'static;
    /// Done at once, by whoever drives the program.
    type Act: Clone + Debug + 'static;
    /// What the model hands over.
    type Grant: Clone;

    /// What comes of a wait that was cancelled before it could begin.
    const REFUSED: &'static str = "cancelled";

    fn real_start(&self, op: &Self::Op) -> Wait;
    fn real_act(&self, act: &Self::Act) -> String;
    fn real_look(&self) -> String;

    fn act(&mut self, world: &mut World<Self::Grant>, act: &Self::Act) -> String;
    fn look(&self, world: &World<Self::Grant>) -> String;
    /// Ends at once, or waits in a line.
    fn take(&mut self, world: &mut World<Self::Grant>, id: usize, op: &Self::Op) -> Result<String, usize>;
    fn redeem(&mut self, world: &mut World<Self::Grant>, id: usize, op: &Self::Op, grant: Self::Grant) -> String;
    fn give_back(&mut self, world: &mut World<Self::Grant>, op: &Self::Op, grant: Self::Grant);

    /// A result that is there counts, whatever cancel has come since.
    fn is_result_first(_op: &Self::Op) -> bool {
        false
    }

    /// A task that waits runs; `Some` when it ends.
    fn resume(&mut self, world: &mut World<Self::Grant>, id: usize, op: &Self::Op) -> Option<String> {
        if Self::is_result_first(op)
            && let Some(grant) = world.tasks[id].grant.take()
        {
            return Some(self.redeem(world, id, op, grant));
        }
        if world.deliver(id) {
            world.leave(id);
            if let Some(grant) = world.tasks[id].grant.take() {
                self.give_back(world, op, grant);
            }
            return Some("cancelled".into());
        }
        if let Some(grant) = world.tasks[id].grant.take() {
            return Some(self.redeem(world, id, op, grant));
        }
        if world.is_in_line(id) {
            return None;
        }
        match self.take(world, id, op) {
            Ok(result) => Some(result),
            Err(line) => {
                world.join(id, line);
                None
            }
        }
    }

    /// A wait is dropped.
    fn drop_wait(&mut self, world: &mut World<Self::Grant>, id: usize, op: &Self::Op) {
        world.leave(id);
        if let Some(grant) = world.tasks[id].grant.take() {
            self.give_back(world, op, grant);
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step<O, A> {
    Start(O),
    Act(A),
    /// Of the tasks that have not ended, the one with this number, modulo how many there are.
    Cancel(usize),
    Uncancel(usize),
    Drop(usize),
    Expire(usize),
    Yield,
}

pub(crate) fn steps<O: Clone + Debug + 'static, A: Clone + Debug + 'static>(
    op: impl Strategy<Value = O> + 'static,
    act: impl Strategy<Value = A> + 'static,
) -> impl Strategy<Value = Vec<Step<O, A>>> {
    let step = prop_oneof![
        6 => op.prop_map(Step::Start),
        6 => act.prop_map(Step::Act),
        2 => (0..8usize).prop_map(Step::Cancel),
        1 => (0..8usize).prop_map(Step::Uncancel),
        1 => (0..8usize).prop_map(Step::Drop),
        1 => (0..8usize).prop_map(Step::Expire),
        6 => Just(Step::Yield),
    ];
    vec(step, 1..STEPS_MAX)
}

/// Runs many programs, each on a fresh subject that `make` makes of a random setting.
pub(crate) fn check<S: Subject, C: Strategy + 'static>(
    name: &str,
    setting: C,
    steps: impl Strategy<Value = Vec<Step<S::Op, S::Act>>>,
    make: impl Fn(&C::Value) -> S,
) {
    let cases = env::var("RINGIO_MODEL_PROGRAMS").map_or(PROGRAMS, |text| text.parse().expect("a number"));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let mut seed = [0; 32];
    let mut rng = Rng::new(name);
    seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()));
    let mut programs = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runner = RefCell::new(None);
    let outcome = programs.run(&(setting, steps), |(setting, steps)| {
        let runtime = runner.take();
        let mut runtime: Runner =
            runtime.unwrap_or_else(|| Runner::builder().handle_ctrl_c(false).build().expect("a runtime"));
        let drive = Drive::new(make(&setting));
        runtime.run(drive.run(&steps)).map_err(TestCaseError::fail)?;
        // After a failure there is a new one: nothing of the failed program may disturb the next.
        runner.replace(Some(runtime));
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (setting, steps))) => {
            panic!("{name}: {reason}\nthe shortest program that fails, with {setting:?}:\n{steps:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{name}: {reason}"),
    }
}

/// One program on its way.
struct Drive<S: Subject> {
    subject: S,
    world: World<S::Grant>,
    ops: Vec<S::Op>,
    tasks: Vec<Real>,
    expiring: Vec<usize>,
    real_log: Rc<RefCell<Vec<String>>>,
    log: Vec<String>,
}

struct Real {
    task: AnyTask,
    /// Taken when it is dropped, by us or at its end.
    wait: Rc<RefCell<Option<Wait>>>,
    waker: Rc<RefCell<Option<Waker>>>,
    limit: Option<Rc<RefCell<Option<Timeout>>>>,
}

impl<S: Subject> Drive<S> {
    fn new(subject: S) -> Drive<S> {
        Drive {
            subject,
            world: World::default(),
            ops: Vec::new(),
            tasks: Vec::new(),
            expiring: Vec::new(),
            real_log: Rc::default(),
            log: Vec::new(),
        }
    }

    async fn run(mut self, steps: &[Step<S::Op, S::Act>]) -> Result<(), String> {
        for (number, step) in steps.iter().enumerate() {
            self.step(step).await.map_err(|error| format!("step {number}, {step:?}: {error}"))?;
        }
        for id in self.world.unfinished() {
            self.cancel(id);
        }
        for _ in 0..8 {
            self.turn().await;
            self.compare().map_err(|error| format!("at the end: {error}"))?;
        }
        // Waits that no cancel can end yet: for a lock that nobody releases.
        for id in self.world.unfinished() {
            self.drop_wait(id);
        }
        self.turn().await;
        self.compare().map_err(|error| format!("at the end, dropped: {error}"))?;
        if self.world.unfinished().is_empty() { Ok(()) } else { Err("something is left over".into()) }
    }

    async fn step(&mut self, step: &Step<S::Op, S::Act>) -> Result<(), String> {
        match step {
            Step::Start(op) => self.start(op),
            Step::Act(act) => {
                let (real, model) = (self.subject.real_act(act), self.subject.act(&mut self.world, act));
                same("the answer", &real, &model)?;
            }
            Step::Cancel(number) => self.on(*number, Drive::cancel),
            Step::Uncancel(number) => self.on(*number, Drive::uncancel),
            Step::Drop(number) => self.on(*number, Drive::drop_wait),
            Step::Expire(number) => self.on(*number, Drive::expire),
            Step::Yield => self.turn().await,
        }
        self.compare()
    }

    fn on(&mut self, number: usize, act: fn(&mut Drive<S>, usize)) {
        let unfinished = self.world.unfinished();
        if !unfinished.is_empty() {
            act(self, unfinished[number % unfinished.len()]);
        }
    }

    fn compare(&self) -> Result<(), String> {
        same("ended", &self.real_log.borrow().join(" "), &self.log.join(" "))?;
        same("the state", &self.subject.real_look(), &self.subject.look(&self.world))
    }

    fn start(&mut self, op: &S::Op) {
        let id = self.world.start();
        self.ops.push(op.clone());
        let wait: Rc<RefCell<Option<Wait>>> = Rc::new(RefCell::new(Some(self.subject.real_start(op))));
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let limit: Option<Rc<RefCell<Option<Timeout>>>> = id.is_multiple_of(2).then(Rc::default);
        let body = droppable(wait.clone(), waker.clone());
        let (log, place) = (self.real_log.clone(), limit.clone());
        let task = ringio::create_task(async move {
            let ended = match place {
                None => body.await,
                Some(place) => {
                    let ended = Cell::new(None);
                    let limited = ringio::timeout(None, async |limit| {
                        place.replace(Some(limit.clone()));
                        ended.set(Some(body.await));
                        std::io::Result::Ok(())
                    });
                    let _outcome = limited.await;
                    ended.take().unwrap_or_else(|| "dropped by the timeout".into())
                }
            };
            log.borrow_mut().push(format!("{id}:{ended}"));
            Ok::<_, CancelledError>(())
        });
        self.tasks.push(Real { task: task.to_any(), wait, waker, limit });
    }

    fn cancel(&mut self, id: usize) {
        self.tasks[id].task.cancel();
        self.world.cancel(id);
    }

    fn uncancel(&mut self, id: usize) {
        let mut left = self.tasks[id].task.cancelling();
        while left > 0 {
            left = self.tasks[id].task.uncancel();
        }
        self.world.tasks[id].cancelled = false;
    }

    fn drop_wait(&mut self, id: usize) {
        let dropped = self.tasks[id].wait.take();
        let waker = self.tasks[id].waker.take();
        drop(dropped);
        if self.world.tasks[id].stage != Stage::Dropped {
            self.subject.drop_wait(&mut self.world, id, &self.ops[id]);
            self.world.tasks[id].stage = Stage::Dropped;
        }
        if let Some(waker) = waker {
            waker.wake();
            self.world.wake(id);
        }
    }

    /// The time of a limit runs out at the end of this turn.
    fn expire(&mut self, id: usize) {
        let limit = self.tasks[id].limit.as_ref().and_then(|limit| limit.borrow().clone());
        if let Some(limit) = limit
            && limit.when().is_none()
            && limit.reschedule(Instant::now()).is_ok()
        {
            self.expiring.push(id);
        }
    }

    async fn turn(&mut self) {
        let ready = self.world.ready.len();
        for id in std::mem::take(&mut self.expiring) {
            if self.world.tasks[id].stage != Stage::Done {
                self.world.expire(id);
            }
        }
        for _ in 0..ready {
            let Some(id) = self.world.next() else { break };
            let ended = match self.world.tasks[id].stage {
                Stage::Dropped => Some("dropped".to_owned()),
                Stage::New => self.first_run(id),
                Stage::Waiting => self.subject.resume(&mut self.world, id, &self.ops[id]),
                Stage::Done => None,
            };
            if let Some(ended) = ended {
                self.world.tasks[id].stage = Stage::Done;
                self.log.push(format!("{id}:{ended}"));
            }
        }
        let _not_cancelled = ringio::yield_now().await;
    }

    fn first_run(&mut self, id: usize) -> Option<String> {
        self.world.tasks[id].stage = Stage::Waiting;
        let line = match self.subject.take(&mut self.world, id, &self.ops[id]) {
            Ok(result) => return Some(result),
            Err(line) => line,
        };
        if self.world.is_in_line(id) {
            return None; // `take` has seen to it
        }
        if self.world.deliver(id) {
            return Some(S::REFUSED.into());
        }
        self.world.join(id, line);
        None
    }
}

/// A wait that can be taken away from its task.
async fn droppable(wait: Rc<RefCell<Option<Wait>>>, waker: Rc<RefCell<Option<Waker>>>) -> String {
    poll_fn(|cx| {
        waker.replace(Some(cx.waker().clone()));
        let taken = wait.take();
        let Some(mut future) = taken else { return Poll::Ready("dropped".into()) };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            wait.replace(Some(future));
        }
        polled
    })
    .await
}

fn same(what: &str, real: &str, model: &str) -> Result<(), String> {
    if real == model { Ok(()) } else { Err(format!("{what} is [{real}], not [{model}]")) }
}
