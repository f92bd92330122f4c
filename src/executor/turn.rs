//! One turn of the loop, in its one order: run what is ready, submit and wait in one system call, bring completions to
//! whom they are for, fire timers. Nothing runs inside the last three.

use std::io;

use super::{Alarm, Runtime, runtime::BUDGET};
use crate::{clock::Tick, driver::Wait};

/// While tasks keep the loop busy and ask for nothing, the kernel is looked at only every so many turns.
const QUIET_TURNS_MAX: u32 = 7;

impl Runtime {
    /// Does not wait when `done` says, after the tasks ran, that there is nothing to wait for any more.
    pub(super) fn turn(&self, done: impl Fn() -> bool) -> io::Result<()> {
        self.inbox.empty();
        self.run_ready();
        for _ in 0..QUIET_TURNS_MAX {
            if done() || !self.is_quiet() {
                break;
            }
            self.inbox.empty();
            self.run_ready();
        }
        let entered = self.submit_and_wait(done())?;
        if entered {
            self.port.collect();
        }
        self.fire_timers();
        Ok(())
    }

    /// Tasks are ready, and that is all there is to this turn.
    #[inline]
    fn is_quiet(&self) -> bool {
        !self.ready.borrow().is_empty() && self.port.is_quiet() && self.timers.borrow().next_deadline().is_none()
    }

    /// Runs exactly the tasks that are ready now; those they wake run in the next turn (S2).
    #[inline]
    fn run_ready(&self) {
        let count = self.ready.borrow().len();
        for _ in 0..count {
            let Some(task) = self.ready.borrow_mut().pop_front() else { break };
            self.budget.set(BUDGET);
            self.current.replace(Some(task));
            let ended = {
                // The task is in `current` while it runs, so that no reference has to be counted for it.
                let current = self.current.borrow();
                current.as_ref().map(|task| task.run())
            };
            let task = self.current.take();
            if let (Some(task), Some(Some(ending))) = (&task, ended) {
                self.end(task, ending);
            }
            drop(task);
        }
    }

    /// True when the kernel may have answered something.
    #[inline]
    fn submit_and_wait(&self, done: bool) -> io::Result<bool> {
        if done || !self.ready.borrow().is_empty() {
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
        let timer = self.timers.borrow().next_deadline();
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
                None => return,
            }
        }
    }
}
