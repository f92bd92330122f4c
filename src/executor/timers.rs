//! Timers of one runtime, soonest first; equal deadlines in the order they were made (S5). A heap of four branches, each
//! timer knowing its place, so that arming and cancelling move a few entries and allocate nothing.

use std::{
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{TaskRef, Waiter, debug::Watch};
use crate::{clock::Tick, scope::Scope};

pub(crate) struct Timers {
    /// Tells the keys of this runtime from those of others.
    of: u32,
    heap: Vec<Entry>,
    places: Vec<Place>,
    vacant: Vec<u32>,
    made: u64,
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
    of: u32,
    place: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: Tick,
    number: u64,
    place: u32,
}

struct Place {
    generation: u32,
    index: u32,
    alarm: Option<Alarm>,
}

const BRANCHES: usize = 4;

/// How many runtimes there have been.
static RUNTIMES: AtomicU32 = AtomicU32::new(0);

impl Default for Timers {
    fn default() -> Timers {
        let of = RUNTIMES.fetch_add(1, Ordering::Relaxed);
        Timers { of, heap: Vec::new(), places: Vec::new(), vacant: Vec::new(), made: 0 }
    }
}

impl Timers {
    pub(crate) fn insert(&mut self, deadline: Tick, alarm: Alarm) -> TimerKey {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, index: 0, alarm: None });
            u32::try_from(self.places.len() - 1).expect("more than four billion timers")
        });
        self.places[place as usize].alarm = Some(alarm);
        self.made += 1;
        self.heap.push(Entry { deadline, number: self.made, place });
        self.rise(self.heap.len() - 1);
        TimerKey { of: self.of, place, generation: self.places[place as usize].generation }
    }

    /// Takes a timer out; its alarm comes back to be dropped where nothing is borrowed. `None` when it has fired.
    #[must_use]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Alarm> {
        if !self.contains(key) {
            return None;
        }
        let index = self.places[key.place as usize].index as usize;
        self.take_out(index)
    }

    pub(crate) fn contains(&self, key: TimerKey) -> bool {
        let place = self.places.get(key.place as usize);
        self.of == key.of && place.is_some_and(|place| place.generation == key.generation && place.alarm.is_some())
    }

    pub(crate) fn alarm_mut(&mut self, key: TimerKey) -> Option<&mut Alarm> {
        if !self.contains(key) {
            return None;
        }
        self.places[key.place as usize].alarm.as_mut()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Tick, &Alarm)> {
        self.heap.iter().filter_map(|entry| Some((entry.deadline, self.places[entry.place as usize].alarm.as_ref()?)))
    }

    /// When a timer wakes this very task.
    pub(crate) fn deadline_of(&self, task: &TaskRef) -> Option<Tick> {
        let wakes = |entry: &&Entry| {
            let alarm = self.places[entry.place as usize].alarm.as_ref();
            matches!(alarm, Some(Alarm::Wake(Waiter::Task(sleeper))) if sleeper.is(task))
        };
        self.heap.iter().find(wakes).map(|entry| entry.deadline)
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// The soonest timer, if it is due.
    pub(crate) fn take_due(&mut self, now: Tick) -> Option<Alarm> {
        if self.next_deadline()? > now {
            return None;
        }
        self.take_out(0)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Alarm> {
        std::iter::from_fn(|| if self.heap.is_empty() { None } else { self.take_out(self.heap.len() - 1) }).collect()
    }

    fn take_out(&mut self, index: usize) -> Option<Alarm> {
        let entry = self.heap.swap_remove(index);
        if index < self.heap.len() {
            self.sink(index);
            self.rise(index);
        }
        let place = &mut self.places[entry.place as usize];
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(entry.place);
        place.alarm.take()
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / BRANCHES;
            if self.heap[parent].key() <= self.heap[index].key() {
                break;
            }
            self.swap(index, parent);
            index = parent;
        }
        self.settle(index);
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let first = index * BRANCHES + 1;
            let children = first..(first + BRANCHES).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child].key()) else { break };
            if self.heap[index].key() <= self.heap[least].key() {
                break;
            }
            self.swap(index, least);
            index = least;
        }
        self.settle(index);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.settle(a);
    }

    fn settle(&mut self, index: usize) {
        if let Some(entry) = self.heap.get(index) {
            self.places[entry.place as usize].index = index as u32; // fits: as many as places
        }
    }
}

impl Entry {
    fn key(&self) -> (Tick, u64) {
        (self.deadline, self.number)
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
        for number in 0..4000u64 {
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
            assert_eq!(timers.heap.len(), list.len());
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
