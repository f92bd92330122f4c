//! Hands that somebody else moves: the time of a simulation.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::{Clock, Tick};

/// Where a clock stands, in nanoseconds since its origin; none for the clock of the machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Hands(Option<Rc<Cell<u64>>>);

impl Hands {
    pub(super) fn read(&self) -> Option<u64> {
        self.0.as_ref().map(|hands| hands.get())
    }
}

impl Clock {
    /// A clock that stands still until it is moved; its clones move with it.
    pub(crate) fn manual() -> Clock {
        Clock { hands: Hands(Some(Rc::default())), ..Clock::start() }
    }

    /// Moves a manual clock. Time never goes back.
    pub(crate) fn move_to(&self, tick: Tick) {
        if let Some(hands) = &self.hands.0 {
            hands.set(tick.0.max(hands.get()));
        }
    }
}

impl Tick {
    pub(crate) fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}
