//! Random trees of tasks, groups and timeouts around waits of every kind, cancelled at a random moment: everything ends soon, and
//! nothing is left of it.

use std::{cell::Cell, future::Future, io, pin::Pin, rc::Rc, time::Duration};

use ringio::{Descriptor, TaskGroup, all_tasks, cancelled, create_task, internals, sleep, testing, timeout};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

type Node = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A wait, or something around other nodes.
fn node(mut rng: Rng, depth: usize, pipe: Rc<Descriptor>) -> Node {
    let branch = |rng: &mut Rng| node(Rng::of(rng.next()), depth.saturating_sub(1), pipe.clone());
    match if depth == 0 { rng.below(3) } else { 3 + rng.below(5) } {
        0 => Box::pin(async move { Ok(sleep(rng.micros(20_000)).await?) }),
        1 => Box::pin(async move { pipe.read(vec![0; 8]).await.0.map(drop) }),
        2 => Box::pin(async move { pipe.readable().await }),
        3 => {
            let (limit, inner) = (rng.micros(10_000), branch(&mut rng));
            Box::pin(async move { soften(timeout(limit, async |_| inner.await).await) })
        }
        4 => {
            let (one, two) = (branch(&mut rng), branch(&mut rng));
            Box::pin(async move {
                let (one, two) = futures::join!(one, two);
                one.and(two)
            })
        }
        5 => {
            let inner = branch(&mut rng);
            Box::pin(async move {
                let mut task = create_task(inner);
                let result = (&mut task).await;
                // A cancel that came in the turn of its end has left the task's own error behind (C10).
                let _ = task.exception();
                result
            })
        }
        6 => {
            let members: Vec<_> = (0..rng.below(4)).map(|_| branch(&mut rng)).collect();
            let (own, fails) = (branch(&mut rng), rng.below(4) == 0);
            Box::pin(async move { group(members, own, fails).await })
        }
        _ => {
            let (first, clean_up) = (branch(&mut rng), rng.micros(1000));
            Box::pin(async move {
                let result = first.await;
                sleep(clean_up).await?;
                result
            })
        }
    }
}

/// A group whose body waits too, and now and then fails, so that its members are cancelled.
async fn group(members: Vec<Node>, own: Node, fails: bool) -> io::Result<()> {
    let (count, ended) = (members.len(), Rc::new(Cell::new(0)));
    let members: Vec<_> = members.into_iter().map(|member| (Guard(ended.clone()), member)).collect();
    let result = TaskGroup::scope(async |group| {
        for (guard, member) in members {
            group.create_task(async move {
                let _guard = guard;
                member.await
            });
        }
        own.await?;
        if fails { Err(io::Error::other(FAILED)) } else { Ok(()) }
    })
    .await;
    assert_eq!(ended.get(), count, "a member outlives its group");
    // To hide an error would hide the cancel that came with it from whoever awaits this task (C12).
    Ok(result?)
}

const FAILED: &str = "the body of a group fails";

/// Counts what has ended.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A timeout inside of the tree is no failure of it.
fn soften(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
        other => other,
    }
}

/// Cancels that are not heard are repeated after 1, 10 and 100 ms; the clean-ups of a tree take some milliseconds; and a
/// clock that jumps only brings the end nearer, except for the jump itself.
const SOON: Duration = Duration::from_secs(60);

fn workload(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        for _ in 0..run.some_steps().min(10) {
            let (reader, writer) = testing::pipe().expect("a descriptor is free");
            let depth = 1 + rng.below(5);
            let tree = create_task(node(Rng::of(rng.next()), depth, Rc::new(reader)));
            sleep(rng.micros(15_000)).await.expect("nobody cancels the main task");
            let cancelled_at = testing::elapsed();
            let asked = tree.cancel();
            match tree.await {
                Ok(()) => {}
                Err(error) if error.to_string().contains(FAILED) => {}
                Err(error) => assert!(asked && cancelled(&error).is_some(), "{error}"),
            }
            assert!(testing::elapsed() - cancelled_at < SOON, "a cancelled tree takes {:?}", testing::elapsed());
            assert_eq!(all_tasks().len(), 1, "a task outlives whoever waited for it");
            drop(writer);
            sleep(Duration::from_secs(1)).await.expect("nobody cancels the main task");
            assert_eq!(internals::counts().operations, 0, "an operation outlives its tree");
        }
    });
}

#[test]
fn a_cancelled_tree_ends_and_leaves_nothing() {
    // A read that was told to come back, beside a wait that took the cancel for both.
    gauntlet(
        "a_cancelled_tree_ends_and_leaves_nothing",
        &[1_795_377_418_128_966_315, 1_795_394_135_196_424_395],
        workload,
    );
}
