//! Contract 5: run_coroutine_threadsafe, and calls from other threads.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use ringio::{
    CancelledError, ContextVar, LoopClosedError, LoopHandle, ReportKind, Runner, ThreadsafeError, all_tasks,
    current_task, run_coroutine_threadsafe, to_thread, yield_now,
};

use super::{Reports, cancel::me, forever, in_time, on_ring, text_of, turns, until};

static NUMBER: ContextVar<u32> = ContextVar::new("number");

/// Runs a loop that stays until `body`, on another thread, has ended.
fn beside<R: Send + 'static>(body: impl FnOnce(LoopHandle) -> R + Send + 'static) -> R {
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let handle = runner.handle();
        runner.run(to_thread(move || body(handle))).unwrap()
    })
}

#[test]
fn future_runs_in_the_loop_and_its_result_comes_back() {
    // RT1
    let (value, error, loop_thread, own) = beside(|handle| {
        let value = run_coroutine_threadsafe(
            || async {
                yield_now().await?;
                Ok::<_, CancelledError>((7, thread::current().id()))
            },
            &handle,
        );
        let (value, id) = value.result(None).unwrap();
        let error = run_coroutine_threadsafe(|| async { Err::<(), _>(io::Error::other("mine")) }, &handle).result(None);
        (value, error, id, thread::current().id())
    });
    assert_eq!(value, 7);
    assert!(matches!(error, Err(ThreadsafeError::Task(error)) if error.to_string() == "mine"));
    assert_ne!(loop_thread, own);
}

#[test]
fn time_that_runs_out_leaves_the_task_alone() {
    // RT2: the caller cancels.
    beside(|handle| {
        let task = run_coroutine_threadsafe(forever, &handle);
        let ended = task.result(Duration::from_millis(2));
        assert!(matches!(ended, Err(ThreadsafeError::Timeout(_))));
        assert!(!task.done());
        assert!(task.cancel());
        assert_eq!(task.result(None), Err(ThreadsafeError::Task(CancelledError)));
        assert!(task.done() && !task.cancel());
        assert_eq!(task.result(None), Err(ThreadsafeError::Taken));
    });
}

#[test]
fn task_that_is_cancelled_in_its_loop_is_cancelled_for_the_caller() {
    // RT2
    let ended = beside(|handle| {
        let cancels_itself = || async {
            me().cancel();
            forever().await
        };
        run_coroutine_threadsafe(cancels_itself, &handle).result(None)
    });
    assert_eq!(ended, Err(ThreadsafeError::Task(CancelledError)));
}

#[test]
fn panics_are_delivered() {
    // RT2: of the function that makes the future as well.
    beside(|handle| {
        let in_body = run_coroutine_threadsafe(|| super::panics("body"), &handle);
        let make = || -> std::future::Ready<()> { std::panic::panic_any("make") };
        let in_make = run_coroutine_threadsafe(make, &handle);
        for (task, text) in [(in_body, "body"), (in_make, "make")] {
            let payload = catch_unwind(AssertUnwindSafe(|| task.result(None))).unwrap_err();
            assert_eq!(text_of(&*payload), text);
        }
        // And the loop goes on.
        assert_eq!(run_coroutine_threadsafe(|| async {}, &handle).result(None), Ok(()));
    });
}

#[test]
fn cancel_before_the_start_keeps_it_from_starting() {
    // RT2
    in_time(|| {
        let mut runner = Runner::new().unwrap();
        let handle = runner.handle();
        let task = thread::spawn(move || {
            let make = || -> std::future::Ready<()> { panic!("it was cancelled") };
            let task = run_coroutine_threadsafe(make, &handle);
            assert!(task.cancel());
            task
        });
        let task = task.join().unwrap();
        runner.run(turns(3));
        assert_eq!(task.result(None), Err(ThreadsafeError::Task(CancelledError)));
    });
}

#[test]
fn submissions_of_one_thread_start_in_their_order() {
    // RT3: and wake a loop that sleeps.
    let order = beside(|handle| {
        let (send, receive) = mpsc::channel();
        for index in 0..500 {
            let send = send.clone();
            if index % 2 == 0 {
                drop(run_coroutine_threadsafe(move || async move { send.send(index).unwrap() }, &handle));
            } else {
                // A call is made at once, a task begins a turn later: they keep their order each.
                handle.call_soon(move || send.send(index).unwrap()).unwrap();
            }
        }
        drop(send);
        receive.iter().collect::<Vec<_>>()
    });
    let (tasks, calls): (Vec<i32>, Vec<i32>) = order.into_iter().partition(|index| index % 2 == 0);
    assert!(tasks.is_sorted() && calls.is_sorted());
    assert_eq!((tasks.len(), calls.len()), (250, 250));
}

#[test]
fn result_on_the_loops_own_thread_is_refused() {
    // RT4: it would never come; awaiting it is fine.
    on_ring(async || {
        let handle = LoopHandle::current().unwrap();
        let task = run_coroutine_threadsafe(|| async { Ok::<_, CancelledError>(5) }, &handle);
        assert_eq!(task.result(None), Err(ThreadsafeError::WouldDeadlock));
        assert_eq!(task.await, Ok(5));
        let done = run_coroutine_threadsafe(|| async { Ok::<_, CancelledError>(6) }, &handle);
        until(|| done.done()).await;
        assert_eq!(done.result(None), Ok(6));
    });
}

#[test]
fn loop_that_closes_answers_everybody() {
    // RT4, flaw 19: those that run, and those that have not begun; later ones are refused.
    in_time(|| {
        let mut runner = Runner::builder().shutdown_timeout(Duration::from_millis(20)).build().unwrap();
        let handle = runner.handle();
        let running = run_coroutine_threadsafe(forever, &handle);
        let stubborn = run_coroutine_threadsafe(super::stubborn, &handle);
        runner.run(turns(3));
        let waiting = run_coroutine_threadsafe(forever, &handle);
        let (begun, begins) = mpsc::channel();
        let blocked = thread::spawn(move || {
            begun.send(()).unwrap();
            running.result(None)
        });
        begins.recv().unwrap();
        runner = {
            drop(runner);
            Runner::new().unwrap()
        };
        assert_eq!(blocked.join().unwrap(), Err(ThreadsafeError::Task(CancelledError)));
        assert_eq!(waiting.result(None), Err(ThreadsafeError::Task(CancelledError)));
        assert_eq!(stubborn.result(None), Err(ThreadsafeError::Task(CancelledError)));
        assert!(handle.is_closed());
        assert_eq!(handle.call_soon(|| panic!("never called")), Err(LoopClosedError));
        let late = run_coroutine_threadsafe(forever, &handle);
        assert_eq!(late.result(None), Err(ThreadsafeError::Task(CancelledError)));
        runner.run(async { assert!(!LoopHandle::current().unwrap().is_closed()) });
    });
}

#[test]
fn call_that_waits_for_its_closing_loop_does_not_hold_it_up() {
    // RT4, RUN7 (e): the pool's thread gets its answer before the pool is waited for.
    in_time(|| {
        let mut runner = Runner::builder().shutdown_timeout(Duration::from_millis(20)).build().unwrap();
        let handle = runner.handle();
        let (send, receive) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        runner.run(async move {
            let call = move || {
                begin.send(()).unwrap();
                send.send(run_coroutine_threadsafe(super::stubborn, &handle).result(None)).unwrap();
            };
            drop(ringio::create_task(to_thread(call)));
            // A call that has not begun would be withdrawn by the close.
            until(|| begun.try_recv().is_ok()).await;
            ringio::sleep(Duration::from_millis(2)).await.unwrap();
        });
        runner.close();
        assert_eq!(receive.recv().unwrap(), Err(ThreadsafeError::Task(CancelledError)));
    });
}

#[test]
fn calls_belong_to_no_task_and_have_the_callers_context() {
    // CX3, CT1
    beside(|handle| {
        let (send, receive) = mpsc::channel();
        NUMBER.set(3);
        let call = move || send.send((NUMBER.get(), current_task().is_none())).unwrap();
        handle.call_soon(call).unwrap();
        NUMBER.set(4);
        assert_eq!(receive.recv().unwrap(), (Some(3), true));
        let seen = run_coroutine_threadsafe(|| async { Ok::<_, CancelledError>(NUMBER.get()) }, &handle);
        assert_eq!(seen.result(None), Ok(Some(4)));
    });
}

#[test]
fn call_that_panics_is_reported() {
    // T7
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let handle = runner.handle();
        handle.call_soon(|| std::panic::panic_any("call")).unwrap();
        let (send, receive) = mpsc::channel();
        handle.call_soon(move || send.send(1).unwrap()).unwrap();
        runner.run(turns(2));
        assert_eq!(receive.try_recv(), Ok(1));
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::PanicInCallback]);
    });
}

#[test]
fn task_of_another_loop_may_be_awaited_and_cancelled() {
    // 1.5: the cancel goes through the loop, and is not waited for.
    on_ring(async || {
        let (send, receive) = futures::channel::oneshot::channel();
        let other = thread::spawn(move || {
            ringio::run(async move {
                send.send(LoopHandle::current().unwrap()).unwrap();
                forever().await
            })
        });
        let handle = receive.await.unwrap();
        let value = run_coroutine_threadsafe(|| async { Ok::<_, CancelledError>(8) }, &handle);
        assert_eq!(value.await, Ok(8));
        let waiting = run_coroutine_threadsafe(forever, &handle);
        let task = ringio::create_task(async move { waiting.await });
        turns(2).await;
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        let cancel_main = || {
            for task in all_tasks() {
                task.cancel();
            }
        };
        handle.call_soon(cancel_main).unwrap();
        to_thread(move || other.join().unwrap()).await.unwrap().unwrap_err();
    });
}
