//! Barrier: BA1-BA6.

use proptest::prelude::*;
use ringio::{Barrier, BarrierError};

use super::{Subject, Wait, check, steps, world::World};

const INSIDE: usize = 0;
const BLOCKED: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Reset,
    Abort,
}

/// An index, if it gets through, and whether the round waits for it to leave.
#[derive(Clone, Copy)]
struct Pass(Option<usize>, bool);

struct Gate {
    real: Barrier,
    parties: usize,
    phase: Phase,
    leaving: usize,
    sent_away: bool,
}

impl Gate {
    fn send(&mut self, world: &mut World<Pass>, through: bool) {
        let mut index = 0;
        while world.grant(INSIDE, Pass(through.then_some(index), true)).is_some() {
            index += 1;
            self.leaving += 1;
        }
    }

    fn left(&mut self, world: &mut World<Pass>) {
        if self.leaving > 0 {
            return;
        }
        self.sent_away = false;
        if self.phase == Phase::Broken {
            return;
        }
        self.phase = Phase::Filling;
        while world.count(INSIDE) < self.parties && world.pass_on(BLOCKED, INSIDE).is_some() {}
        if world.count(INSIDE) == self.parties {
            self.phase = Phase::Draining;
            self.send(world, true);
        }
    }

    fn text(index: Option<usize>) -> String {
        index.map_or("broken".into(), |index| index.to_string())
    }
}

impl Subject for Gate {
    type Op = ();
    type Act = Act;
    type Grant = Pass;

    fn real_start(&self, (): &()) -> Wait {
        let real = self.real.clone();
        Box::pin(async move {
            match real.wait().await {
                Ok(index) => index.to_string(),
                Err(BarrierError::Broken(_)) => "broken".into(),
                Err(BarrierError::Cancelled(_) | BarrierError::Timeout(_)) => "cancelled".into(),
            }
        })
    }

    fn real_act(&self, act: &Act) -> String {
        match act {
            Act::Reset => self.real.reset(),
            Act::Abort => self.real.abort(),
        }
        String::new()
    }

    fn real_look(&self) -> String {
        let state = self.real.statistics();
        format!("{} {} {} {}", state.waiting, state.leaving, state.blocked, state.broken)
    }

    fn act(&mut self, world: &mut World<Pass>, act: &Act) -> String {
        match (act, self.phase) {
            (Act::Abort, _) => {
                self.phase = Phase::Broken;
                self.sent_away = true;
                self.send(world, false);
                self.left(world);
                while world.grant(BLOCKED, Pass(None, false)).is_some() {}
            }
            (Act::Reset, Phase::Filling) if world.first(INSIDE).is_none() => {}
            (Act::Reset, Phase::Filling | Phase::Draining) => {
                self.phase = Phase::Resetting;
                self.sent_away = true;
                self.send(world, false);
                self.left(world);
            }
            (Act::Reset, Phase::Resetting) => {}
            (Act::Reset, Phase::Broken) => {
                self.phase = if self.leaving > 0 { Phase::Resetting } else { Phase::Filling };
            }
        }
        String::new()
    }

    fn look(&self, world: &World<Pass>) -> String {
        let broken = self.phase == Phase::Broken;
        format!("{} {} {} {broken}", world.count(INSIDE), self.leaving, world.count(BLOCKED))
    }

    fn take(&mut self, world: &mut World<Pass>, _: usize, (): &()) -> Result<String, usize> {
        match self.phase {
            Phase::Broken => Ok("broken".into()),
            Phase::Draining | Phase::Resetting => Err(BLOCKED),
            Phase::Filling if world.count(INSIDE) + 1 < self.parties => Err(INSIDE),
            Phase::Filling => {
                let index = world.count(INSIDE);
                self.phase = Phase::Draining;
                self.send(world, true);
                self.left(world);
                Ok(index.to_string())
            }
        }
    }

    fn redeem(&mut self, world: &mut World<Pass>, _: usize, (): &(), Pass(index, counted): Pass) -> String {
        let index = index.filter(|_| !self.sent_away);
        self.give_back(world, &(), Pass(index, counted));
        Gate::text(index)
    }

    fn give_back(&mut self, world: &mut World<Pass>, (): &(), Pass(_, counted): Pass) {
        if counted {
            self.leaving -= 1;
            self.left(world);
        }
    }
}

#[test]
fn barrier_does_what_its_model_does() {
    // BA1, BA2, BA3, BA4, BA5, BA6
    let act = prop_oneof![Just(Act::Reset), Just(Act::Abort)];
    check("model barrier", 1..4usize, steps(Just(()), act), |&parties| Gate {
        real: Barrier::new(parties).unwrap(),
        parties,
        phase: Phase::Filling,
        leaving: 0,
        sent_away: false,
    });
}
