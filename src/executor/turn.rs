//! One turn of the loop, in its one order: run what is ready, submit and wait in one system call, bring completions to
//! whom they are for, fire timers. Nothing runs inside the last three.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::{Alarm, Ending, Runtime, TaskRef, inspect, runtime::BUDGET};
use crate::{clock::Tick, driver::Wait};

/// While tasks keep the loop busy and ask for nothing, the kernel is looked at only every so many turns.
const QUIET_TURNS_MAX: u32 = 7;

impl Runtime {
    /// Does not wait when `done` says, after the tasks ran, that there is nothing to wait for any more.
    pub(super) fn turn(&self, done: impl Fn() -> bool) -> io::Result<()> {
        self.run_ready(&done);
        let entered = self.submit_and_wait(done())?;
        if entered {
            self.port.collect();
        }
        self.fire_timers();
        Ok(())
    }

    /// Runs the tasks that are ready. One landing for the panics of all of them: a try block for each would cost as much
    /// as a poll.
    #[inline]
    fn run_ready(&self, done: &impl Fn() -> bool) {
        let (mut left, mut running) = (None, None);
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run_turns(&mut left, &mut running, done))) {
            match running.take() {
                Some(task) => {
                    self.debug.leave_step();
                    task.fail(payload);
                    self.end(&task, Ending::Panic);
                }
                None => resume_unwind(payload),
            }
        }
    }

    /// Runs exactly the tasks that are ready now; those they wake run in the next turn (S2). As long as that is all there
    /// is to a turn, some turns follow at once. A panic leaves in `left` how many tasks of the turn are still to run, and
    /// in `running` the task whose it is.
    #[inline]
    fn run_turns(&self, left: &mut Option<usize>, running: &mut Option<TaskRef>, done: &impl Fn() -> bool) {
        for _ in 0..=QUIET_TURNS_MAX {
            let mut count = left.take().unwrap_or_else(|| {
                self.inbox.empty();
                if self.inspected.get() {
                    inspect::note_steps(self);
                }
                self.ready_in_order()
            });
            while count > 0
                && let Some(task) = self.ready.pop()
            {
                count -= 1;
                *left = Some(count);
                self.run_task(task, running);
            }
            *left = None;
            if done() || !self.is_quiet() {
                return;
            }
        }
    }

    #[inline]
    fn run_task(&self, task: TaskRef, running: &mut Option<TaskRef>) {
        if let Some(world) = self.port.calls().world() {
            world.note_task(self.number_of(&task));
        }
        self.budget.set(BUDGET);
        let task = running.insert(task);
        let began = self.debug.is_timed().then(|| self.begin_step(task));
        let ended = self.current.during(task, || task.run());
        if let Some(began) = began {
            self.check_step(task, began);
        }
        let task = running.take();
        if let (Some(ending), Some(task)) = (ended, &task) {
            self.end(task, ending);
        }
    }

    /// How many tasks are ready. A simulated world may have its own mind about their order.
    #[inline]
    fn ready_in_order(&self) -> usize {
        if let Some(world) = self.port.calls().world() {
            let mut tasks: VecDeque<TaskRef> = std::iter::from_fn(|| self.ready.pop()).collect();
            world.order_tasks(&mut tasks);
            tasks.into_iter().for_each(|task| self.ready.push(task));
        }
        self.ready.len()
    }

    /// Tasks are ready, and that is all there is to this turn.
    #[inline]
    fn is_quiet(&self) -> bool {
        self.ready.len() > 0 && self.port.is_quiet() && !self.is_timer_due()
    }

    #[inline]
    fn is_timer_due(&self) -> bool {
        let next = self.timers.borrow_mut().next_deadline();
        next.is_some_and(|deadline| deadline <= self.port.clock().now())
    }

    /// True when the kernel may have answered something.
    #[inline]
    fn submit_and_wait(&self, done: bool) -> io::Result<bool> {
        if done || self.ready.len() > 0 {
            return self.port.turn(Wait::Not);
        }
        let doorbell = self.port.doorbell();
        doorbell.falling_asleep();
        let wait = if self.inbox.is_empty() { self.next_wait() } else { Wait::Not };
        let entered = self.port.turn(wait);
        doorbell.awake();
        entered
    }

    /// How long nothing will happen by itself.
    fn next_wait(&self) -> Wait {
        match self.next_due() {
            None => Wait::Forever,
            Some(due) => Wait::AtMost(self.port.clock().now().until(due)),
        }
    }

    #[inline]
    fn next_due(&self) -> Option<Tick> {
        let timer = self.timers.borrow_mut().next_deadline();
        let chore = self.port.next_chore();
        match (timer, chore) {
            (Some(timer), Some(chore)) => Some(timer.min(chore)),
            (one, other) => one.or(other),
        }
    }

    #[inline]
    fn fire_timers(&self) {
        let Some(due) = self.next_due() else { return };
        let now = self.port.clock().now();
        if due > now {
            return;
        }
        self.port.do_chores(now);
        loop {
            let alarm = self.timers.borrow_mut().take_due(now);
            match alarm {
                Some(Alarm::Wake(waiter)) => waiter.wake(),
                Some(Alarm::Expire(scope)) => scope.expire(),
                Some(Alarm::Watch(watch)) => self.look_after(*watch),
                None => return,
            }
        }
    }
}
