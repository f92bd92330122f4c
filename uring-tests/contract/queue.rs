//! Contract 6: Queue, PriorityQueue, LifoQueue.

use std::{rc::Rc, time::Duration};

use futures::StreamExt;
use ringio::{
    CancelledError, GetError, LifoQueue, PriorityQueue, PutError, Queue, QueueEmpty, QueueFull, QueueShutDown, Task,
    TryGetError, TryPutError, create_task, wait_for,
};

use super::{Trace, on_ring, turns};
use crate::support::PATIENCE;

fn getter(queue: &Queue<u32>, trace: &Trace, name: &'static str) -> Task<u32, GetError> {
    let (queue, trace) = (queue.clone(), trace.clone());
    create_task(async move {
        let got = queue.get().await?;
        trace.add(format!("{name}{got}"));
        Ok(got)
    })
}

/// What came of a put, as text.
fn putter(queue: &Queue<u32>, item: u32) -> Task<String, CancelledError> {
    let queue = queue.clone();
    create_task(async move {
        Ok(match queue.put(item).await {
            Ok(()) => "put".into(),
            Err(PutError::ShutDown(QueueShutDown(item))) => format!("shut down {item}"),
            Err(PutError::Cancelled(item)) => format!("cancelled {item}"),
            Err(PutError::Timeout(item)) => format!("too late {item}"),
        })
    })
}

#[test]
fn sizes_are_exact() {
    // Q1
    on_ring(async || {
        let queue = Queue::new(2);
        assert!(queue.empty() && !queue.full() && queue.maxsize() == 2);
        queue.put(1).await.unwrap();
        assert!(!queue.empty() && !queue.full() && queue.qsize() == 1);
        queue.put(2).await.unwrap();
        assert!(queue.full());
        let endless = Queue::unbounded();
        for number in 0..1000 {
            endless.put_nowait(number).unwrap();
        }
        assert!(!endless.full() && endless.maxsize() == 0 && endless.qsize() == 1000);
        assert!(!Queue::<u32>::new(usize::MAX).full());
    });
}

#[test]
fn each_queue_has_its_order() {
    // Q2; Q10: equal priorities in the order they came.
    on_ring(async || {
        let (fifo, smallest, lifo) = (Queue::new(0), PriorityQueue::new(0), LifoQueue::new(0));
        for item in [3, 1, 2] {
            fifo.put_nowait(item).unwrap();
            smallest.put_nowait(item).unwrap();
            lifo.put_nowait(item).unwrap();
        }
        for (one, two, three) in [(3, 1, 2), (1, 2, 1), (2, 3, 3)] {
            let got = (fifo.get_nowait(), smallest.get_nowait(), lifo.get_nowait());
            assert_eq!(got, (Ok(one), Ok(two), Ok(three)));
        }
        #[derive(Debug)]
        struct Equal(u32);
        impl PartialEq for Equal {
            fn eq(&self, _: &Equal) -> bool {
                true
            }
        }
        impl Eq for Equal {}
        impl PartialOrd for Equal {
            fn partial_cmp(&self, other: &Equal) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for Equal {
            fn cmp(&self, _: &Equal) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal
            }
        }
        let stable = PriorityQueue::new(0);
        (0..100).for_each(|number| stable.put_nowait(Equal(number)).unwrap());
        for number in 0..100 {
            assert_eq!(stable.get_nowait().unwrap().0, number);
        }
    });
}

#[test]
fn put_waits_for_room_and_get_for_an_item() {
    // Q3
    on_ring(async || {
        let (queue, trace) = (Queue::new(1), Trace::default());
        let get = getter(&queue, &trace, "g");
        turns(1).await;
        assert!(!get.done());
        queue.put_nowait(1).unwrap();
        assert_eq!(get.await, Ok(1));
        queue.put_nowait(2).unwrap();
        assert_eq!(queue.put_nowait(3), Err(TryPutError::Full(QueueFull(3))));
        let put = putter(&queue, 4);
        turns(2).await;
        assert!(!put.done());
        assert_eq!(queue.get_nowait(), Ok(2));
        assert_eq!(put.await.unwrap(), "put");
        assert_eq!(queue.get_nowait(), Ok(4));
        assert_eq!(queue.get_nowait(), Err(TryGetError::Empty(QueueEmpty)));
    });
}

#[test]
fn item_is_handed_to_the_oldest_getter() {
    // Q6, flaw 7: a newcomer cannot take it.
    on_ring(async || {
        let (queue, trace) = (Queue::new(0), Trace::default());
        let tasks = ["a", "b", "c"].map(|name| getter(&queue, &trace, name));
        turns(1).await;
        queue.put_nowait(1).unwrap();
        assert!(queue.empty() && queue.get_nowait().is_err(), "it is on its way");
        let late = getter(&queue, &trace, "late");
        for item in 2..=4 {
            queue.put_nowait(item).unwrap();
        }
        for (task, item) in tasks.into_iter().chain([late]).zip(1..) {
            assert_eq!(task.await, Ok(item));
        }
    });
}

#[test]
fn cancelled_getter_loses_and_duplicates_nothing() {
    // Q4: before and after the item was handed to it. Q6: it is the next one again. Flaw 7.
    on_ring(async || {
        for cancel_first in [true, false] {
            let (queue, trace) = (Queue::new(0), Trace::default());
            let task = getter(&queue, &trace, "a");
            turns(1).await;
            if cancel_first {
                task.cancel();
                queue.put_nowait(1).unwrap();
                assert_eq!(queue.qsize(), 1, "nobody is in line any more");
            } else {
                queue.put_nowait(1).unwrap();
                task.cancel();
            }
            queue.put_nowait(2).unwrap();
            assert_eq!(task.await, Err(GetError::Cancelled(CancelledError)));
            assert_eq!((queue.get().await, queue.get().await), (Ok(1), Ok(2)));
            assert_eq!(queue.statistics().unfinished, 2, "Q7");
        }
    });
}

#[test]
fn given_back_item_has_its_old_priority() {
    // Q6
    on_ring(async || {
        let queue = PriorityQueue::new(0);
        let get = queue.clone();
        let task = create_task(async move { get.get().await });
        turns(1).await;
        queue.put_nowait((1, "first")).unwrap();
        task.cancel();
        queue.put_nowait((1, "second")).unwrap();
        queue.put_nowait((0, "zeroth")).unwrap();
        assert!(task.await.is_err());
        let got: Vec<_> = (0..3).map(|_| queue.get_nowait().unwrap().1).collect();
        assert_eq!(got, ["zeroth", "first", "second"]);
    });
}

#[test]
fn cancelled_putter_gets_its_item_back() {
    // Q4, Q10: unless it has entered the queue; q::test_put_cancelled_race
    on_ring(async || {
        let queue = Queue::new(1);
        let (a, b, x) = (putter(&queue, 1), putter(&queue, 2), putter(&queue, 9));
        turns(1).await;
        assert!(a.done() && !b.done());
        x.cancel();
        assert_eq!(x.await.unwrap(), "cancelled 9");
        assert_eq!(queue.get_nowait(), Ok(1));
        b.cancel();
        assert_eq!(b.await.unwrap(), "put", "it was in the queue already");
        assert_eq!(queue.get_nowait(), Ok(2));
        assert_eq!(queue.statistics().putting, 0);
    });
}

#[test]
fn put_that_runs_out_of_time_gives_its_item_back() {
    // Q4, Q10, WF1
    on_ring(async || {
        let queue = Queue::new(1);
        let put = async |item: u32, millis| wait_for(queue.put(item), Duration::from_millis(millis)).await;
        assert_eq!(put(1, 0).await, Ok(()), "there was room");
        for millis in [0, 2] {
            assert_eq!(put(2, millis).await, Err(PutError::Timeout(2)));
            assert_eq!(queue.statistics().putting, 0);
        }
        assert_eq!(queue.get_nowait(), Ok(1));
        assert_eq!(queue.get_nowait(), Err(TryGetError::Empty(QueueEmpty)), "what came back is not in the queue, too");

        queue.put_nowait(3).unwrap();
        let late = {
            let queue = queue.clone();
            create_task(async move {
                let back = wait_for(queue.put(4), PATIENCE).await.unwrap_err();
                Ok::<_, CancelledError>((matches!(back, PutError::Cancelled(_)), back.into_item()))
            })
        };
        turns(1).await;
        late.cancel();
        assert_eq!(late.await, Ok((true, 4)), "the cancel was somebody else's");
        queue.shutdown(false);
        assert_eq!(put(5, 1000).await, Err(PutError::ShutDown(QueueShutDown(5))));
    });
}

#[test]
fn mixed_load_leaves_nobody_stuck() {
    // Q5
    on_ring(async || {
        let queue = Queue::new(2);
        let puts: Vec<_> = (0..50).map(|item| putter(&queue, item)).collect();
        let gets: Vec<_> = (0..50).map(|_| getter(&queue, &Trace::default(), "")).collect();
        for task in gets.iter().step_by(7) {
            assert!(task.cancel());
        }
        let mut got = 0;
        for task in gets {
            got += usize::from(task.await.is_ok());
        }
        let rest: Vec<u32> = std::iter::from_fn(|| queue.get_nowait().ok()).collect();
        assert_eq!(got + rest.len(), 50);
        for task in puts {
            assert_eq!(task.await.unwrap(), "put");
        }
    });
}

#[test]
fn join_waits_until_all_is_done() {
    // Q7
    on_ring(async || {
        let queue = Queue::new(0);
        queue.join().await.unwrap();
        assert!(queue.task_done().unwrap_err().to_string().contains("too many times"));
        queue.put_nowait(1).unwrap();
        queue.put_nowait(2).unwrap();
        let joined = queue.clone();
        let join = create_task(async move { joined.join().await });
        queue.get_nowait().unwrap();
        queue.get_nowait().unwrap();
        queue.task_done().unwrap();
        turns(2).await;
        assert!(!join.done());
        queue.task_done().unwrap();
        join.await.unwrap();
        assert!(queue.task_done().is_err());
    });
}

#[test]
fn shutdown_drains_and_then_ends() {
    // Q8
    on_ring(async || {
        let queue = Queue::new(1);
        queue.put_nowait(1).unwrap();
        let put = putter(&queue, 2);
        turns(1).await;
        queue.shutdown(false);
        queue.shutdown(false);
        assert_eq!(put.await.unwrap(), "shut down 2");
        assert_eq!(queue.put_nowait(3), Err(TryPutError::ShutDown(QueueShutDown(3))));
        assert_eq!(queue.put(3).await.unwrap_err().into_item(), 3);
        assert_eq!(queue.get().await, Ok(1));
        assert_eq!(queue.get().await, Err(GetError::ShutDown(QueueShutDown(()))));
        assert_eq!(queue.get_nowait(), Err(TryGetError::ShutDown(QueueShutDown(()))));
        let empty = Queue::new(0);
        let waiting = getter(&empty, &Trace::default(), "");
        turns(1).await;
        empty.shutdown(false);
        assert_eq!(waiting.await, Err(GetError::ShutDown(QueueShutDown(()))));
    });
}

#[test]
fn immediate_shutdown_drops_and_counts_as_done() {
    // Q9; Q8: an upgrade.
    on_ring(async || {
        let (queue, item) = (Queue::new(0), Rc::new(()));
        for _ in 0..3 {
            queue.put_nowait(item.clone()).unwrap();
        }
        let taken = queue.get_nowait().unwrap();
        let joined = queue.clone();
        let join = create_task(async move { joined.join().await });
        queue.shutdown(false);
        queue.shutdown(true);
        assert_eq!((queue.qsize(), Rc::strong_count(&item)), (0, 2));
        turns(2).await;
        assert!(!join.done(), "what was taken still needs its task_done");
        queue.task_done().unwrap();
        join.await.unwrap();
        drop(taken);
    });
}

#[test]
fn items_end_with_the_last_sender() {
    // Q10, flaw 23
    on_ring(async || {
        let queue = Queue::new(1);
        for start in [0, 100] {
            let sender = queue.sender();
            let also = sender.clone();
            create_task(async move {
                for item in start..start + 3 {
                    sender.put(item).await?;
                }
                drop(sender);
                also.put_nowait(start + 50).map_err(ringio::Error::from)
            });
        }
        let mut got: Vec<u32> = Vec::new();
        let mut items = queue.items();
        while let Some(item) = items.next().await {
            got.push(item.unwrap());
        }
        assert!(items.next().await.is_none());
        got.sort_unstable();
        assert!(got.starts_with(&[0, 1, 2]) && got.contains(&102), "{got:?}");
        let queue = Queue::new(0);
        (0..3).for_each(|item| queue.put_nowait(item).unwrap());
        queue.shutdown(false);
        let all: Vec<u32> = queue.items().map(Result::unwrap).collect().await;
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn cancelled_stream_goes_on() {
    // Q4, Q10
    on_ring(async || {
        let queue = Queue::new(0);
        let mut items = queue.items();
        let task = create_task(async move {
            let first = items.next().await;
            let second = items.next().await;
            Ok::<_, CancelledError>((first, second))
        });
        turns(1).await;
        queue.put_nowait(7).unwrap();
        task.cancel();
        assert_eq!(task.await.unwrap(), (Some(Err(CancelledError)), Some(Ok(7))));
    });
}

#[test]
fn ready_queue_switches_no_task_but_not_for_ever() {
    // S3, S4
    on_ring(async || {
        let (queue, trace) = (Queue::new(0), Trace::default());
        let other = trace.clone();
        create_task(async move { other.add("other") });
        for number in 0..60 {
            queue.put(number).await.unwrap();
            queue.get().await.unwrap();
        }
        assert_eq!(trace.take(), "");
        for number in 0..60 {
            queue.put(number).await.unwrap();
            queue.get().await.unwrap();
        }
        assert_eq!(trace.take(), "other");
    });
}

#[test]
fn timeout_around_get_says_so_and_loses_nothing() {
    // Q4: q::test_cancelled_getters_not_being_held_*
    on_ring(async || {
        let queue = Queue::<u32>::new(5);
        for _ in 0..3 {
            let limited = wait_for(queue.get(), Duration::from_millis(1)).await;
            assert!(matches!(limited, Err(GetError::Timeout(_))), "{limited:?}");
        }
        assert_eq!(queue.statistics().getting, 0);
        queue.put_nowait(1).unwrap();
        assert_eq!(wait_for(queue.get(), Duration::from_secs(60)).await, Ok(1));
    });
}

#[test]
fn errors_of_queues_end_tasks_as_cancelled() {
    // C8, C16: also in a box.
    on_ring(async || {
        let queue = Queue::<u32>::new(1);
        queue.put_nowait(1).unwrap();
        let full = queue.clone();
        let task = create_task(async move {
            full.put(2).await?;
            Ok::<_, Box<dyn std::error::Error>>(())
        });
        turns(1).await;
        task.cancel();
        turns(2).await;
        assert!(task.cancelled());
        assert!(task.await.is_err());
    });
}

#[test]
fn queue_shows_its_state() {
    // Q11
    on_ring(async || {
        let queue = Queue::<u32>::new(1);
        assert_eq!(format!("{queue:?}"), "<Queue maxsize=1>");
        let get = getter(&queue, &Trace::default(), "");
        turns(1).await;
        assert_eq!(format!("{queue:?}"), "<Queue maxsize=1 _getters[1]>");
        queue.put_nowait(1).unwrap();
        get.await.unwrap();
        queue.put_nowait(2).unwrap();
        let put = putter(&queue, 3);
        turns(1).await;
        assert_eq!(format!("{queue:?}"), "<Queue maxsize=1 _queue=[2] _putters[1] tasks=2>");
        queue.shutdown(true);
        put.await.unwrap();
        assert_eq!(format!("{queue:?}"), "<Queue maxsize=1 tasks=1 shutdown>");
        assert_eq!(format!("{:?}", LifoQueue::<u32>::new(0)), "<LifoQueue maxsize=0>");
    });
}
