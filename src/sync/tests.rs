//! The links of a line, one by one; also run under Miri.

use std::{panic::Location, pin::Pin, rc::Rc, task::Waker};

use super::wait_list::{Place, Stage, WaitList, next_number};

type List = Pin<Rc<WaitList<u32>>>;

fn list() -> List {
    Rc::pin(WaitList::new(&["List", "wait"], Location::caller()))
}

fn joined(list: &List) -> Pin<Box<Place<u32>>> {
    let place = Box::pin(Place::new(None));
    list.as_ref().join(place.as_ref(), Waker::noop());
    place
}

fn grant(list: &List, value: u32) -> bool {
    list.grant(|slot| slot.set(Some(value))).map(|((), waiter)| waiter.wake()).is_some()
}

#[test]
fn first_come_first_served() {
    let list = list();
    let places = [joined(&list), joined(&list), joined(&list)];
    assert_eq!(list.count(), 3);
    for value in 0..3 {
        assert!(grant(&list, value));
    }
    assert!(!grant(&list, 3));
    let got: Vec<_> = places.iter().map(|place| (place.stage(), place.take())).collect();
    assert_eq!(got, [0, 1, 2].map(|value| (Stage::Granted, Some(value))));
}

#[test]
fn places_leave_from_everywhere() {
    // The first, the last, one in the middle, the only one; by leaving and by being dropped.
    for out in 0..4 {
        for is_dropped in [true, false] {
            let list = list();
            let mut places: Vec<_> = (0..4).map(|_| joined(&list)).collect();
            let place = places.remove(out);
            if is_dropped {
                drop(place);
            } else {
                assert!(!place.leave() && !place.leave(), "it was granted nothing");
            }
            assert_eq!(list.count(), 3);
            for (value, place) in places.iter().enumerate() {
                assert!(grant(&list, value as u32));
                assert_eq!(place.take(), Some(value as u32));
            }
            assert!(list.is_empty());
        }
    }
    let list = list();
    drop(joined(&list));
    assert!(list.is_empty());
}

#[test]
fn place_that_comes_back_has_its_number() {
    let list = list();
    let places = [joined(&list), joined(&list), joined(&list)];
    for place in [&places[1], &places[0]] {
        place.leave();
    }
    for place in [&places[1], &places[0]] {
        list.as_ref().join(place.as_ref(), Waker::noop());
    }
    for (value, place) in (0..3).zip(&places) {
        assert!(grant(&list, value));
        assert_eq!(place.take(), Some(value));
    }
}

#[test]
fn only_those_below_a_number_are_granted() {
    let list = list();
    let old = joined(&list);
    let end = next_number();
    let new = joined(&list);
    assert!(list.grant_below(end, |slot| slot.set(Some(1))).is_some());
    assert!(list.grant_below(end, |slot| slot.set(Some(2))).is_none());
    assert_eq!((old.stage(), new.stage()), (Stage::Granted, Stage::Waiting));
}

#[test]
fn place_moves_to_another_line() {
    let (one, two) = (list(), list());
    let other = joined(&two);
    let place = joined(&one);
    assert!(one.as_ref().pass_on(two.as_ref(), true));
    assert!(!one.as_ref().pass_on(two.as_ref(), true));
    assert!(place.is_shielded() && one.is_empty());
    assert!(grant(&two, 1) && grant(&two, 2));
    assert_eq!((other.take(), place.take()), (Some(1), Some(2)));
}

#[test]
fn grant_takes_what_is_in_the_slot() {
    let list = list();
    let place = Box::pin(Place::new(Some(5)));
    list.as_ref().join(place.as_ref(), Waker::noop());
    let (taken, waiter) = list.grant(std::cell::Cell::take).unwrap();
    waiter.wake();
    assert_eq!((taken, place.leave(), place.take()), (Some(5), true, None));
}

#[test]
fn list_lets_go_of_forgotten_places() {
    // L1: as a future that is forgotten, whose memory stays.
    let list = list();
    let place = joined(&list);
    let forgotten = joined(&list);
    drop(list);
    assert_eq!((place.stage(), forgotten.stage()), (Stage::Over, Stage::Over));
    assert!(!place.leave());
}

#[test]
fn list_goes_before_the_future_that_waits_in_it() {
    let list = list();
    let mut place = joined(&list);
    drop(list);
    let other = self::list();
    place.set(Place::new(None));
    other.as_ref().join(place.as_ref(), Waker::noop());
    assert!(grant(&other, 1));
}
