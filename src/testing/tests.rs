//! Programs of tasks in a simulated kernel, small enough for Miri: it sees every byte of a task that is used too late, or
//! never freed, whichever way the task ends.

use std::{
    cell::Cell,
    future::pending,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use super::{Faults, Sim, turns};
use crate::{
    error::CancelledError,
    executor::{Runner, context},
    sync::{Lock, Queue},
    task::{
        ContextVar, TaskGroup, TaskStatus, as_completed, cancellable, create_task, gather, shield, sleep, timeout,
        wait, yield_now,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Some orders of the tasks that are ready.
fn in_some_orders(main: impl AsyncFn()) {
    for seed in 0..3 {
        Sim::new(seed).faults(Faults::empty()).shuffle_tasks().run(main());
    }
}

/// Counts itself as long as it lives.
struct Alive(Rc<Cell<i32>>);

impl Alive {
    fn new(count: &Rc<Cell<i32>>) -> Alive {
        count.set(count.get() + 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Sleeps, then ends with the number; odd ones with an error when that is wanted.
async fn child(number: u64, odd_fail: bool, alive: Alive) -> io::Result<Box<u64>> {
    let _alive = alive;
    sleep(SECOND * (number as u32 % 3)).await?;
    if odd_fail && number % 2 == 1 { Err(io::Error::other("odd")) } else { Ok(Box::new(number)) }
}

#[test]
fn gathered_children_end_in_every_way() {
    in_some_orders(async || {
        let alive = Rc::new(Cell::new(0));
        let children = |odd_fail| (0..6).map(|n| child(n, odd_fail, Alive::new(&alive))).collect::<Vec<_>>();
        let values = gather(children(false)).await.unwrap();
        assert_eq!(values.into_iter().map(|value| *value).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        gather(children(true)).await.unwrap_err();
        gather(children(true)).cancel_on_error().await.unwrap_err();
        assert_eq!(gather(children(true)).return_exceptions().await.unwrap().iter().filter(|r| r.is_ok()).count(), 3);
        // Dropped: before the first poll, while it waits, and cancelled.
        drop(gather(children(false)));
        let waiting = create_task(gather(children(false)));
        turns(2).await.unwrap();
        waiting.cancel();
        waiting.await.unwrap_err();
        let mut completed = as_completed(children(true));
        let first = completed.next().await.unwrap().unwrap();
        assert!(first.done());
        drop((first, completed));
        for next in as_completed(children(false)).into_iter().take(3) {
            next.await.unwrap();
        }
        sleep(SECOND * 5).await.unwrap();
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn panics_of_children_go_to_who_waits() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("in a destructor");
        }
    }
    async fn panics(in_destructor: bool) -> Result<u32, CancelledError> {
        yield_now().await?;
        if !in_destructor {
            std::panic::panic_any("in a step");
        }
        let _bomb = Bomb;
        yield_now().await?;
        Ok(1)
    }
    for in_destructor in [false, true] {
        let caught = |main: &dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            let mut runner = Sim::new(0).faults(Faults::empty());
            runner = runner.runner(|builder| builder.error_handler(|_| ()));
            catch_unwind(AssertUnwindSafe(|| runner.run(main()))).is_err()
        };
        assert!(caught(&move || Box::pin(async move { drop(gather([panics(in_destructor)]).await) })));
        assert!(caught(&move || {
            Box::pin(async move {
                let mut completed = as_completed([panics(in_destructor)]);
                let _ = completed.next().await.unwrap().unwrap().await;
            })
        }));
        assert!(caught(&move || {
            Box::pin(async move {
                let scope = TaskGroup::scope(async |group| {
                    let started = group.start(move |status: TaskStatus<()>| async move {
                        let _status = status;
                        panics(in_destructor).await
                    });
                    started.await.map(|_| ()).map_err(|_| CancelledError)
                });
                drop(scope.await);
            })
        }));
    }
}

#[test]
fn values_of_a_context_and_callbacks_may_panic() {
    static VALUE: ContextVar<Panics> = ContextVar::new("value");
    #[derive(Clone)]
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::panic_any("a value of a context");
        }
    }
    let reports = Rc::new(Cell::new(0));
    let counted = reports.clone();
    let sim = Sim::new(0).faults(Faults::empty()).runner(|builder: crate::executor::RunnerBuilder| {
        builder.error_handler(move |_| counted.set(counted.get() + 1))
    });
    sim.run(async {
        let task = create_task(async {
            VALUE.set(Panics);
            yield_now().await
        });
        task.add_done_callback(|_| std::panic::panic_any("a callback"));
        let done = task.wait_done();
        done.await.unwrap();
        turns(2).await.unwrap();
        drop(task);
        yield_now().await.unwrap();
    });
    assert_eq!(reports.get(), 2, "one each; the loop lives");
}

#[test]
fn limits_shields_and_waits_end_in_every_way() {
    in_some_orders(async || {
        let slow = || sleep(SECOND * 10);
        let timed_out = timeout(SECOND, async |limit| {
            let kept = limit.clone();
            slow().await?;
            drop(kept);
            io::Result::Ok(())
        });
        timed_out.await.unwrap_err();
        let mut left = None;
        let quick = timeout(SECOND, async |limit| {
            left = Some(limit.clone());
            io::Result::Ok(yield_now().await?)
        });
        quick.await.unwrap();
        // Its scope is not used again as long as somebody has it.
        timeout(SECOND, async |_| io::Result::Ok(yield_now().await?)).await.unwrap();
        assert!(left.is_some_and(|limit| !limit.expired() && limit.reschedule(None).is_err()));
        let shielded = create_task(shield(slow()));
        turns(2).await.unwrap();
        shielded.cancel();
        shielded.await.unwrap_err();
        let (one, two) = (create_task(slow()), create_task(yield_now()));
        let waited = wait([&one, &two]).timeout(SECOND).await.unwrap();
        assert_eq!((waited.done.len(), waited.pending.len()), (1, 1));
        one.cancel();
        one.await.unwrap_err();
    });
}

#[test]
fn runtime_that_closes_drops_what_was_waited_for() {
    // Two on one thread: a wait that outlives its runtime goes while another one runs.
    let mut kept = None;
    let mut one = Runner::builder().simulated(crate::driver::World::new(0, Faults::empty())).build().unwrap();
    one.run(async {
        let mut waiting = Box::pin(gather([sleep(SECOND), sleep(SECOND)]));
        assert!(futures::poll!(&mut waiting).is_pending());
        kept = Some(waiting);
    });
    drop(one);
    Sim::new(1).faults(Faults::empty()).run(async {
        let other = create_task(gather([sleep(SECOND)]));
        yield_now().await.unwrap();
        drop(kept);
        other.await.unwrap();
    });
}

#[test]
fn what_is_waited_for_is_known_as_long_as_it_is() {
    // A note of one runtime goes while another one runs, which has one at the same place.
    let mut kept = None;
    let mut one = Runner::builder().simulated(crate::driver::World::new(0, Faults::empty())).build().unwrap();
    one.run(async {
        let mut waiting = Box::pin(cancellable(pending::<()>()));
        assert!(futures::poll!(&mut waiting).is_pending());
        kept = Some(waiting);
    });
    drop(one);
    let said = |text: &str| context::with(|runtime| runtime.dump()).matches(text).count();
    Sim::new(1).faults(Faults::empty()).run(async {
        let (lock, queue) = (Lock::new(), Queue::<String>::unbounded());
        let (guard, contended) = (lock.acquire().await.unwrap(), lock.clone());
        let waits = create_task(async move { contended.acquire().await.map(drop) });
        let gets = create_task(async move { queue.get().await.map(drop) });
        let foreign = create_task(cancellable(pending::<()>()));
        yield_now().await.unwrap();
        drop(kept);
        assert_eq!(said("waits for Lock.acquire (made at src/testing/tests.rs:"), 1);
        assert_eq!((said("waits for Queue.get (made"), said("waits for cancellable")), (1, 1));
        drop(guard);
        waits.await.unwrap();
        gets.cancel();
        foreign.cancel();
        assert!(gets.await.is_err() && foreign.await.is_err());
        drop(lock);
        assert_eq!(said("acquire") + said("get") + said("cancellable"), 0);
    });
}
