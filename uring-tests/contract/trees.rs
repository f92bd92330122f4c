//! Random programs: trees of groups, timeouts, shields, gathers and sleeps, with random cancels, on virtual time and with
//! ready tasks in any order. No task outlives its scope, no cancel is lost, none comes twice, counts are as they were, and
//! it always ends.
//!
//! `RINGIO_SEED` gives the first seed, `RINGIO_TREES` how many (2,000 in a test run).

use std::{cell::Cell, env, future::Future, io, pin::Pin, rc::Rc, time::Duration};

use ringio::{
    CancelledError, Runner, TaskGroup, all_tasks, create_task, current_task, gather, shield, shielded, sleep,
    testing::{Faults, Sim},
    wait_for, yield_now,
};

use super::{cancel::me, in_time, is_cancel};
use crate::support::{Rng, seed};

/// A program. Times in microseconds.
#[derive(Debug, Clone)]
enum Node {
    Sleep(u64),
    Yield,
    Fail(u64),
    /// Swallows what comes out of the inner one, unless it is a cancel.
    Attempt(Box<Node>),
    Timeout(u64, Box<Node>),
    Group(Vec<Node>, Box<Node>),
    Gather(Vec<Node>),
    Shield(Box<Node>),
    Shielded(Box<Node>),
    Both(Box<Node>, Box<Node>),
}

/// With `fails`, it may end with an error of its own: what is gathered or shielded may not, because the error of a task
/// that is awaited wins over the cancel that was handed down to it (C12).
fn draw(rng: &mut Rng, depth: usize, fails: bool) -> Node {
    let time = |rng: &mut Rng| rng.below(60) as u64;
    if depth == 0 {
        return match rng.below(if fails { 8 } else { 7 }) {
            0..=4 => Node::Sleep(time(rng)),
            5 | 6 => Node::Yield,
            _ => Node::Fail(time(rng)),
        };
    }
    let inner = |rng: &mut Rng, fails| Box::new(draw(rng, depth - 1, fails));
    let many = |rng: &mut Rng, fails| (0..rng.below(4)).map(|_| draw(rng, depth - 1, fails)).collect::<Vec<_>>();
    match rng.below(9) {
        0 => draw(rng, 0, fails),
        1 => Node::Attempt(inner(rng, fails)),
        2 | 3 => Node::Timeout(time(rng), inner(rng, fails)),
        4 | 5 => Node::Group(many(rng, fails), inner(rng, fails)),
        6 => Node::Gather(many(rng, false)),
        7 if rng.below(2) == 0 => Node::Shield(inner(rng, false)),
        7 => Node::Shielded(inner(rng, false)),
        // Side by side, errors of a group in one branch make a cancel come again that the other one hands on (TG6).
        _ => Node::Both(inner(rng, false), inner(rng, false)),
    }
}

type Running = Pin<Box<dyn Future<Output = io::Result<()>>>>;

fn run(node: Node) -> Running {
    Box::pin(async move {
        let before = me().cancelling();
        let own = me();
        let ended = step(node).await;
        assert_eq!(own, me(), "a node ends in the task it began in");
        assert!(me().cancelling() >= before, "somebody took a cancel back");
        ended
    })
}

async fn step(node: Node) -> io::Result<()> {
    match node {
        Node::Sleep(time) => Ok(sleep(Duration::from_micros(time)).await?),
        Node::Yield => Ok(yield_now().await?),
        Node::Fail(time) => {
            sleep(Duration::from_micros(time)).await?;
            Err(io::Error::other("fail"))
        }
        Node::Attempt(inner) => match run(*inner).await {
            Err(error) if is_cancel(&error) => Err(error),
            _ => Ok(()),
        },
        Node::Timeout(time, inner) => match wait_for(run(*inner), Duration::from_micros(time)).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            ended => ended,
        },
        Node::Group(children, body) => {
            let alive = Rc::new(Cell::new(0_usize));
            let count = alive.clone();
            let ended = TaskGroup::scope(async move |group| {
                for child in children {
                    let guard = Alive::new(&count);
                    group.create_task(async move {
                        let _guard = guard;
                        run(child).await
                    });
                }
                run(*body).await
            });
            let ended = ended.await;
            assert_eq!(alive.get(), 0, "a child outlives its group");
            Ok(ended?)
        }
        Node::Gather(children) => {
            let alive = Rc::new(Cell::new(0_usize));
            let children = children.into_iter().map(|child| {
                let guard = Alive::new(&alive);
                async move {
                    let _guard = guard;
                    run(child).await
                }
            });
            let ended = gather(children).await;
            assert_eq!(alive.get(), 0, "a child outlives its gather");
            ended.map(|_| ())
        }
        Node::Shield(inner) => shield(run(*inner)).await,
        Node::Shielded(inner) => shielded(run(*inner), Duration::from_secs(3600)).await,
        Node::Both(one, two) => {
            let (one, two) = futures::join!(run(*one), run(*two));
            // A cancel ends both: that is what has to come out.
            match (one, two) {
                (Err(error), other) | (other, Err(error)) if is_cancel(&error) || other.is_ok() => Err(error),
                (one, _) => one,
            }
        }
    }
}

struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Alive {
        count.set(count.get() + 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a program did with the cancels it got.
struct Seen {
    ended: io::Result<()>,
    next: Result<(), CancelledError>,
    after: Result<(), CancelledError>,
}

async fn one(node: Node, cancels: Vec<u64>) -> (Seen, usize) {
    let over = Rc::new(Cell::new(false));
    let mark = over.clone();
    let task = create_task(async move {
        let ended = run(node).await;
        let next = yield_now().await;
        mark.set(true); // what comes from here on need not be seen
        let after = yield_now().await;
        Ok::<_, CancelledError>(Seen { ended, next, after })
    });
    let mut sent = 0;
    for time in cancels {
        sleep(Duration::from_micros(time)).await.unwrap();
        if !over.get() && task.cancel() {
            sent += 1;
        }
    }
    let any = task.to_any();
    let seen = task.await.unwrap();
    assert_eq!(any.cancelling() as usize, sent, "the count is what was asked for");
    (seen, sent)
}

fn check(node: &Node, seen: &Seen, sent: usize) {
    let cancelled = seen.ended.as_ref().is_err_and(is_cancel);
    let got = usize::from(cancelled) + usize::from(seen.next.is_err());
    match sent {
        0 => assert_eq!(got, 0, "nobody cancelled it: {node:?}"),
        1 => assert_eq!(got, 1, "one cancel is seen once: {node:?}"),
        _ => assert!(got >= 1, "cancels are lost: {node:?}"),
    }
    assert!(seen.after.is_ok(), "a cancel comes again: {node:?}");
}

async fn program(rng: &mut Rng) {
    let depth = 1 + rng.below(4);
    let node = draw(rng, depth, true);
    let cancels = (0..rng.below(3)).map(|_| rng.below(80) as u64).collect();
    let (seen, sent) = one(node.clone(), cancels).await;
    check(&node, &seen, sent);
    // What was shielded runs on; it ends by itself.
    let others = || all_tasks().into_iter().filter(|task| Some(task) != current_task().as_ref());
    while let Some(task) = others().next() {
        task.wait_done().await.unwrap();
    }
    assert_eq!(others().count(), 0);
}

#[test]
fn random_trees_keep_their_promises_on_virtual_time() {
    let count: u64 = env::var("RINGIO_TREES").map_or(2000, |text| text.parse().expect("RINGIO_TREES is a number"));
    let first = seed();
    eprintln!("random trees: RINGIO_SEED={first} RINGIO_TREES={count}");
    for seed in (0..count).map(|index| first.wrapping_add(index)) {
        let sim = Sim::new(seed).faults(Faults::empty()).shuffle_tasks().turns_max(1_000_000);
        let sim = sim.runner(|runner| runner.error_handler(|_| ()));
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sim.run(async move { program(&mut Rng::of_seed(seed)).await });
        }));
        if let Err(payload) = ran {
            panic!("RINGIO_SEED={seed} RINGIO_TREES=1: {}", super::text_of(&*payload));
        }
    }
}

#[test]
fn random_trees_keep_their_promises_on_the_ring() {
    in_time(|| {
        let mut rng = Rng::new("random_trees_on_the_ring");
        let mut runner = Runner::builder().error_handler(|_| ()).build().unwrap();
        for _ in 0..300 {
            runner.run(program(&mut rng));
        }
    });
}
