//! Contract 5: as_completed.

use std::{io, time::Duration};

use futures::{StreamExt, future::join_all};
use ringio::{CancelledError, Error, Task, all_tasks, as_completed, create_task};

use super::{forever, is_cancel, on_ring, turns, until};

async fn after(count: usize) -> io::Result<usize> {
    turns(count).await;
    Ok(count)
}

#[test]
fn tasks_come_as_they_were_given_and_done() {
    // AC1
    on_ring(async || {
        let tasks = [7, 1, 4].map(|count| create_task(after(count)));
        let known = tasks.each_ref().map(Task::to_any);
        let mut completed = as_completed(tasks);
        let mut order = Vec::new();
        while let Some(task) = completed.next().await {
            let task = task.unwrap();
            assert!(task.done() && known.contains(&task.to_any()));
            order.push(task.await.unwrap());
        }
        assert_eq!(order, [1, 4, 7]);
        assert!(completed.next().await.is_none());
    });
}

#[test]
fn futures_of_the_plain_form_become_the_next_results() {
    // AC1: one after the other, in reverse, and all at once.
    on_ring(async || {
        let mut results = Vec::new();
        for next in as_completed([5, 1, 3].map(after)) {
            results.push(next.await.unwrap());
        }
        assert_eq!(results, [1, 3, 5]);
        let mut nexts: Vec<_> = as_completed([5, 1, 3].map(after)).into_iter().collect();
        results.clear();
        while let Some(next) = nexts.pop() {
            results.push(next.await.unwrap());
        }
        assert_eq!(results, [1, 3, 5]);
        let mut results = join_all(as_completed([5, 1, 3].map(after))).await;
        results.sort_by_key(|result| *result.as_ref().unwrap());
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 3, 5]);
    });
}

#[test]
fn stream_gives_the_same() {
    // AC1
    on_ring(async || {
        let completed = as_completed([3, 1, 2].map(after)).then(async |task| task.unwrap().await.unwrap());
        assert_eq!(completed.collect::<Vec<_>>().await, [1, 2, 3]);
    });
}

#[test]
fn nothing_ends_at_once() {
    // AC2
    on_ring(async || {
        let nothing: [std::future::Ready<io::Result<u8>>; 0] = [];
        assert!(as_completed(nothing).next().await.is_none());
        let nothing: [std::future::Ready<io::Result<u8>>; 0] = [];
        assert_eq!(as_completed(nothing).into_iter().count(), 0);
    });
}

#[test]
fn iteration_may_be_left_and_taken_up_again() {
    // AC2, AC3: leaving lets the tasks run on.
    on_ring(async || {
        let mut completed = as_completed([1, 2, 3].map(after));
        assert_eq!(completed.next().await.unwrap().unwrap().await.unwrap(), 1);
        turns(9).await;
        assert_eq!(completed.len(), 2);
        assert_eq!(completed.next().await.unwrap().unwrap().await.unwrap(), 2);
        let task = create_task(after(6));
        let known = task.to_any();
        drop(as_completed([task]));
        until(|| known.done()).await;
        assert!(!known.cancelled());
    });
}

#[test]
fn timeout_is_said_once_and_the_tasks_run_on() {
    // AC3
    on_ring(async || {
        let task = create_task(async { forever().await.map(|()| 0).map_err(io::Error::from) });
        let known = task.to_any();
        let tasks = [task, create_task(after(1))];
        let mut completed = as_completed(tasks).timeout(Duration::from_millis(3));
        assert_eq!(completed.next().await.unwrap().unwrap().await.unwrap(), 1);
        assert!(matches!(completed.next().await, Some(Err(Error::Timeout(_)))));
        assert!(completed.next().await.is_none());
        assert!(!known.done() && known.cancelling() == 0);
        completed.cancel_rest(); // AC4
        until(|| known.done()).await;
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn timeout_of_the_plain_form_is_raised_by_each_that_is_left() {
    // AC3: and an unused one does nothing.
    on_ring(async || {
        let never = || async { forever().await.map(|()| 0).map_err(io::Error::from) };
        let tasks = [create_task(never()), create_task(after(1)), create_task(never())];
        let mut kinds = Vec::new();
        for next in as_completed(tasks).timeout(Duration::from_millis(3)) {
            kinds.push(next.await.map_err(|error| error.kind()));
        }
        let timed_out = Err(io::ErrorKind::TimedOut);
        assert_eq!(kinds, [Ok(1), timed_out, timed_out]);
        for next in as_completed([1, 2].map(after)).timeout(Duration::from_secs(3600)) {
            next.await.unwrap();
        }
    });
}

#[test]
fn order_is_that_of_their_ends() {
    // AC4: also of those that ended before anybody looked.
    on_ring(async || {
        let mut completed = as_completed([6, 2, 4, 2].map(after));
        turns(12).await;
        let mut order = Vec::new();
        while let Some(task) = completed.next().await {
            order.push(task.unwrap().await.unwrap());
        }
        assert_eq!(order, [2, 2, 4, 6]);
    });
}

#[test]
fn cancelled_wait_loses_no_task() {
    // 1.5: wait / as_completed are not passed on.
    on_ring(async || {
        let (send, receive) = futures::channel::oneshot::channel();
        let inner = create_task(async move { Ok::<u8, CancelledError>(receive.await.unwrap()) });
        let waiter = create_task(async move {
            let mut completed = as_completed([inner]);
            let first = completed.next().await;
            let second = completed.next().await;
            Ok::<_, Error>((matches!(first, Some(Err(Error::Cancelled(_)))), second.unwrap()?.await))
        });
        turns(2).await;
        send.send(4).unwrap();
        turns(1).await; // it has ended, and who waits for it is woken
        waiter.cancel();
        assert_eq!(waiter.await.unwrap(), (true, Ok(4)));
        let next = create_task(async { as_completed([after(50)]).into_iter().next().unwrap().await });
        turns(2).await;
        next.cancel();
        assert!(is_cancel(&next.await.unwrap_err()));
    });
}
