//! Event: EV1.

use proptest::prelude::*;
use ringio::Event;

use super::{Subject, Wait, check, steps, world::World};

struct Flag {
    real: Event,
    set: bool,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Set,
    Clear,
}

impl Subject for Flag {
    type Op = ();
    type Act = Act;
    type Grant = ();

    fn real_start(&self, (): &()) -> Wait {
        let real = self.real.clone();
        Box::pin(async move { if real.wait().await.is_ok() { "through".into() } else { "cancelled".into() } })
    }

    fn real_act(&self, act: &Act) -> String {
        match act {
            Act::Set => self.real.set(),
            Act::Clear => self.real.clear(),
        }
        String::new()
    }

    fn real_look(&self) -> String {
        format!("{} {}", self.real.is_set(), self.real.statistics().waiting)
    }

    fn act(&mut self, world: &mut World<()>, act: &Act) -> String {
        self.set = matches!(act, Act::Set);
        while self.set && world.grant(0, ()).is_some() {}
        String::new()
    }

    fn look(&self, world: &World<()>) -> String {
        format!("{} {}", self.set, world.count(0))
    }

    fn take(&mut self, _: &mut World<()>, _: usize, (): &()) -> Result<String, usize> {
        if self.set { Ok("through".into()) } else { Err(0) }
    }

    fn redeem(&mut self, _: &mut World<()>, _: usize, (): &(), (): ()) -> String {
        "through".into()
    }

    fn give_back(&mut self, _: &mut World<()>, (): &(), (): ()) {}
}

#[test]
fn event_does_what_its_model_does() {
    // EV1
    let act = prop_oneof![Just(Act::Set), Just(Act::Clear)];
    check("model event", Just(()), steps(Just(()), act), |()| Flag { real: Event::new(), set: false });
}
