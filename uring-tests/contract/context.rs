//! Contract 3: context variables.

use std::{cell::RefCell, rc::Rc};

use ringio::{CancelledError, Context, ContextVar, Runner, Task, create_task, current_task};

use super::{in_time, on_ring, turns, until};

static NUMBER: ContextVar<usize> = ContextVar::new("number");
static TEXT: ContextVar<String> = ContextVar::new("text");

#[test]
fn task_has_a_copy_of_its_creators_context() {
    // CX1: a hundred tasks, each with its own.
    on_ring(async || {
        NUMBER.set(1000);
        let tasks: Vec<_> = (0..100)
            .map(|index| {
                create_task(async move {
                    let inherited = NUMBER.get();
                    NUMBER.set(index);
                    turns(3).await;
                    Ok::<_, CancelledError>((inherited, NUMBER.get()))
                })
            })
            .collect();
        NUMBER.set(2000);
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), (Some(1000), Some(index)));
        }
        assert_eq!((NUMBER.get(), TEXT.get()), (Some(2000), None));
    });
}

#[test]
fn given_context_is_that_very_object() {
    // CX2, T14
    on_ring(async || {
        let context = Context::new();
        let set = |value: usize| {
            let body = async move {
                let before = NUMBER.get();
                NUMBER.set(value);
                turns(1).await;
                Ok::<_, CancelledError>(before)
            };
            Task::builder().context(context.clone()).spawn(body)
        };
        let (one, two) = (set(1), set(2));
        assert!(one.context() == context && two.context() == context && one.context() != Context::new());
        assert_eq!((one.await.unwrap(), two.await.unwrap()), (None, Some(1)));
        assert_eq!((context.get(&NUMBER), NUMBER.get()), (Some(2), None));
    });
}

#[test]
fn callbacks_run_in_the_context_of_their_registration() {
    // CX3, T6; no task is the current one (CT1).
    on_ring(async || {
        let seen: Rc<RefCell<Vec<_>>> = Rc::default();
        let task = create_task(async {});
        for value in 1..3 {
            NUMBER.set(value);
            let place = seen.clone();
            task.add_done_callback(move |_| {
                place.borrow_mut().push((NUMBER.get(), current_task().is_none()));
                NUMBER.set(99);
            });
        }
        NUMBER.set(3);
        until(|| seen.borrow().len() == 2).await;
        assert_eq!(*seen.borrow(), [(Some(1), true), (Some(2), true)]);
        assert_eq!(NUMBER.get(), Some(3));
    });
}

#[test]
fn eager_step_runs_in_the_new_tasks_copy() {
    // CX4
    on_ring(async || {
        NUMBER.set(1);
        let task = Task::builder().eager(true).spawn(async {
            let inherited = NUMBER.get();
            NUMBER.set(2);
            turns(1).await;
            Ok::<_, CancelledError>((inherited, NUMBER.get()))
        });
        assert_eq!(NUMBER.get(), Some(1));
        assert_eq!(task.await.unwrap(), (Some(1), Some(2)));
        // Also inside a context that was entered for a while.
        let context = Context::new();
        context.run(|| {
            NUMBER.set(5);
            let task = Task::builder().eager(true).spawn(async {
                assert_eq!(NUMBER.replace_for_test(6), Some(5));
            });
            assert!(task.done());
            assert_eq!(NUMBER.get(), Some(5));
        });
        assert_eq!((NUMBER.get(), context.get(&NUMBER)), (Some(1), Some(5)));
    });
}

trait ReplaceForTest {
    fn replace_for_test(&self, value: usize) -> Option<usize>;
}

impl ReplaceForTest for ContextVar<usize> {
    fn replace_for_test(&self, value: usize) -> Option<usize> {
        let before = self.get();
        self.set(value);
        before
    }
}

#[test]
fn token_takes_the_value_back() {
    on_ring(async || {
        let first = TEXT.set("one".into());
        let second = TEXT.set("two".into());
        TEXT.reset(second);
        assert_eq!(TEXT.get().as_deref(), Some("one"));
        TEXT.reset(first);
        assert_eq!(TEXT.get(), None);
        let other: ContextVar<String> = ContextVar::new("other");
        let token = TEXT.set("three".into());
        assert!(super::panic_text(|| other.reset(token)).contains("another variable"));
    });
}

#[test]
fn main_sees_what_the_thread_has_set_and_keeps_what_it_sets() {
    // RUN5: one context for all runs of a runner, copied when it is made.
    in_time(|| {
        NUMBER.set(7);
        let mut runner = Runner::new().unwrap();
        NUMBER.set(8);
        assert_eq!(runner.run(async { NUMBER.replace_for_test(9) }), Some(7));
        assert_eq!(runner.run(async { NUMBER.get() }), Some(9));
        let context = Context::new();
        assert_eq!(runner.run_in(&context, async { NUMBER.replace_for_test(10) }), None);
        assert_eq!(context.get(&NUMBER), Some(10));
        assert_eq!(runner.run(async { NUMBER.get() }), Some(9));
        assert_eq!(NUMBER.get(), Some(8));
    });
}

#[test]
fn destructor_of_a_value_that_panics_harms_nobody() {
    // "A panic in any context destructor": it is reported with the task, and the loop goes on.
    #[derive(Clone)]
    struct Bomb {
        _fuse: std::sync::Arc<Fuse>,
    }
    struct Fuse;
    impl Drop for Fuse {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::panic_any("bomb");
            }
        }
    }
    static BOMB: ContextVar<Bomb> = ContextVar::new("bomb");
    on_ring(async || {
        let task = create_task(async {
            BOMB.set(Bomb { _fuse: std::sync::Arc::new(Fuse) });
        });
        task.await.unwrap();
        turns(2).await;
        assert_eq!(ringio::all_tasks().len(), 1);
    });
}
