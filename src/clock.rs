//! Where instants come from. Nothing else in the crate reads a clock, so that the simulated kernel can give its own.

#[cfg(feature = "testing")]
mod hands;
#[cfg(not(feature = "testing"))]
#[path = "clock/no_hands.rs"]
mod hands;

use std::time::{Duration, Instant};

use hands::Hands;

/// The clock of one runtime: monotonic, and counted in nanoseconds since the runtime began.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    hands: Hands,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now(), hands: Hands::default() }
    }

    pub(crate) fn now(&self) -> Tick {
        match self.hands.read() {
            Some(nanoseconds) => Tick(nanoseconds),
            None => self.tick(Instant::now()),
        }
    }

    /// Instants before the origin count as the origin: both are past.
    pub(crate) fn tick(&self, instant: Instant) -> Tick {
        Tick(nanoseconds(instant.saturating_duration_since(self.origin)))
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_nanos(tick.0)
    }
}

/// A point in time of one runtime. The largest is "never" (584 years on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    /// Huge durations saturate instead of wrapping into the past.
    pub(crate) fn after(self, delay: Duration) -> Tick {
        Tick(self.0.saturating_add(nanoseconds(delay)))
    }

    pub(crate) fn until(self, later: Tick) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_delay_saturates_instead_of_firing_at_once() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now.after(Duration::MAX) > now.after(Duration::from_secs(1 << 33)));
        assert_eq!(clock.tick(clock.instant(now)), now);
    }
}
