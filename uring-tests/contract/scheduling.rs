//! Contract 1.1: scheduling and time.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::channel::oneshot;
use ringio::{CancelledError, create_task, sleep, sleep_until, yield_now};

use super::{Trace, in_time, on_ring, pairs, turns, until};

/// Counts turns in the background until dropped.
struct Ticker(Rc<Cell<usize>>);

impl Ticker {
    fn start() -> Ticker {
        let ticks = Rc::new(Cell::new(0));
        let counted = ticks.clone();
        create_task(async move {
            while Rc::strong_count(&counted) > 1 {
                counted.set(counted.get() + 1);
                yield_now().await?;
            }
            Ok::<_, CancelledError>(())
        });
        Ticker(ticks)
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

#[test]
fn tasks_start_in_creation_order_once_their_creator_waits() {
    // S1
    on_ring(async || {
        let trace = Trace::default();
        for number in 0..5 {
            let trace = trace.clone();
            create_task(async move {
                trace.add(number);
                yield_now().await?;
                trace.add(format!("{number}b"));
                Ok::<_, CancelledError>(())
            });
        }
        trace.add("creator");
        turns(3).await;
        assert_eq!(trace.take(), "creator 0 1 2 3 4 0b 1b 2b 3b 4b");
    });
}

#[test]
fn woken_task_goes_to_the_tail() {
    // S1: no slot for the last one woken.
    on_ring(async || {
        let trace = Trace::default();
        let (send, receive) = oneshot::channel::<()>();
        let log = trace.clone();
        create_task(async move {
            let _ = receive.await;
            log.add("woken");
        });
        turns(1).await;
        let mut send = Some(send);
        for name in ["waker", "next", "last"] {
            let (log, send) = (trace.clone(), send.take());
            create_task(async move {
                log.add(name);
                drop(send);
            });
        }
        turns(2).await;
        assert_eq!(trace.take(), "waker next last woken");
    });
}

#[test]
fn what_a_turn_schedules_runs_in_the_next() {
    // S2
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        create_task(async move {
            log.add("parent");
            let inner = log.clone();
            create_task(async move { inner.add("child") });
            yield_now().await?;
            log.add("parent2");
            Ok::<_, CancelledError>(())
        });
        for name in ["main", "main2", "main3"] {
            yield_now().await.unwrap();
            trace.add(name);
        }
        assert_eq!(trace.take(), "parent main child parent2 main2 main3");
    });
}

#[test]
fn sleep_of_zero_is_exactly_one_turn() {
    // S2, SL1
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        create_task(async move {
            for number in 0..3 {
                log.add(format!("a{number}"));
                sleep(Duration::ZERO).await?;
            }
            Ok::<_, CancelledError>(())
        });
        let log = trace.clone();
        create_task(async move {
            for number in 0..3 {
                log.add(format!("b{number}"));
                yield_now().await?;
            }
            Ok::<_, CancelledError>(())
        });
        turns(4).await;
        assert_eq!(trace.take(), "a0 b0 a1 b1 a2 b2");
    });
}

#[test]
fn sleep_until_the_past_is_one_turn() {
    // SL1: less than nothing is one turn too.
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let past = Instant::now();
        create_task(async move {
            for number in 0..2 {
                log.add(format!("a{number}"));
                sleep_until(past).await?;
            }
            Ok::<_, CancelledError>(())
        });
        for name in ["m0", "m1"] {
            yield_now().await.unwrap();
            trace.add(name);
        }
        assert_eq!(trace.take(), "a0 m0 a1 m1");
    });
}

#[test]
fn what_is_ready_returns_without_a_switch() {
    // S3: a task that is done, bytes that are buffered, room to write.
    on_ring(async || {
        let ((mut reader, writer), (_far_reader, mut far)) = pairs::streams(1024).await;
        far.write(b"abc").unwrap();
        assert_eq!(reader.readexactly(1).await.unwrap(), "a");
        let done = create_task(async { Ok::<_, CancelledError>(7) });
        until(|| done.done()).await;
        let trace = Trace::default();
        let log = trace.clone();
        create_task(async move { log.add("other") });
        assert_eq!(done.await, Ok(7));
        assert_eq!(reader.read(1).await.unwrap(), "b");
        assert_eq!(reader.readexactly(1).await.unwrap(), "c");
        assert_eq!(reader.read(0).await.unwrap(), "");
        writer.drain().await.unwrap();
        assert_eq!(trace.take(), "");
        turns(1).await;
        assert_eq!(trace.take(), "other");
    });
}

#[test]
fn read_loop_over_a_full_buffer_lets_others_run() {
    // S4
    const COUNT: usize = 4096;
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(COUNT).await;
        far.write(&[b'x'; COUNT + 1]).unwrap();
        reader.readexactly(1).await.unwrap();
        let ticker = Ticker::start();
        for _ in 0..COUNT {
            assert_eq!(reader.read(1).await.unwrap(), "x");
        }
        // One turn for 128 reads; some more while bytes are still on their way, but by far not one for each.
        let ticks = ticker.count();
        assert!((COUNT / 128 - 1..COUNT / 128 + 16).contains(&ticks), "{ticks} turns");
    });
}

#[test]
fn write_and_drain_under_the_mark_let_others_run() {
    // S4
    on_ring(async || {
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(1024).await;
        let ticker = Ticker::start();
        for _ in 0..1280 {
            far.write(b"x").unwrap();
            far.drain().await.unwrap();
        }
        let ticks = ticker.count();
        assert!((9..=12).contains(&ticks), "{ticks} turns");
        assert_eq!(reader.readexactly(1280).await.unwrap().len(), 1280);
    });
}

#[test]
fn timers_fire_in_order_and_never_early() {
    // S5
    on_ring(async || {
        let trace = Trace::default();
        let start = Instant::now();
        let tasks: Vec<_> = [9u64, 3, 6]
            .into_iter()
            .map(|delay| {
                let log = trace.clone();
                create_task(async move {
                    sleep(Duration::from_millis(delay)).await?;
                    assert!(start.elapsed() >= Duration::from_millis(delay), "early");
                    log.add(delay);
                    Ok::<_, CancelledError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(trace.take(), "3 6 9");
    });
}

#[test]
fn equal_deadlines_fire_in_the_order_they_were_made() {
    // S5
    on_ring(async || {
        let trace = Trace::default();
        let deadline = Instant::now() + Duration::from_millis(5);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let log = trace.clone();
                create_task(async move {
                    sleep_until(deadline).await?;
                    log.add(number);
                    Ok::<_, CancelledError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let expected: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
        assert_eq!(trace.take(), expected.join(" "));
    });
}

#[test]
fn endless_and_tiny_delays_are_fine() {
    // SL1: huge durations saturate.
    on_ring(async || {
        sleep(Duration::from_nanos(1)).await.unwrap();
        let task = create_task(sleep(Duration::MAX));
        turns(2).await;
        assert!(!task.done());
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
    });
}

#[test]
fn cancel_of_a_task_of_another_runtime_stays_with_that_runtime() {
    // S6: two Runners used in turn on one thread.
    in_time(|| {
        let mut one = ringio::Runner::new().unwrap();
        let mut other = ringio::Runner::new().unwrap();
        let trace = Trace::default();
        let log = trace.clone();
        let (task,) = one.run(async {
            let task = create_task(async move {
                let ended = super::forever().await;
                log.add(ringio::current_task().map_or("nobody".into(), |task| task.name().to_string()));
                ended
            });
            task.set_name("mine");
            turns(1).await;
            (task,)
        });
        other.run(async {
            assert!(task.cancel());
            turns(3).await;
        });
        assert_eq!(trace.take(), "", "it ran in a runtime that it does not belong to");
        assert!(!task.done());
        assert_eq!(one.run(task), Err(CancelledError));
        assert_eq!(trace.take(), "mine");
    });
}

#[test]
fn task_of_another_runtime_wakes_its_awaiter_at_home() {
    // S6: it ends while its own runtime runs; whoever awaits it belongs to the other one.
    in_time(|| {
        let mut one = ringio::Runner::new().unwrap();
        let mut other = ringio::Runner::new().unwrap();
        let (task,) = one.run(async {
            let task = create_task(async {
                turns(2).await;
                Ok::<_, CancelledError>("value")
            });
            (task,)
        });
        let trace = Trace::default();
        let log = trace.clone();
        let (awaiter,) = other.run(async {
            let awaiter = create_task(async move {
                let value = task.await?;
                log.add(ringio::all_tasks().len());
                Ok::<_, CancelledError>(value)
            });
            turns(2).await;
            (awaiter,)
        });
        one.run(turns(5));
        assert_eq!(trace.take(), "", "it ran in a runtime that it does not belong to");
        assert_eq!(other.run(awaiter), Ok("value"));
        assert_eq!(trace.take(), "2");
    });
}
