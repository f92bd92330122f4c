//! Contract 5: to_thread.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::FutureExt;
use ringio::{
    CancelledError, ContextVar, ReportKind, Runner, all_tasks, create_task, current_task, gather, to_thread,
    to_thread_uncancellable, wait_for, yield_now,
};

use super::{Reports, cancel::me, in_time, on_ring, text_of, turns, until};

static NUMBER: ContextVar<u32> = ContextVar::new("number");

#[test]
fn function_is_called_once_on_another_thread() {
    // TH1
    on_ring(async || {
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, here) = (calls.clone(), thread::current().id());
        let name = to_thread(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            assert_ne!(thread::current().id(), here);
            thread::current().name().map(str::to_owned)
        });
        assert!(name.await.unwrap().unwrap().starts_with("ringio-"));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let error = to_thread(|| Err::<(), _>(io::Error::other("mine"))).await.unwrap();
        assert_eq!(error.unwrap_err().to_string(), "mine");
    });
}

#[test]
fn threads_are_made_when_needed_and_used_again() {
    // TH1: three calls at once need three threads; a hundred after another need few.
    in_time(|| {
        let mut runner = Runner::builder().threads_max(100).build().unwrap();
        runner.run(async {
            let names = |count: usize| async move {
                let mut names = Vec::new();
                for _ in 0..count {
                    names.push(to_thread(|| thread::current().name().unwrap().to_owned()).await.unwrap());
                }
                names.sort();
                names.dedup();
                names
            };
            // A thread that has given its value may not be idle yet when the next call comes, on a busy machine often.
            let made = names(100).await;
            assert!(made.len() < 50, "{made:?}");
        });
        let mut runner = Runner::builder().threads_max(3).build().unwrap();
        runner.run(async {
            let barrier = Arc::new(Barrier::new(3));
            let meet = || {
                let barrier = barrier.clone();
                to_thread(move || {
                    barrier.wait();
                })
            };
            gather!(meet(), meet(), meet()).await.unwrap();
        });
    });
}

#[test]
fn context_variables_are_set_on_the_thread() {
    // TH1, CX3: a copy.
    on_ring(async || {
        NUMBER.set(4);
        let seen = to_thread(|| {
            let seen = NUMBER.get();
            NUMBER.set(5);
            (seen, NUMBER.get(), current_task().is_none())
        });
        assert_eq!(seen.await.unwrap(), (Some(4), Some(5), true));
        assert_eq!(NUMBER.get(), Some(4));
        assert_eq!(to_thread(|| NUMBER.get()).await.unwrap(), Some(4));
    });
}

/// A pool of one thread that is busy until the sender goes, and the call that keeps it so.
async fn busy() -> (mpsc::Sender<()>, ringio::Task<(), CancelledError>) {
    let (release, released) = mpsc::channel::<()>();
    let (begun, begins) = futures::channel::oneshot::channel();
    let task = create_task(to_thread(move || {
        begun.send(()).unwrap();
        let _ = released.recv();
    }));
    begins.await.unwrap();
    (release, task)
}

fn one_thread() -> Runner {
    Runner::builder().threads_max(1).build().unwrap()
}

#[test]
fn call_that_has_not_begun_is_never_made_after_a_cancel() {
    // TH2: what it captured is dropped here and now.
    in_time(|| {
        one_thread().run(async {
            let (release, first) = busy().await;
            let held = Arc::new(());
            let captured = held.clone();
            let second = create_task(to_thread(move || {
                let _captured = &captured;
                panic!("it was cancelled");
            }));
            turns(2).await;
            assert!(second.cancel());
            assert_eq!(second.await, Err::<(), _>(CancelledError));
            assert_eq!(Arc::strong_count(&held), 1);
            drop(release);
            first.await.unwrap();
            to_thread(|| ()).await.unwrap();
        });
    });
}

#[test]
fn call_that_has_begun_goes_on_after_a_cancel() {
    // TH2: the wait ends at once, the value is dropped.
    on_ring(async || {
        let (release, task) = busy().await;
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        assert!(release.send(()).is_ok(), "the call still waits");
        // Dropped instead of cancelled: the same.
        let (release, released) = mpsc::channel::<()>();
        let mut waiting = Box::pin(to_thread(move || released.recv()));
        assert!((&mut waiting).now_or_never().is_none());
        drop(waiting);
        drop(release);
    });
}

#[test]
fn value_that_is_there_beats_a_cancel() {
    // TH3, C10: the request is kept for the next wait.
    on_ring(async || {
        let (done, is_done) = mpsc::channel::<()>();
        let (release, released) = mpsc::channel::<()>();
        let task = create_task(async move {
            let value = to_thread(move || {
                let _done = done;
                let _ = released.recv();
                6
            });
            let value = value.await?;
            Ok::<_, CancelledError>((value, yield_now().await))
        });
        turns(2).await;
        drop(release);
        // The function has returned, and its value is on its way or there.
        while is_done.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            thread::yield_now();
        }
        let any = task.to_any();
        until(|| ringio::internals::is_scheduled(&any)).await;
        task.cancel();
        assert_eq!(task.await, Ok((6, Err(CancelledError))));
    });
}

#[test]
fn uncancellable_call_is_waited_out() {
    // TH3: the request is kept for the next wait.
    on_ring(async || {
        let (release, released) = mpsc::channel::<()>();
        let task = create_task(async move {
            let value = to_thread_uncancellable(move || released.recv().is_err()).await;
            Ok::<_, CancelledError>((value, yield_now().await, yield_now().await))
        });
        turns(3).await;
        task.cancel();
        turns(3).await;
        assert!(!task.done());
        drop(release);
        assert_eq!(task.await, Ok((Ok(true), Err(CancelledError), Ok(()))));
        // Before it has begun, a cancel keeps it from beginning.
        me().cancel();
        assert_eq!(to_thread_uncancellable(|| panic!("never called")).await, Err::<(), _>(CancelledError));
    });
}

#[test]
fn request_that_waits_keeps_a_call_from_being_made() {
    // L2
    on_ring(async || {
        me().cancel();
        assert_eq!(to_thread(|| panic!("never called")).await, Err::<(), _>(CancelledError));
        assert_eq!(to_thread(|| 1).await, Ok(1));
    });
}

#[test]
fn panic_goes_on_in_whoever_waits() {
    // TH4, E1: and the thread is used again.
    in_time(|| {
        one_thread().run(async {
            let panicked = AssertUnwindSafe(to_thread(|| std::panic::panic_any("in the thread"))).catch_unwind().await;
            let payload = panicked.map(|_: Result<(), _>| ()).unwrap_err();
            assert_eq!(text_of(&*payload), "in the thread");
            assert_eq!(to_thread(|| 2).await, Ok(2));
        });
    });
}

#[test]
fn timeout_ends_the_wait_for_a_call() {
    on_ring(async || {
        let (release, released) = mpsc::channel::<()>();
        let call = async { to_thread(move || released.recv()).await.map_err(io::Error::from) };
        let ended = wait_for(call, Duration::from_millis(1)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(release);
    });
}

#[test]
fn close_waits_for_calls_that_have_begun() {
    // RUN7 (e)
    in_time(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = ended.clone();
        let (release, released) = mpsc::channel::<()>();
        ringio::run(async move {
            let (begun, begins) = futures::channel::oneshot::channel();
            create_task(to_thread(move || {
                begun.send(()).unwrap();
                let _ = released.recv();
                counted.fetch_add(1, Ordering::SeqCst);
            }));
            begins.await.unwrap();
            ringio::at_close(async move { drop(release) }); // the tasks were cancelled by then
        });
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn calls_that_do_not_end_in_time_are_reported_and_left_alone() {
    // RUN7 (e)
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.builder().thread_shutdown_timeout(Duration::from_millis(5)).build().unwrap();
        let (release, task) = runner.run(busy());
        drop(task);
        runner.close();
        assert_eq!(reports.kinds(), [ReportKind::ThreadsAbandoned]);
        drop(release);
    });
}

#[test]
fn clean_up_may_use_threads_while_the_runtime_closes() {
    // TH4: refused only when the pool itself is closed.
    in_time(|| {
        let (send, receive) = mpsc::channel();
        ringio::run(async move {
            create_task(async move {
                let _ = super::forever().await;
                send.send(to_thread(|| 3).await).unwrap();
            });
            turns(1).await;
        });
        assert_eq!(receive.recv(), Ok(Ok(3)));
    });
}

#[test]
fn names_are_looked_up_on_the_pool() {
    // OC2: one thread for all look-ups, if that is all there is.
    in_time(|| {
        one_thread().run(async {
            let listener = ringio::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let (release, first) = busy().await;
            let connect = create_task(async move { ringio::TcpStream::connect(("localhost", port)).await.map(|_| ()) });
            turns(5).await;
            assert!(!connect.done(), "the one thread is busy");
            drop(release);
            first.await.unwrap();
            connect.await.unwrap();
            listener.close().await.unwrap();
            assert_eq!(all_tasks().len(), 1);
        });
    });
}
