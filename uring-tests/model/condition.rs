//! Condition: CO1-CO5, CO7.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringio::Condition;

use super::{Subject, Wait, check, steps, world::World};

const LOCK: usize = 0;
const NOTIFY: usize = 1;

/// Waits begin with the lock taken, and end with it held; then it is released at once.
struct Model {
    real: Condition,
    locked: bool,
    /// Waiting for the lock again, by itself; with the cancels remembered.
    retaking: BTreeSet<usize>,
    cancelled: BTreeSet<usize>,
    /// In the wait proper.
    inside: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    TryAcquire,
    Release,
    Notify(usize),
}

impl Model {
    fn release(&mut self, world: &mut World<()>) {
        if self.locked && world.grant(LOCK, ()).is_none() {
            self.locked = false;
        }
    }

    fn wake(&mut self, world: &mut World<()>, count: usize) {
        for _ in 0..count {
            let Some(id) = world.pass_on(NOTIFY, LOCK) else { break };
            world.tasks[id].shielded = true;
        }
        if !self.locked {
            self.locked = true;
            self.release(world);
        }
    }

    fn is_notified(&self, world: &World<()>, id: usize) -> bool {
        world.tasks[id].shielded && !self.retaking.contains(&id)
    }

    /// With the lock, at the end of the wait.
    fn end(&mut self, world: &mut World<()>, id: usize) -> Option<String> {
        let cancelled = self.cancelled.contains(&id);
        if cancelled && self.is_notified(world, id) {
            self.wake(world, 1);
        }
        self.release(world);
        Some(if cancelled { "cancelled".into() } else { "notified".into() })
    }

    fn retake(&mut self, world: &mut World<()>, id: usize) -> Option<String> {
        self.retaking.insert(id);
        world.tasks[id].shielded = true;
        world.renumber(id);
        if !self.locked {
            self.locked = true;
            return self.end(world, id);
        }
        world.join(id, LOCK);
        None
    }

    /// It has the lock: the wait proper begins.
    fn begin(&mut self, world: &mut World<()>, id: usize) -> Option<String> {
        if world.deliver(id) {
            self.release(world);
            return Some("cancelled".into());
        }
        self.inside.insert(id);
        world.renumber(id);
        world.join(id, NOTIFY);
        self.release(world);
        None
    }
}

impl Subject for Model {
    type Op = ();
    type Act = Act;
    type Grant = ();

    const REFUSED: &'static str = "not acquired";

    fn real_start(&self, (): &()) -> Wait {
        let real = self.real.clone();
        Box::pin(async move {
            let Ok(mut guard) = real.acquire().await else { return "not acquired".into() };
            let waited = guard.wait().await;
            if waited.is_ok() { "notified".into() } else { "cancelled".into() }
        })
    }

    fn real_act(&self, act: &Act) -> String {
        match *act {
            Act::TryAcquire => self.real.lock().try_acquire().map(ringio::LockGuard::forget).is_some(),
            Act::Release => self.real.lock().release().is_ok(),
            Act::Notify(count) => self.real.notify(count).is_ok(),
        }
        .to_string()
    }

    fn real_look(&self) -> String {
        let state = self.real.statistics();
        format!("{} {} {}", state.locked, state.waiting, state.waiting_for_lock)
    }

    fn act(&mut self, world: &mut World<()>, act: &Act) -> String {
        let was_locked = self.locked;
        match *act {
            Act::TryAcquire => {
                self.locked = true;
                return (!was_locked).to_string();
            }
            Act::Release if was_locked => self.release(world),
            Act::Notify(count) if was_locked => self.wake(world, count),
            Act::Release | Act::Notify(_) => {}
        }
        was_locked.to_string()
    }

    fn look(&self, world: &World<()>) -> String {
        format!("{} {} {}", self.locked, world.count(NOTIFY), world.count(LOCK))
    }

    fn take(&mut self, world: &mut World<()>, id: usize, (): &()) -> Result<String, usize> {
        if self.locked {
            return Err(LOCK);
        }
        self.locked = true;
        match self.begin(world, id) {
            Some(ended) => Ok(ended),
            None => Err(NOTIFY),
        }
    }

    fn resume(&mut self, world: &mut World<()>, id: usize, (): &()) -> Option<String> {
        if !self.inside.contains(&id) {
            return self.resume_acquire(world, id);
        }
        if world.deliver(id) {
            self.cancelled.insert(id);
        }
        if world.tasks[id].grant.take().is_some() {
            return self.end(world, id);
        }
        if self.cancelled.contains(&id) && !world.tasks[id].shielded {
            world.leave(id);
            return self.retake(world, id);
        }
        if !world.is_in_line(id) {
            world.join(id, NOTIFY);
        }
        None
    }

    fn redeem(&mut self, _: &mut World<()>, _: usize, (): &(), (): ()) -> String {
        unreachable!("resume() does it all")
    }

    fn give_back(&mut self, world: &mut World<()>, (): &(), (): ()) {
        self.release(world);
    }

    fn drop_wait(&mut self, world: &mut World<()>, id: usize, (): &()) {
        let notified = self.inside.contains(&id) && self.is_notified(world, id);
        world.leave(id);
        let got_lock = world.tasks[id].grant.take().is_some();
        if notified {
            self.wake(world, 1);
        }
        if got_lock {
            self.release(world);
        }
    }
}

impl Model {
    fn resume_acquire(&mut self, world: &mut World<()>, id: usize) -> Option<String> {
        let granted = world.tasks[id].grant.take().is_some();
        if world.deliver(id) {
            world.leave(id);
            if granted {
                self.release(world);
            }
            return Some("not acquired".into());
        }
        if granted {
            return self.begin(world, id);
        }
        if world.is_in_line(id) {
            return None;
        }
        if self.locked {
            world.join(id, LOCK);
            return None;
        }
        self.locked = true;
        self.begin(world, id)
    }
}

#[test]
fn condition_does_what_its_model_does() {
    // CO1, CO2, CO3, CO4, CO5, CO7
    let act = prop_oneof![
        2 => Just(Act::TryAcquire),
        3 => Just(Act::Release),
        3 => (0..3usize).prop_map(Act::Notify),
    ];
    check("model condition", Just(()), steps(Just(()), act), |()| Model {
        real: Condition::new(),
        locked: false,
        retaking: BTreeSet::new(),
        cancelled: BTreeSet::new(),
        inside: BTreeSet::new(),
    });
}
