//! Queue, PriorityQueue, LifoQueue: Q1-Q9.

use std::ops::Deref;

use proptest::prelude::*;
use ringio::{GetError, LifoQueue, PriorityQueue, PutError, Queue, TryGetError, TryPutError};

use super::{Subject, Wait, check, steps, world::World};

const GETTERS: usize = 0;
const PUTTERS: usize = 1;
const JOINERS: usize = 2;

#[derive(Clone)]
enum Real {
    Fifo(Queue<Item>),
    Smallest(PriorityQueue<Item>),
    Lifo(LifoQueue<Item>),
}

/// Equal ones are told apart by their numbers, which their order does not see.
#[derive(Debug, Clone, Copy)]
struct Item {
    rank: u8,
    number: u32,
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Item) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Item) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Get,
    Put(Item),
    Join,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Get,
    Put(Item),
    TaskDone,
    ShutDown { immediate: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shut {
    No,
    Draining,
    Immediate,
}

#[derive(Clone, Copy)]
enum Grant {
    Item(Item, u64),
    /// Put, or joined.
    Done,
    ShutDown,
}

struct Model {
    real: Real,
    maxsize: usize,
    /// With the number of their coming; the next one first.
    items: Vec<(Item, u64)>,
    came: u64,
    unfinished: usize,
    shut: Shut,
}

/// The same for queues of any order.
macro_rules! each {
    ($real:expr, $queue:ident => $body:expr) => {
        match $real {
            Real::Fifo($queue) => $body,
            Real::Smallest(queue) => {
                let $queue = queue.deref();
                $body
            }
            Real::Lifo(queue) => {
                let $queue = queue.deref();
                $body
            }
        }
    };
}

impl Model {
    fn is_full(&self) -> bool {
        self.maxsize > 0 && self.items.len() >= self.maxsize
    }

    fn store(&mut self, item: Item, number: u64, is_new: bool) {
        let at = match (&self.real, is_new) {
            (Real::Fifo(_), true) => self.items.len(),
            (Real::Smallest(_), _) => {
                self.items.iter().take_while(|other| (other.0.rank, other.1) < (item.rank, number)).count()
            }
            (Real::Fifo(_), false) | (Real::Lifo(_), _) => 0,
        };
        self.items.insert(at, (item, number));
    }

    fn enter(&mut self, world: &mut World<Grant>, item: Item) {
        self.unfinished += 1;
        self.came += 1;
        if world.grant(GETTERS, Grant::Item(item, self.came)).is_none() {
            self.store(item, self.came, true);
        }
    }

    fn next(&mut self, world: &mut World<Grant>, ops: &dyn Fn(usize) -> Item) -> Option<Item> {
        if self.items.is_empty() {
            return None;
        }
        let (item, _) = self.items.remove(0);
        if world.first(PUTTERS).is_some()
            && !self.is_full()
            && let Some(id) = world.grant(PUTTERS, Grant::Done)
        {
            let entering = ops(id);
            self.enter(world, entering);
        }
        Some(item)
    }

    fn finish(&mut self, world: &mut World<Grant>, count: usize) {
        // Some may have been reported before they were got.
        self.unfinished = self.unfinished.saturating_sub(count);
        while self.unfinished == 0 && world.grant(JOINERS, Grant::Done).is_some() {}
    }
}

/// A queue and what its putters hold: the world knows no items.
struct Subject_ {
    model: Model,
    putting: Vec<Option<Item>>,
}

impl Subject_ {
    fn next(&mut self, world: &mut World<Grant>) -> Option<Item> {
        let putting = self.putting.clone();
        self.model.next(world, &|id| putting[id].expect("a putter has an item"))
    }
}

impl Subject for Subject_ {
    type Op = Op;
    type Act = Act;
    type Grant = Grant;

    fn real_start(&self, op: &Op) -> Wait {
        let (real, op) = (self.model.real.clone(), *op);
        Box::pin(async move {
            each!(&real, queue => match op {
                Op::Get => match queue.get().await {
                    Ok(item) => format!("got {}", item.number),
                    Err(GetError::ShutDown(_)) => "shut down".into(),
                    Err(GetError::Cancelled(_) | GetError::Timeout(_)) => "cancelled".into(),
                },
                Op::Put(item) => match queue.put(item).await {
                    Ok(()) => "put".into(),
                    Err(error) => {
                        let text = match error {
                            PutError::ShutDown(_) => "shut down",
                            PutError::Cancelled(_) => "cancelled",
                            PutError::Timeout(_) => "too late",
                        };
                        assert_eq!(error.into_item().number, item.number);
                        text.into()
                    }
                },
                Op::Join => if queue.join().await.is_ok() { "joined".into() } else { "cancelled".into() },
            })
        })
    }

    fn real_act(&self, act: &Act) -> String {
        each!(&self.model.real, queue => match *act {
            Act::Get => match queue.get_nowait() {
                Ok(item) => format!("got {}", item.number),
                Err(TryGetError::Empty(_)) => "empty".into(),
                Err(TryGetError::ShutDown(_)) => "shut down".into(),
            },
            Act::Put(item) => match queue.put_nowait(item) {
                Ok(()) => "put".into(),
                Err(TryPutError::Full(_)) => "full".into(),
                Err(TryPutError::ShutDown(_)) => "shut down".into(),
            },
            Act::TaskDone => queue.task_done().is_ok().to_string(),
            Act::ShutDown { immediate } => {
                queue.shutdown(immediate);
                String::new()
            }
        })
    }

    fn real_look(&self) -> String {
        each!(&self.model.real, queue => {
            let state = queue.statistics();
            format!(
                "{} items, {} {}, {} unfinished, {} get, {} put, {} join, shut {}",
                state.items, queue.empty(), queue.full(), state.unfinished, state.getting, state.putting,
                state.joining, state.shut_down
            )
        })
    }

    fn act(&mut self, world: &mut World<Grant>, act: &Act) -> String {
        match *act {
            Act::Get => match self.next(world) {
                Some(item) => format!("got {}", item.number),
                None if self.model.shut == Shut::No => "empty".into(),
                None => "shut down".into(),
            },
            Act::Put(_) if self.model.shut != Shut::No => "shut down".into(),
            Act::Put(_) if self.model.is_full() => "full".into(),
            Act::Put(item) => {
                self.model.enter(world, item);
                "put".into()
            }
            Act::TaskDone if self.model.unfinished == 0 => "false".into(),
            Act::TaskDone => {
                self.model.finish(world, 1);
                "true".into()
            }
            Act::ShutDown { immediate } => {
                if immediate {
                    self.model.shut = Shut::Immediate;
                    let dropped = std::mem::take(&mut self.model.items).len();
                    self.model.finish(world, dropped);
                } else if self.model.shut == Shut::No {
                    self.model.shut = Shut::Draining;
                }
                while world.grant(GETTERS, Grant::ShutDown).is_some() {}
                while world.grant(PUTTERS, Grant::ShutDown).is_some() {}
                String::new()
            }
        }
    }

    fn look(&self, world: &World<Grant>) -> String {
        let model = &self.model;
        format!(
            "{} items, {} {}, {} unfinished, {} get, {} put, {} join, shut {}",
            model.items.len(),
            model.items.is_empty(),
            model.is_full(),
            model.unfinished,
            world.count(GETTERS),
            world.count(PUTTERS),
            world.count(JOINERS),
            model.shut != Shut::No
        )
    }

    fn take(&mut self, world: &mut World<Grant>, id: usize, op: &Op) -> Result<String, usize> {
        self.putting.resize(self.putting.len().max(id + 1), None);
        match *op {
            Op::Get => match self.next(world) {
                Some(item) => Ok(format!("got {}", item.number)),
                None if self.model.shut == Shut::No => Err(GETTERS),
                None => Ok("shut down".into()),
            },
            Op::Put(_) if self.model.shut != Shut::No => Ok("shut down".into()),
            Op::Put(item) if self.model.is_full() => {
                self.putting[id] = Some(item);
                Err(PUTTERS)
            }
            Op::Put(item) => {
                self.model.enter(world, item);
                Ok("put".into())
            }
            Op::Join if self.model.unfinished == 0 => Ok("joined".into()),
            Op::Join => Err(JOINERS),
        }
    }

    fn redeem(&mut self, _: &mut World<Grant>, _: usize, op: &Op, grant: Grant) -> String {
        match (op, grant) {
            (_, Grant::Item(item, _)) => format!("got {}", item.number),
            (_, Grant::ShutDown) => "shut down".into(),
            (Op::Join, Grant::Done) => "joined".into(),
            (_, Grant::Done) => "put".into(),
        }
    }

    fn give_back(&mut self, world: &mut World<Grant>, _: &Op, grant: Grant) {
        let Grant::Item(item, number) = grant else { return };
        if self.model.shut == Shut::Immediate {
            self.model.finish(world, 1);
        } else if world.grant(GETTERS, Grant::Item(item, number)).is_none() {
            self.model.store(item, number, false);
        }
    }

    fn is_result_first(op: &Op) -> bool {
        matches!(op, Op::Put(_))
    }
}

fn program() -> impl Strategy<Value = Vec<super::Step<Op, Act>>> {
    let item = || (0..3u8, any::<u32>()).prop_map(|(rank, number)| Item { rank, number });
    let op = prop_oneof![4 => Just(Op::Get), 4 => item().prop_map(Op::Put), 1 => Just(Op::Join)];
    let act = prop_oneof![
        8 => Just(Act::Get),
        8 => item().prop_map(Act::Put),
        4 => Just(Act::TaskDone),
        1 => any::<bool>().prop_map(|immediate| Act::ShutDown { immediate }),
    ];
    steps(op, act)
}

fn subject(real: Real, maxsize: usize) -> Subject_ {
    let model = Model { real, maxsize, items: Vec::new(), came: 0, unfinished: 0, shut: Shut::No };
    Subject_ { model, putting: Vec::new() }
}

#[test]
fn queue_does_what_its_model_does() {
    // Q1, Q2, Q3, Q4, Q6, Q7, Q8, Q9
    check("model queue", 0..3usize, program(), |&size| subject(Real::Fifo(Queue::new(size)), size));
}

#[test]
fn priority_queue_does_what_its_model_does() {
    // Q2, Q6, Q10
    check("model priority queue", 0..3usize, program(), |&size| {
        subject(Real::Smallest(PriorityQueue::new(size)), size)
    });
}

#[test]
fn lifo_queue_does_what_its_model_does() {
    // Q2, Q6
    check("model lifo queue", 0..3usize, program(), |&size| subject(Real::Lifo(LifoQueue::new(size)), size));
}
