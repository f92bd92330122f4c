//! Contract 4, TG16: tasks of a group that say when they are ready.

use std::{cell::Cell, io, rc::Rc};

use ringio::{
    CancelledError, Event, GroupError, StartError, TaskGroup, TaskStatus, create_task, sleep_secs,
    testing::run_virtual, wait_for, yield_now,
};

use super::{forever, is_cancel, turns};

#[test]
fn start_returns_what_the_task_says_and_the_task_runs_on() {
    run_virtual(async {
        let ended = Rc::new(Cell::new(false));
        let place = ended.clone();
        TaskGroup::scope(async move |group| {
            let serve = async move |status: TaskStatus<u32>| {
                sleep_secs(1.0).await?;
                status.started(7);
                sleep_secs(1.0).await?;
                place.set(true);
                io::Result::Ok("end")
            };
            let (task, said) = group.start(serve).await?;
            assert_eq!((said, task.done(), group.len()), (7, false, 1));
            assert_eq!(task.await?, "end");
            io::Result::Ok(())
        })
        .await
        .unwrap();
        assert!(ended.get());
    });
}

#[test]
fn task_that_ends_without_a_word_is_an_error_of_start() {
    run_virtual(async {
        TaskGroup::scope(async |group| {
            let started = group.start(async |status: TaskStatus<()>| {
                drop(status);
                yield_now().await?;
                io::Result::Ok(3)
            });
            assert_eq!(started.await.map(|_| ()), Err(StartError::NotStarted));
            io::Result::Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn task_that_fails_first_ends_the_group_with_its_error_alone() {
    run_virtual(async {
        let error = TaskGroup::scope(async |group| {
            let started = group.start(async |_: TaskStatus<()>| {
                yield_now().await?;
                Err::<(), _>(io::Error::other("no port"))
            });
            started.await?;
            unreachable!("it never started");
            #[allow(unreachable_code)]
            io::Result::Ok(())
        })
        .await
        .unwrap_err();
        let errors = error.into_errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].to_string(), "no port");
    });
}

#[test]
fn closed_group_starts_nothing() {
    // TG11
    run_virtual(async {
        let ended = TaskGroup::scope(async |group| {
            group.cancel();
            let started = group.start(async |_: TaskStatus<()>| -> io::Result<()> { unreachable!("it takes no more") });
            let error = started.await.unwrap_err();
            assert_eq!(error, StartError::Cancelled(CancelledError), "the group's own cancel is what the body sees");
            Err::<(), _>(error.into())
        });
        assert!(matches!(ended.await, Err(GroupError::<io::Error>::Stopped)));
    });
}

#[test]
fn cancel_of_the_wait_ends_the_task_and_waits_for_it() {
    // In both orders of a word and a cancel in one turn.
    run_virtual(async {
        for said_first in [None, Some(false), Some(true)] {
            let go = Rc::new(Event::new());
            let cleaned = Rc::new(Cell::new(false));
            let (set, place) = (go.clone(), cleaned.clone());
            let starter = create_task(async move {
                TaskGroup::scope(async move |group| {
                    let body = async move |status: TaskStatus<u32>| {
                        let heard = go.wait().await;
                        if heard.is_ok() {
                            status.started(1);
                            forever().await?;
                        }
                        turns(3).await;
                        place.set(true);
                        Ok(heard?)
                    };
                    let said = group.start(body).await?.1;
                    let next = yield_now().await;
                    assert!(next.is_err(), "C10: the cancel is left for the next wait");
                    next?;
                    io::Result::Ok(said)
                })
                .await
            });
            turns(4).await;
            if said_first == Some(true) {
                set.set();
                turns(1).await; // it says so in this turn, and whoever waits runs in the next
            }
            starter.cancel();
            if said_first == Some(false) {
                set.set();
            }
            let error = io::Error::from(starter.await.unwrap_err());
            assert!(is_cancel(&error), "{said_first:?}: {error}");
            assert!(cleaned.get() || said_first == Some(true), "{said_first:?}: its end is waited for");
        }
    });
}

#[test]
fn start_that_is_dropped_leaves_the_task_in_the_group() {
    // C15
    run_virtual(async {
        let ended = Rc::new(Cell::new(false));
        let place = ended.clone();
        TaskGroup::scope(async move |group| {
            let started = group.start(async move |_: TaskStatus<()>| {
                sleep_secs(2.0).await?;
                place.set(true);
                io::Result::Ok(())
            });
            let limited = wait_for(async { started.await.map(|_| ()).map_err(io::Error::from) }, None);
            drop(limited);
            assert_eq!(group.len(), 1);
            io::Result::Ok(())
        })
        .await
        .unwrap();
        assert!(ended.get());
    });
}
