//! The mailbox between threads: the words of contract 6, and the loop that sleeps.

use std::{sync::Arc, thread};

use ringio::{
    CancelledError, GetError, Mailbox, MailboxSender, PutError, QueueEmpty, QueueFull, QueueShutDown, TryGetError,
    TryPutError, create_task,
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
