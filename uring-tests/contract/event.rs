//! Contract 7: Event.

use ringio::{CancelledError, Event, Task, create_task};

use super::{Trace, on_ring, turns};

fn waiter(event: &Event, trace: &Trace, name: &'static str) -> Task<(), CancelledError> {
    let (event, trace) = (event.clone(), trace.clone());
    create_task(async move {
        event.wait().await?;
        trace.add(name);
        Ok(())
    })
}

#[test]
fn set_wakes_all_in_order() {
    // EV1: set;clear in one step as well.
    on_ring(async || {
        let (event, trace) = (Event::new(), Trace::default());
        let tasks = ["a", "b", "c"].map(|name| waiter(&event, &trace, name));
        turns(1).await;
        event.set();
        event.clear();
        let late = waiter(&event, &trace, "late");
        for task in tasks {
            task.await.unwrap();
        }
        turns(3).await;
        assert_eq!(trace.take(), "a b c");
        assert!(!late.done() && !event.is_set());
        event.set();
        late.await.unwrap();
    });
}

#[test]
fn set_event_is_passed_without_a_switch() {
    // EV1, S3
    on_ring(async || {
        let (event, trace) = (Event::new(), Trace::default());
        event.set();
        let other = trace.clone();
        create_task(async move { other.add("other") });
        event.wait().await.unwrap();
        event.wait().await.unwrap();
        assert_eq!(trace.take(), "");
    });
}

#[test]
fn cancel_wins_over_set() {
    // EV1: in both orders.
    on_ring(async || {
        for set_first in [true, false] {
            let (event, trace) = (Event::new(), Trace::default());
            let task = waiter(&event, &trace, "through");
            turns(1).await;
            if set_first {
                event.set();
                task.cancel();
            } else {
                task.cancel();
                event.set();
            }
            assert_eq!(task.await, Err(CancelledError));
            assert_eq!(trace.take(), "");
            assert_eq!(event.statistics().waiting, 0);
        }
    });
}

#[test]
fn event_shows_its_state() {
    on_ring(async || {
        let event = Event::new();
        assert_eq!(format!("{event:?}"), "<Event [unset]>");
        let task = waiter(&event, &Trace::default(), "");
        turns(1).await;
        assert_eq!(format!("{event:?}"), "<Event [unset, waiters:1]>");
        event.set();
        assert_eq!(format!("{event:?}"), "<Event [set]>");
        task.await.unwrap();
    });
}
