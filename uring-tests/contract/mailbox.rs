//! The mailbox between threads: the words of contract 6, and the loop that sleeps.

use std::{sync::Arc, thread, time::Duration};

use ringio::{
    CancelledError, GetError, Mailbox, MailboxSender, PutError, QueueEmpty, QueueFull, QueueShutDown, TryGetError,
    TryPutError, create_task, wait_for,
};

use super::{in_time, on_ring, turns};

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn items_of_each_sender_come_in_order() {
    // Q2, Q5: bounded and not; the senders are loops of their own.
    for maxsize in [0, 1, 7] {
        in_time(move || {
            let mut mailbox = assert_send(Mailbox::new(maxsize));
            // All are there before the first one can be the last.
            let senders = [(); 3].map(|()| mailbox.sender());
            let threads: Vec<_> = (0..3u64)
                .zip(senders)
                .map(|(number, sender)| {
                    thread::spawn(move || {
                        ringio::run(async move {
                            for item in 0..2000 {
                                sender.put((number, item)).await.unwrap();
                                if item % 97 == 0 {
                                    turns(1).await;
                                }
                            }
                        });
                    })
                })
                .collect();
            let counts = ringio::run(async {
                let mut counts = [0; 3];
                while let Ok((number, item)) = mailbox.get().await {
                    assert_eq!(item, counts[number as usize]);
                    counts[number as usize] += 1;
                }
                counts
            });
            assert_eq!(counts, [2000; 3]);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

#[test]
fn sleeping_loop_is_woken() {
    // To and fro: each side sleeps until the other has put something.
    in_time(|| {
        let (mut here, mut there) = (Mailbox::new(1), Mailbox::new(1));
        let (to_here, to_there) = (here.sender(), there.sender());
        let echo = thread::spawn(move || {
            ringio::run(async move {
                while let Ok(item) = there.get().await {
                    to_here.put(item + 1).await.unwrap();
                }
            });
        });
        ringio::run(async {
            for item in 0..1000 {
                to_there.put(item).await.unwrap();
                assert_eq!(here.get().await, Ok(item + 1));
            }
            drop(to_there);
            assert_eq!(here.get().await, Err(GetError::ShutDown(QueueShutDown(()))), "Q10");
        });
        echo.join().unwrap();
    });
}

#[test]
fn nowait_says_what_is_missing() {
    // Q1, Q3
    on_ring(async || {
        let mut mailbox = Mailbox::new(1);
        let sender = mailbox.sender();
        assert_eq!(mailbox.get_nowait(), Err(TryGetError::Empty(QueueEmpty)));
        sender.put_nowait(1).unwrap();
        assert_eq!(sender.put_nowait(2), Err(TryPutError::Full(QueueFull(2))));
        assert!(mailbox.full() && mailbox.qsize() == 1 && mailbox.maxsize() == 1 && sender.maxsize() == 1);
        assert_eq!(mailbox.get_nowait(), Ok(1));
        assert!(mailbox.empty());
        let endless = Mailbox::unbounded();
        let into = endless.sender();
        (0..100).for_each(|item| into.put_nowait(item).unwrap());
        assert!(!endless.full() && endless.qsize() == 100);
    });
}

fn putter(sender: &MailboxSender<u32>, item: u32) -> ringio::Task<String, CancelledError> {
    let sender = sender.clone();
    create_task(async move {
        Ok(match sender.put(item).await {
            Ok(()) => "put".into(),
            Err(PutError::ShutDown(QueueShutDown(item))) => format!("shut down {item}"),
            Err(PutError::Cancelled(item)) => format!("cancelled {item}"),
            Err(PutError::Timeout(item)) => format!("too late {item}"),
        })
    })
}

#[test]
fn cancelled_put_gets_its_item_back_and_get_loses_none() {
    // Q4, C10: in both orders.
    on_ring(async || {
        let mut mailbox = Mailbox::new(1);
        let sender = mailbox.sender();
        let tasks = [1, 2, 3].map(|item| putter(&sender, item));
        turns(1).await;
        assert_eq!(mailbox.statistics().putting, 2);
        tasks[1].cancel();
        turns(1).await;
        assert_eq!(mailbox.get().await, Ok(1));
        tasks[2].cancel();
        let ended = [&tasks[0], &tasks[1], &tasks[2]].map(|task| task.done());
        assert_eq!(ended, [true, true, false]);
        for (task, expected) in tasks.into_iter().zip(["put", "cancelled 2", "put"]) {
            assert_eq!(task.await.unwrap(), expected);
        }
        assert_eq!(mailbox.get().await, Ok(3));
        let task = create_task(async move {
            let first = mailbox.get().await;
            let second = mailbox.get().await;
            Ok::<_, CancelledError>((first, second))
        });
        turns(1).await;
        sender.put_nowait(4).unwrap();
        task.cancel();
        assert_eq!(task.await.unwrap(), (Err(GetError::Cancelled(CancelledError)), Ok(4)));
    });
}

#[test]
fn put_that_runs_out_of_time_gives_its_item_back() {
    // Q4, Q10
    on_ring(async || {
        let mut mailbox = Mailbox::new(1);
        let sender = mailbox.sender();
        sender.put_nowait(1).unwrap();
        let put = wait_for(sender.put(2), Duration::from_millis(2)).await;
        assert_eq!(put, Err(PutError::Timeout(2)));
        assert_eq!(mailbox.get().await, Ok(1));
        assert!(mailbox.get_nowait().is_err(), "what came back is not in the mailbox, too");
    });
}

#[test]
fn dropped_put_leaves_nothing_behind() {
    // C15
    on_ring(async || {
        let (mailbox, item) = (Mailbox::new(1), Arc::new(()));
        let sender = mailbox.sender();
        sender.put_nowait(item.clone()).unwrap();
        let mut put = Box::pin(sender.put(item.clone()));
        assert!(futures::poll!(&mut put).is_pending());
        drop(put);
        assert_eq!((mailbox.statistics().putting, Arc::strong_count(&item)), (0, 2));
        drop(mailbox);
        assert_eq!(Arc::strong_count(&item), 1, "Q9: dropped with the mailbox");
        assert_eq!(sender.put_nowait(item.clone()), Err(TryPutError::ShutDown(QueueShutDown(item))));
    });
}

#[test]
fn shutdown_drains_and_then_ends() {
    // Q8, Q9
    on_ring(async || {
        let mut mailbox = Mailbox::new(1);
        let sender = mailbox.sender();
        sender.put_nowait(1).unwrap();
        let waiting = putter(&sender, 2);
        turns(1).await;
        sender.shutdown();
        assert_eq!(waiting.await.unwrap(), "shut down 2");
        assert_eq!(sender.put(3).await.unwrap_err().into_item(), 3);
        assert_eq!(mailbox.get().await, Ok(1));
        assert_eq!(mailbox.get_nowait(), Err(TryGetError::ShutDown(QueueShutDown(()))));
        let mut dropped = Mailbox::new(0);
        dropped.sender().put_nowait(1).unwrap();
        assert_eq!(format!("{dropped:?}"), "<Mailbox maxsize=0 items=1 senders=0 shutdown>");
        dropped.shutdown(true);
        assert!(dropped.empty() && dropped.get_nowait().is_err());
    });
}

#[test]
fn ready_mailbox_lets_others_run_in_time() {
    // S3, S4
    on_ring(async || {
        let (mut mailbox, trace) = (Mailbox::new(0), super::Trace::default());
        let (sender, other) = (mailbox.sender(), trace.clone());
        create_task(async move { other.add("other") });
        for item in 0..60 {
            sender.put(item).await.unwrap();
            mailbox.get().await.unwrap();
        }
        assert_eq!(trace.take(), "");
        for item in 0..60 {
            sender.put(item).await.unwrap();
            mailbox.get().await.unwrap();
        }
        assert_eq!(trace.take(), "other");
    });
}

/// Until as many wait for room.
fn until_putting<T>(mailbox: &Mailbox<T>, count: usize) {
    while mailbox.statistics().putting != count {
        thread::yield_now();
    }
}

#[test]
fn items_of_each_thread_come_in_order() {
    // Q2, Q3, Q5: plain threads, to a loop and to a plain thread, with room for all, for some, and for one.
    for maxsize in [0, 1, 7, 300] {
        for to_a_loop in [true, false] {
            in_time(move || {
                let mut mailbox = Mailbox::new(maxsize);
                let senders = [(); 3].map(|()| mailbox.sender());
                let threads = (0..3u64).zip(senders).map(|(number, sender)| {
                    thread::spawn(move || (0..2000).try_for_each(|item| sender.put_blocking((number, item))))
                });
                let threads: Vec<_> = threads.collect();
                let mut counts = [0; 3];
                let mut count = |(number, item): (u64, u64)| {
                    assert_eq!(item, counts[number as usize]);
                    counts[number as usize] += 1;
                };
                if to_a_loop {
                    ringio::run(async {
                        while let Ok(item) = mailbox.get().await {
                            count(item);
                        }
                    });
                } else {
                    while let Ok(item) = mailbox.get_blocking() {
                        count(item);
                    }
                }
                assert_eq!(counts, [2000; 3]);
                threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
            });
        }
    }
}

#[test]
fn threads_and_tasks_wait_for_room_in_one_line() {
    // Q6
    in_time(|| {
        let mut mailbox = Mailbox::new(1);
        let senders = [(); 3].map(|()| mailbox.sender());
        senders[0].put_nowait(0).unwrap();
        let mut threads = Vec::new();
        for (item, sender) in (1..).zip(senders) {
            threads.push(thread::spawn(move || match item {
                2 => ringio::run(async { sender.put(item).await.is_ok() }),
                _ => sender.put_blocking(item).is_ok(),
            }));
            until_putting(&mailbox, item);
        }
        for item in 0..4 {
            assert_eq!(mailbox.get_blocking(), Ok(item));
            assert_eq!(mailbox.statistics().putting, 3usize.saturating_sub(item + 1), "who makes room lets one in");
        }
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}

#[test]
fn shutdown_wakes_threads_that_wait() {
    // Q8, Q10: with their items; one that waits for an item, too.
    in_time(|| {
        let (mut mailbox, mut empty) = (Mailbox::new(1), Mailbox::<u32>::new(1));
        let sender = mailbox.sender();
        sender.put_nowait(1).unwrap();
        let threads = [2, 3].map(|item| {
            let sender = mailbox.sender();
            thread::spawn(move || sender.put_blocking(item))
        });
        until_putting(&mailbox, 2);
        sender.shutdown();
        for (thread, item) in threads.into_iter().zip(2..) {
            assert_eq!(thread.join().unwrap(), Err(QueueShutDown(item)));
        }
        assert_eq!(sender.put_blocking(4), Err(QueueShutDown(4)));
        assert_eq!((mailbox.get_blocking(), mailbox.get_blocking()), (Ok(1), Err(QueueShutDown(()))));
        let last = empty.sender();
        let getter = thread::spawn(move || empty.get_blocking());
        drop(last);
        assert_eq!(getter.join().unwrap(), Err(QueueShutDown(())));
    });
}

#[test]
fn get_does_not_let_in_who_was_shut_out() {
    // Q8: a put that waits when the mailbox is shut down fails, also when there is room before it runs.
    on_ring(async || {
        let mut mailbox = Mailbox::new(1);
        let sender = mailbox.sender();
        sender.put_nowait(1).unwrap();
        let waiting = putter(&sender, 2);
        turns(1).await;
        sender.shutdown();
        assert_eq!(mailbox.get_nowait(), Ok(1));
        assert_eq!(mailbox.get_nowait(), Err(TryGetError::ShutDown(QueueShutDown(()))));
        assert_eq!(waiting.await.unwrap(), "shut down 2");
    });
}

#[test]
fn item_counts_until_it_was_got() {
    // Q1, Q3: however many the mailbox has fetched at once.
    on_ring(async || {
        let (mut mailbox, item) = (Mailbox::new(3), Arc::new(()));
        let sender = mailbox.sender();
        (0..3).for_each(|_| sender.put_nowait(item.clone()).unwrap());
        for _ in 0..10 {
            assert!(mailbox.full() && sender.put_nowait(item.clone()).is_err());
            mailbox.get().await.unwrap();
            assert_eq!((mailbox.qsize(), sender.statistics().items), (2, 2));
            sender.put_nowait(item.clone()).unwrap();
        }
        let mut put = Box::pin(sender.put(item.clone()));
        assert!(futures::poll!(&mut put).is_pending());
        mailbox.get_nowait().unwrap();
        assert_eq!((mailbox.qsize(), mailbox.statistics().putting), (3, 0));
        assert_eq!(put.await, Ok(()));
        mailbox.shutdown(true);
        assert_eq!((mailbox.qsize(), Arc::strong_count(&item)), (0, 1), "Q9");
        assert!(mailbox.get().await.is_err());
    });
}

#[test]
fn tasks_may_not_block() {
    // X3
    let outcome = std::panic::catch_unwind(|| {
        ringio::run(async {
            let mailbox = Mailbox::new(1);
            mailbox.sender().put_blocking(1)
        })
    });
    let text = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(text, "put_blocking() would block all tasks of this thread; await put() instead");
    let outcome = std::panic::catch_unwind(|| ringio::run(async { Mailbox::<u32>::new(1).get_blocking() }));
    assert!(outcome.unwrap_err().downcast::<String>().unwrap().contains("await get()"));
}
