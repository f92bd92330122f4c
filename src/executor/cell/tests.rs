//! The references of a task, without a runtime: for Miri, which sees every byte that is freed too soon or never.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use super::{Birth, Ending, Finish, Outcome, Ready, Registry, Spares, TaskRef, Typed};
use crate::{driver::Doorbell, executor::inbox::Inbox, sys};

/// The output is the result.
struct Plain;

impl<O> Finish<O> for Plain {
    type Result = O;

    fn finish(output: O) -> (O, Ending) {
        (output, Ending::Value)
    }
}

fn home() -> Arc<Inbox> {
    Arc::new(Inbox::new(Doorbell::new(sys::doorbell_fd().unwrap())))
}

fn task<F: Future<Output: 'static> + 'static>(body: F, home: &Arc<Inbox>) -> Typed<F::Output> {
    let birth = Birth { id: 1, spawned_at: Location::caller() };
    Typed::of_static::<F, Plain>(body, birth, home, &Spares::default())
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn body_goes_before_its_result_is_seen_and_the_result_is_taken_once() {
    let (home, drops) = (home(), Rc::new(Cell::new(0)));
    let captured = Counted(drops.clone());
    let mut task = task(
        async move {
            let _captured = &captured;
            String::from("result")
        },
        &home,
    );
    assert_eq!(task.task().run(), Some(Ending::Value));
    assert_eq!(drops.get(), 1);
    assert!(!task.task().end(Ending::Value));
    assert!(matches!(task.get(), Some(Outcome::Value(result)) if result == "result"));
    assert!(matches!(task.take(), Some(Outcome::Value(text)) if text == "result"));
    assert!(task.take().is_none());
}

#[test]
fn result_that_nobody_takes_is_dropped_with_the_last_reference() {
    let (home, drops) = (home(), Rc::new(Cell::new(0)));
    let result = Counted(drops.clone());
    let task = task(async move { result }, &home);
    assert_eq!(task.task().run(), Some(Ending::Value));
    let other = task.task().clone();
    drop(task);
    assert_eq!(drops.get(), 0);
    drop(other);
    assert_eq!(drops.get(), 1);
}

#[test]
fn body_that_panics_is_dropped_once_and_its_payload_kept() {
    let (home, drops) = (home(), Rc::new(Cell::new(0)));
    let captured = Counted(drops.clone());
    let mut task = task(
        async move {
            let _captured = &captured;
            std::panic::resume_unwind(Box::new("payload"));
        },
        &home,
    );
    let payload = catch_unwind(AssertUnwindSafe(|| task.task().run())).unwrap_err();
    task.task().fail(payload);
    assert_eq!(drops.get(), 1);
    let _ = task.task().end(Ending::Panic);
    let Some(Outcome::Panic(payload)) = task.take() else { panic!("the body panicked") };
    assert_eq!(payload.downcast_ref(), Some(&"payload"));
}

#[test]
fn run_queue_is_first_in_first_out_and_holds_what_is_in_it() {
    // S1
    let (home, ready) = (home(), Ready::default());
    let tasks: Vec<Typed<()>> = (0..3).map(|_| task(async {}, &home)).collect();
    for round in 0..2 {
        tasks.iter().for_each(|task| ready.push(task.task().clone()));
        let popped: Vec<TaskRef> = std::iter::from_fn(|| ready.pop()).collect();
        assert!(popped.iter().zip(&tasks).all(|(popped, task)| popped.is(task.task())), "round {round}");
        assert_eq!((popped.len(), ready.len()), (3, 0));
    }
    // The queue has the last references; it goes with one task in it.
    tasks.into_iter().for_each(|task| ready.push(task.task().clone()));
    assert!(ready.pop().is_some());
}

#[test]
fn registry_lets_go_in_any_order_and_once() {
    let (home, registry) = (home(), Registry::default());
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let tasks: Vec<Typed<()>> = (0..3).map(|_| task(async {}, &home)).collect();
        tasks.iter().for_each(|task| registry.insert(task.task().clone()));
        for (gone, index) in order.into_iter().enumerate() {
            assert!(registry.remove(tasks[index].task()).is_some_and(|task| task.is(tasks[index].task())));
            assert!(registry.remove(tasks[index].task()).is_none());
            let left = registry.all();
            assert_eq!(left.len(), 2 - gone);
            assert!(left.iter().all(|left| order[gone + 1..].iter().any(|&kept| left.is(tasks[kept].task()))));
        }
    }
    registry.insert(task(async {}, &home).task().clone());
    assert_eq!(registry.len(), 1, "it goes with its last task");
}

/// A body that gives its waker away and never ends.
fn waker_of(home: &Arc<Inbox>) -> (Typed<()>, Waker) {
    let given = Rc::new(Cell::new(None));
    let place = given.clone();
    let task = task(
        std::future::poll_fn(move |cx: &mut Context<'_>| {
            place.set(Some(cx.waker().clone()));
            Poll::Pending
        }),
        home,
    );
    assert_eq!(task.task().run(), None);
    let waker = given.take().expect("the body was polled");
    (task, waker)
}

#[test]
fn wakers_outlive_their_task_and_its_home_on_other_threads() {
    let home = home();
    let (task, waker) = waker_of(&home);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let waker = waker.clone();
            thread::spawn(move || {
                waker.wake_by_ref();
                drop(waker.clone());
                waker
            })
        })
        .collect();
    let mut wakers: Vec<Waker> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    wakers.push(waker);
    home.close();
    drop(task);
    drop(home);
    for waker in wakers {
        thread::spawn(move || waker.wake()).join().unwrap();
    }
}

#[test]
fn task_woken_from_elsewhere_is_in_the_inbox_once() {
    // W4
    let home = home();
    let (task, waker) = waker_of(&home);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| waker.wake_by_ref());
        }
    });
    assert!(!home.is_empty());
    // The inbox gives its reference back, and takes none any more.
    home.close();
    waker.wake();
    drop(task);
}
