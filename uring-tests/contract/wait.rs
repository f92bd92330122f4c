//! Contract 5: wait, and waiting for a task without taking its result.

use std::{io, time::Duration};

use ringio::{AnyTask, CancelledError, Error, ReturnWhen, Task, create_task, wait, wait_for, yield_now};

use super::{cancel::me, forever, on_ring, turns, until};

fn after(count: usize) -> Task<usize, io::Error> {
    create_task(async move {
        turns(count).await;
        io::Result::Ok(count)
    })
}

fn fails(count: usize) -> Task<usize, io::Error> {
    create_task(async move {
        turns(count).await;
        Err(io::Error::other("failed"))
    })
}

fn ids<'a>(tasks: impl IntoIterator<Item = &'a Task<usize, io::Error>>) -> Vec<u64> {
    tasks.into_iter().map(Task::id).collect()
}

#[test]
fn waiting_for_nothing_is_an_error() {
    // WA1
    on_ring(async || {
        let nothing: [AnyTask; 0] = [];
        let Err(Error::Io(error)) = wait(nothing).await else { panic!("no error") };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn duplicates_count_once() {
    // WA1
    on_ring(async || {
        let (one, two) = (after(1), after(2));
        let waited = wait([&two, &one, &two, &one]).await.unwrap();
        assert_eq!(waited.done.iter().map(|task| task.id()).collect::<Vec<_>>(), [two.id(), one.id()]);
        assert!(waited.pending.is_empty());
    });
}

#[test]
fn all_completed_waits_for_all_and_raises_nothing() {
    // WA2: neither errors nor cancels nor panics.
    on_ring(async || {
        let tasks = [after(2), fails(1), after(4)];
        let panics = create_task(super::panics("a panic"));
        tasks[2].cancel();
        let all: Vec<AnyTask> = tasks.iter().map(Task::to_any).chain([panics.to_any()]).collect();
        let waited = wait(all).await.unwrap();
        assert_eq!((waited.done.len(), waited.pending.len()), (4, 0));
        assert!(tasks[1].exception().unwrap().is_some());
        assert!(panics.result().is_err());
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| futures::FutureExt::now_or_never(panics))));
    });
}

#[test]
fn first_completed_returns_with_the_first() {
    // WA2: in input order.
    on_ring(async || {
        let tasks = [after(9), after(2), after(5)];
        let waited = wait(&tasks).return_when(ReturnWhen::FirstCompleted).await.unwrap();
        assert_eq!(ids(waited.done), ids([&tasks[1]]));
        assert_eq!(ids(waited.pending), ids([&tasks[0], &tasks[2]]));
        let waited = wait(tasks).await.unwrap();
        assert_eq!(waited.done.len(), 3);
    });
}

#[test]
fn first_exception_is_an_error_or_a_panic_but_no_cancel() {
    // WA2: none failing means all.
    on_ring(async || {
        let tasks = [after(3), fails(6), after(12)];
        let cancelled = create_task(async { forever().await.map(|()| 0).map_err(io::Error::from) });
        turns(1).await;
        cancelled.cancel();
        let all = tasks.iter().chain([&cancelled]);
        let waited = wait(all).return_when(ReturnWhen::FirstException).await.unwrap();
        assert_eq!(ids(waited.done), ids([&tasks[0], &tasks[1], &cancelled]));
        let waited = wait([&tasks[2]]).return_when(ReturnWhen::FirstException).await.unwrap();
        assert_eq!(waited.done.len(), 1);
        // One that has failed before counts as well.
        let late = after(5);
        let waited = wait([&tasks[1], &late]).return_when(ReturnWhen::FirstException).await.unwrap();
        assert_eq!(ids(waited.pending), ids([&late]));
    });
}

#[test]
fn timeout_is_no_error_and_cancels_nobody() {
    // WA2
    on_ring(async || {
        let tasks = [after(1), create_task(async { forever().await.map(|()| 0).map_err(io::Error::from) })];
        let waited = wait(&tasks).timeout(Duration::from_millis(2)).await.unwrap();
        assert_eq!((ids(waited.done), ids(waited.pending)), (ids([&tasks[0]]), ids([&tasks[1]])));
        assert_eq!(tasks[1].cancelling(), 0);
        let waited = wait([&tasks[1]]).timeout(Duration::ZERO).await.unwrap();
        assert_eq!(waited.pending.len(), 1);
    });
}

#[test]
fn cancelled_wait_leaves_its_tasks_alone() {
    // WA2: tk::test_yield_wait_does_not_shield_cancel
    on_ring(async || {
        let tasks = [after(6), after(7)];
        let known = tasks.each_ref().map(Task::to_any);
        let waiter = create_task(async move { wait(tasks).await.map(|_| ()) });
        turns(2).await;
        waiter.cancel();
        assert!(matches!(waiter.await, Err(Error::Cancelled(CancelledError))));
        assert!(known.iter().all(|task| !task.done() && task.cancelling() == 0));
        until(|| known.iter().all(AnyTask::done)).await;
        assert!(known.iter().all(|task| !task.cancelled()));
    });
}

#[test]
fn everything_that_has_ended_by_the_return_is_done() {
    // WA3: also those of the same turn.
    on_ring(async || {
        let tasks = [after(2), after(2), after(2), after(9)];
        let waited = wait(&tasks).return_when(ReturnWhen::FirstCompleted).await.unwrap();
        assert_eq!((waited.done.len(), waited.pending.len()), (3, 1));
    });
}

#[test]
fn one_turn_passes_even_if_all_are_done() {
    // WA3: so that a cancel finds it.
    on_ring(async || {
        let task = after(0);
        until(|| task.done()).await;
        let mut waiting = std::pin::pin!(wait([&task]));
        assert!(futures::FutureExt::now_or_never(&mut waiting).is_none());
        assert_eq!(waiting.await.unwrap().done.len(), 1);
        me().cancel();
        assert!(matches!(wait([&task]).await, Err(Error::Cancelled(_))));
    });
}

#[test]
fn any_number_may_wait_for_a_task_without_taking_its_result() {
    // C12: wait_done never hands a cancel down.
    on_ring(async || {
        let task = after(5);
        let waiters: Vec<_> = (0..3).map(|_| create_task(task.wait_done())).collect();
        turns(2).await;
        waiters[1].cancel();
        let mut results = Vec::new();
        for waiter in waiters {
            results.push(waiter.await);
        }
        assert_eq!(results, [Ok(()), Err(CancelledError), Ok(())]);
        assert_eq!(task.cancelling(), 0);
        assert_eq!(task.wait_done().await, Ok(()));
        assert_eq!(task.await.unwrap(), 5);
        yield_now().await.unwrap();
        let slow = create_task(forever());
        let limited = wait_for(async { slow.wait_done().await.map_err(io::Error::from) }, Duration::from_millis(1));
        assert_eq!(limited.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(slow.cancelling(), 0);
    });
}
