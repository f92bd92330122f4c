//! Timers of one runtime, soonest first; equal deadlines in the order they were made (S5). A heap of four branches, in
//! which a cancelled timer stays behind as an entry that names nothing any more: it goes when it comes to the top, or with
//! all others of its kind when they are the greater part. So cancelling costs a few steps, whatever the order.
//!
//! - H1 An entry is live while its place has its number. No number is used twice.
//! - H2 `dead` counts the others. There are never many more of them than of those that live.

use std::{
    num::NonZeroU64,
    ops::Range,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Waiter, debug::Watch};
use crate::{clock::Tick, scope::Scope};

pub(crate) struct Timers {
    heap: Vec<Entry>,
    places: Vec<Place>,
    vacant: Vec<u32>,
    /// The next number, and the end of those that were taken for this runtime.
    numbers: Range<u64>,
    dead: usize,
    /// The one at the top may be dead.
    is_top_doubtful: bool,
}

/// What happens when the time has come.
pub(crate) enum Alarm {
    Wake(Waiter),
    Expire(Rc<Scope>),
    Watch(Box<Watch>),
}

/// Names a timer until it has fired or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    number: NonZeroU64,
    place: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The deadline, and behind it the number: one comparison for both.
    key: u128,
    place: u32,
}

struct Place {
    /// Zero when it is vacant.
    number: u64,
    alarm: Option<Alarm>,
}

const BRANCHES: usize = 4;

/// So many dead entries are left alone.
const DEAD_MIN: usize = 64;

/// No two timers of the process have the same number, so that a key says nothing to another runtime, which takes so many at
/// a time.
static NUMBERS: AtomicU64 = AtomicU64::new(1);
const NUMBERS_TAKEN: u64 = 1024;

impl Default for Timers {
    fn default() -> Timers {
        let (heap, places, vacant) = (Vec::new(), Vec::new(), Vec::new());
        Timers { heap, places, vacant, numbers: 0..0, dead: 0, is_top_doubtful: false }
    }
}

impl Timers {
    pub(crate) fn insert(&mut self, deadline: Tick, alarm: Alarm) -> TimerKey {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place { number: 0, alarm: None });
            u32::try_from(self.places.len() - 1).expect("more than four billion timers")
        });
        let number = self.next_number();
        self.places[place as usize] = Place { number: number.get(), alarm: Some(alarm) };
        self.heap.push(Entry::new(deadline, number.get(), place));
        if self.heap.len() > 1 {
            self.rise();
        }
        TimerKey { number, place }
    }

    fn next_number(&mut self) -> NonZeroU64 {
        let number = self.numbers.next().unwrap_or_else(|| {
            let first = NUMBERS.fetch_add(NUMBERS_TAKEN, Ordering::Relaxed);
            self.numbers = first + 1..first + NUMBERS_TAKEN;
            first
        });
        NonZeroU64::new(number).expect("they begin at one")
    }

    /// Takes a timer out; its alarm comes back to be dropped where nothing is borrowed. `None` when it has fired.
    #[must_use]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Alarm> {
        if !self.contains(key) {
            return None;
        }
        let alarm = self.vacate(key.place);
        let names_it = |entry: &Entry| entry.number() == key.number.get();
        if self.heap.last().is_some_and(names_it) {
            self.heap.pop();
            return alarm;
        }
        self.is_top_doubtful |= self.heap.first().is_some_and(names_it);
        self.dead += 1;
        if self.dead > DEAD_MIN && self.dead > self.heap.len() / 2 {
            self.bury();
        }
        alarm
    }

    pub(crate) fn contains(&self, key: TimerKey) -> bool {
        let place = self.places.get(key.place as usize);
        place.is_some_and(|place| place.number == key.number.get())
    }

    pub(crate) fn alarm_mut(&mut self, key: TimerKey) -> Option<&mut Alarm> {
        if !self.contains(key) {
            return None;
        }
        self.places[key.place as usize].alarm.as_mut()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Tick, &Alarm)> {
        let live = self.heap.iter().filter(|entry| is_live(&self.places, entry));
        live.filter_map(|entry| Some((entry.deadline(), self.places[entry.place as usize].alarm.as_ref()?)))
    }

    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<Tick> {
        if self.is_top_doubtful {
            self.clear_top();
        }
        self.heap.first().map(Entry::deadline)
    }

    /// The soonest timer, if it is due.
    pub(crate) fn take_due(&mut self, now: Tick) -> Option<Alarm> {
        if self.next_deadline()? > now {
            return None;
        }
        let entry = self.pop()?;
        self.is_top_doubtful = self.dead > 0;
        self.vacate(entry.place)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Alarm> {
        self.heap.clear();
        self.dead = 0;
        self.is_top_doubtful = false;
        self.vacant.clear();
        self.places.drain(..).filter_map(|place| place.alarm).collect()
    }

    /// The alarm of a place, which is free for another timer then; the entry that names it is dead (H1).
    fn vacate(&mut self, place: u32) -> Option<Alarm> {
        let at = &mut self.places[place as usize];
        at.number = 0;
        self.vacant.push(place);
        at.alarm.take()
    }

    /// Pops until the one at the top is live.
    #[cold]
    fn clear_top(&mut self) {
        self.is_top_doubtful = false;
        if self.dead > self.heap.len() / 2 {
            return self.bury();
        }
        while let Some(first) = self.heap.first()
            && !is_live(&self.places, first)
        {
            self.pop();
            self.dead -= 1;
        }
    }

    /// Drops all dead entries, and puts the others in order again.
    #[cold]
    fn bury(&mut self) {
        self.heap.retain(|entry| is_live(&self.places, entry));
        (self.dead, self.is_top_doubtful) = (0, false);
        for index in (0..self.heap.len().div_ceil(BRANCHES)).rev() {
            self.sink(index);
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let last = self.heap.pop()?;
        let Some(first) = self.heap.first_mut() else { return Some(last) };
        let first = std::mem::replace(first, last);
        self.sink(0);
        Some(first)
    }

    /// Moves the last entry to where it belongs.
    fn rise(&mut self) {
        let mut index = self.heap.len() - 1;
        let entry = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / BRANCHES;
            if self.heap[parent].key <= entry.key {
                break;
            }
            self.heap[index] = self.heap[parent];
            index = parent;
        }
        self.heap[index] = entry;
    }

    /// Moves an entry towards the leaves, to where it belongs.
    fn sink(&mut self, mut index: usize) {
        let heap = &mut self.heap[..];
        let entry = heap[index];
        loop {
            let first = index * BRANCHES + 1;
            let (least, key) = match heap.get(first..first + BRANCHES) {
                Some(&[a, b, c, d]) => {
                    // In pairs, without a branch: which of them comes first cannot be foretold.
                    let left = if b.key < a.key { (1, b.key) } else { (0, a.key) };
                    let right = if d.key < c.key { (3, d.key) } else { (2, c.key) };
                    if right.1 < left.1 { right } else { left }
                }
                _ => {
                    let some = heap.get(first..).unwrap_or_default();
                    let Some(least) = (0..some.len()).min_by_key(|&child| some[child].key) else { break };
                    (least, some[least].key)
                }
            };
            if entry.key <= key {
                break;
            }
            heap[index] = heap[first + least];
            index = first + least;
        }
        heap[index] = entry;
    }
}

/// H1
fn is_live(places: &[Place], entry: &Entry) -> bool {
    places[entry.place as usize].number == entry.number()
}

impl Entry {
    fn new(deadline: Tick, number: u64, place: u32) -> Entry {
        Entry { key: u128::from(deadline.as_nanoseconds()) << 64 | u128::from(number), place }
    }

    fn deadline(&self) -> Tick {
        Tick::from_nanoseconds((self.key >> 64) as u64)
    }

    fn number(&self) -> u64 {
        self.key as u64
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use super::*;
    use crate::clock::Clock;

    fn alarm() -> Alarm {
        Alarm::Wake(Waiter::Foreign(Waker::noop().clone()))
    }

    #[test]
    fn a_random_history_agrees_with_a_sorted_list() {
        let origin = Clock::start().now();
        let mut timers = Timers::default();
        let mut list: Vec<(Tick, u64, TimerKey)> = Vec::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..if cfg!(miri) { 200 } else { 4000u64 } {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let choice = random >> 33;
            if choice % 5 < 3 || list.is_empty() {
                let deadline = origin.after(Duration::from_nanos(choice % 97));
                list.push((deadline, number, timers.insert(deadline, alarm())));
            } else if choice % 5 == 3 {
                let (_, _, key) = list.swap_remove(choice as usize % list.len());
                assert!(timers.remove(key).is_some());
                assert!(timers.remove(key).is_none() && !timers.contains(key));
            } else {
                let first = list.iter().min_by_key(|(deadline, number, _)| (*deadline, *number)).copied().unwrap();
                assert_eq!(timers.next_deadline(), Some(first.0));
                assert!(timers.take_due(first.0).is_some());
                assert!(!timers.contains(first.2), "equal deadlines fire in the order they were made (S5)");
                list.retain(|entry| entry.2 != first.2);
            }
            assert_eq!(timers.each().count(), list.len());
            assert_eq!(timers.heap.len(), list.len() + timers.dead);
            assert!(timers.dead <= DEAD_MIN.max(timers.heap.len() / 2));
            let least = list.iter().map(|(deadline, ..)| *deadline).min();
            if number % 3 == 0 {
                assert_eq!(timers.next_deadline(), least);
            }
        }
    }

    #[test]
    fn a_timer_never_fires_early() {
        let mut timers = Timers::default();
        let now = Clock::start().now();
        for nanos in [2, 1, 3] {
            timers.insert(now.after(Duration::from_nanos(nanos)), alarm());
            assert!(timers.take_due(now).is_none());
        }
    }
}
