//! Where instants come from. Nothing else in the crate reads a clock, so that the simulated kernel can give its own.

#[cfg(feature = "testing")]
mod hands;
#[cfg(not(feature = "testing"))]
#[path = "clock/no_hands.rs"]
mod hands;

use std::time::{Duration, Instant};

use hands::Hands;
use nix::time::{ClockId, clock_gettime};

/// The clock of one runtime: monotonic, and counted in nanoseconds since the runtime began.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    /// The same instant, or one shortly after it, as the system counts.
    origin_ns: u64,
    hands: Hands,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let read = || {
            // In this order: a clock that is behind by a moment lets no timer fire early.
            let before_ns = monotonic_ns();
            let origin = Instant::now();
            let origin_ns = monotonic_ns();
            (origin_ns - before_ns, origin, origin_ns)
        };
        // The shortest moment of some: somebody else may have had the processor in between.
        let readings = (0..READINGS).map(|_| read());
        let (_, origin, origin_ns) = readings.min_by_key(|reading| reading.0).expect("there are some");
        Clock { origin, origin_ns, hands: Hands::default() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Tick {
        match self.hands.read() {
            Some(nanoseconds) => Tick(nanoseconds),
            // As a difference of `Instant`s it takes twice the time.
            None => Tick(monotonic_ns() - self.origin_ns),
        }
    }

    /// Instants before the origin count as the origin: both are past.
    pub(crate) fn tick(&self, instant: Instant) -> Tick {
        let tick = Tick(nanoseconds(instant.saturating_duration_since(self.origin)));
        // What has come already has come by this clock, too.
        if self.hands.read().is_none() && instant <= Instant::now() { tick.min(self.now()) } else { tick }
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_nanos(tick.0)
    }
}

/// How often the two clocks are read at the start, to be compared.
const READINGS: usize = 8;

/// A point in time of one runtime. The largest is "never" (584 years on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    /// Huge durations saturate instead of wrapping into the past.
    pub(crate) fn after(self, delay: Duration) -> Tick {
        Tick(self.0.saturating_add(nanoseconds(delay)))
    }

    pub(crate) fn from_nanoseconds(nanoseconds: u64) -> Tick {
        Tick(nanoseconds)
    }

    pub(crate) fn as_nanoseconds(self) -> u64 {
        self.0
    }

    pub(crate) fn until(self, later: Tick) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

/// The clock that [`Instant`] reads, too.
#[inline]
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// How long ago that was, for threads without a runtime.
pub(crate) fn since(instant: Instant) -> Duration {
    instant.elapsed()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_past_though_the_clocks_were_read_apart() {
        let mut clock = Clock::start();
        let apart = Duration::from_millis(10);
        clock.origin_ns += nanoseconds(apart);
        while clock.origin.elapsed() < 2 * apart {}
        let now = Instant::now();
        assert!(clock.tick(now) <= clock.now());
        let hour = now + Duration::from_secs(3600);
        assert!(clock.tick(hour) > clock.now(), "what has not come yet is not");
    }

    #[test]
    fn huge_delay_saturates_instead_of_firing_at_once() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now.after(Duration::MAX) > now.after(Duration::from_secs(1 << 33)));
        assert_eq!(clock.tick(clock.instant(now)), now);
    }
}
