//! All operations of one runtime, found again by token: those that a future waits for, and those of sockets and listeners,
//! which are many and small, so that they are kept apart.

use std::{
    rc::Rc,
    task::{Poll, Waker},
};

use super::{
    Child, Operation,
    slot::{Finished, Lent, Owner, State},
};
use crate::driver::{Completion, GENERATION_MAX, INDEX_MAX, Request, Token};

#[derive(Default)]
pub(super) struct Table {
    slots: Slots<State>,
    standing: Slots<Owner>,
    stale: u64,
}

/// Values at indices that are used again, each time under a new generation (S2).
struct Slots<T> {
    slots: Vec<Slot<T>>,
    vacant: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { slots: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slots<T> {
    #[inline]
    fn insert(&mut self, value: T) -> (u32, u32, &mut T) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            assert!(self.slots.len() <= INDEX_MAX as usize, "more operations than a token can name");
            self.slots.push(Slot { generation: 0, value: None });
            (self.slots.len() - 1) as u32 // fits: checked above
        });
        let slot = &mut self.slots[index as usize];
        (index, slot.generation, slot.value.insert(value))
    }

    /// The slot of a token, unless the token is an old one.
    #[inline]
    fn find(&mut self, token: Token) -> Option<&mut Option<T>> {
        let slot = self.slots.get_mut(token.index())?;
        (slot.generation == token.generation() && slot.value.is_some()).then_some(&mut slot.value)
    }

    fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index())?;
        if slot.generation == token.generation() { slot.value.as_ref() } else { None }
    }

    /// The value of this index was taken out.
    #[inline]
    fn free(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        // Else S2: its generations are used up, and it is left out of the list for good.
        if slot.generation < GENERATION_MAX {
            slot.generation += 1;
            self.vacant.push(index as u32); // fits: it came from `insert`
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.generation, slot.value.as_ref()?)))
    }
}

impl Table {
    pub(super) fn insert<T: Operation>(&mut self, operation: T, waker: Option<Waker>) -> (Token, Request) {
        self.place(State::InFlight { lent: Lent::new(operation), waker })
    }

    pub(super) fn insert_abandoned<T: Operation>(&mut self, operation: T) -> (Token, Request) {
        self.place(State::Abandoned { lent: Lent::new(operation) })
    }

    fn place(&mut self, state: State) -> (Token, Request) {
        let (index, generation, state) = self.slots.insert(state);
        (Token::new(index, generation), state.lent_mut().request())
    }

    #[inline]
    pub(super) fn stand(&mut self, owner: Owner) -> Token {
        let (index, generation, _) = self.standing.insert(owner);
        Token::standing(index, generation)
    }

    /// Whose answer it is, for the token of a standing operation.
    #[inline]
    pub(super) fn answer(&mut self, completion: &Completion) -> Option<Owner> {
        let token = completion.token;
        let Some(place) = self.standing.find(token) else {
            self.stale += 1;
            return None;
        };
        if completion.more() {
            return place.clone();
        }
        // S3
        let owner = place.take();
        self.standing.free(token.index());
        owner
    }

    /// What follows, for the token of a future's operation.
    pub(super) fn finish(&mut self, completion: Completion) -> Finished {
        let token = completion.token;
        let Some(place) = self.slots.find(token) else {
            self.stale += 1;
            return Finished::Nothing;
        };
        if completion.more() {
            return Finished::Nothing; // one-shot operations answer once; an early answer tells nothing
        }
        let (left, finished) = State::finish(place.take(), completion);
        *place = left;
        self.free_if_empty(token);
        finished
    }

    /// The future is gone. True when the kernel has to be asked to end the operation.
    pub(super) fn abandon(&mut self, token: Token) -> (Finished, bool) {
        let Some(place) = self.slots.find(token) else { return (Finished::Nothing, false) };
        let (left, finished) = State::abandon(place.take());
        let ask = matches!(left, Some(State::Abandoned { .. }));
        *place = left;
        self.free_if_empty(token);
        (finished, ask)
    }

    /// For the future: the lent operation and its completion, or its waker is remembered.
    pub(super) fn poll(&mut self, token: Token, new: &Waker) -> Poll<Option<(Lent, Completion)>> {
        let Some(place) = self.slots.find(token) else { return Poll::Ready(None) };
        match place {
            Some(State::InFlight { waker: Some(waker), .. }) => waker.clone_from(new),
            Some(State::InFlight { waker, .. }) => *waker = Some(new.clone()),
            Some(State::Done { .. }) => {
                let done = place.take();
                self.free_if_empty(token);
                return Poll::Ready(done.and_then(State::into_done));
            }
            Some(State::Abandoned { .. }) | None => unreachable!("a future's operation is in flight or done"),
        }
        Poll::Pending
    }

    fn free_if_empty(&mut self, token: Token) {
        if self.slots.slots[token.index()].value.is_none() {
            self.slots.free(token.index());
        }
    }

    /// Whether the kernel still works on the operation.
    pub(super) fn is_in_kernel(&self, token: Token) -> bool {
        if token.is_standing() {
            self.standing.get(token).is_some()
        } else {
            self.slots.get(token).is_some_and(|state| state.in_kernel().is_some())
        }
    }

    /// The operations that the kernel still works on.
    pub(super) fn in_kernel(&self) -> impl Iterator<Item = (Token, &'static str)> + '_ {
        let waited = self.slots.iter();
        let waited = waited.filter_map(|(index, turn, state)| Some((Token::new(index, turn), state.in_kernel()?)));
        let standing = self.standing.iter().map(|(index, turn, owner)| (Token::standing(index, turn), owner.name()));
        waited.chain(standing)
    }

    /// The children that are watched.
    pub(super) fn children(&self) -> Vec<Rc<Child>> {
        let child = |owner: &Owner| match owner {
            Owner::Exit(child) => Some(child.clone()),
            Owner::Receive(_) | Owner::Send(_) | Owner::Accept(_) | Owner::Datagram(_) => None,
        };
        self.standing.iter().filter_map(|(_, _, owner)| child(owner)).collect()
    }

    /// The operations that futures wait for.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Lent, &Waker)> {
        self.slots.iter().filter_map(|(_, _, state)| state.waiting())
    }

    /// Whose the operations of sockets and listeners are.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.standing.iter().map(|(_, _, owner)| owner)
    }

    /// Operations that have ended and whose futures were never polled again nor dropped.
    pub(super) fn take_done(&mut self) -> Vec<(Lent, Completion)> {
        let done: Vec<Token> = self
            .slots
            .iter()
            .filter(|(_, _, state)| state.in_kernel().is_none())
            .map(|(index, generation, _)| Token::new(index, generation))
            .collect();
        done.into_iter()
            .filter_map(|token| {
                let state = self.slots.find(token)?.take();
                self.free_if_empty(token);
                state?.into_done()
            })
            .collect()
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) fn live(&self) -> usize {
        self.slots.iter().count() + self.standing.iter().count()
    }

    /// Answers to operations that are long over, or never were.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn stale_answers(&self) -> u64 {
        self.stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::basic::Nop;

    #[test]
    fn a_late_completion_does_not_reach_the_slots_next_operation() {
        // S2
        let mut table = Table::default();
        let (first, _) = table.insert(Nop, None);
        assert!(matches!(table.finish(Completion::new(first, 0, 0)), Finished::Nothing));
        assert!(matches!(table.poll(first, Waker::noop()), Poll::Ready(Some(_))));
        let (second, _) = table.insert(Nop, None);
        assert_eq!(first.index(), second.index());
        assert!(matches!(table.finish(Completion::new(first, 7, 0)), Finished::Nothing));
        assert_eq!(table.stale_answers(), 1);
        assert!(table.poll(second, Waker::noop()).is_pending());
        assert!(table.is_in_kernel(second) && !table.is_in_kernel(first));
    }

    #[test]
    fn an_abandoned_operation_keeps_its_slot_until_the_final_completion() {
        // S1, S3
        let mut table = Table::default();
        let (token, _) = table.insert(Nop, None);
        assert!(matches!(table.abandon(token), (Finished::Nothing, true)));
        assert_eq!(table.live(), 1);
        assert!(matches!(table.finish(Completion::new(token, 0, 0)), Finished::Orphan(..)));
        assert_eq!(table.live(), 0);
        assert!(matches!(table.abandon(token), (Finished::Nothing, false)));
    }

    #[test]
    fn an_operation_that_ended_before_its_future_went_is_an_orphan_at_once() {
        // S4
        let mut table = Table::default();
        let (token, _) = table.insert(Nop, None);
        assert!(matches!(table.finish(Completion::new(token, 0, 0)), Finished::Nothing));
        assert!(matches!(table.abandon(token), (Finished::Orphan(..), false)));
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn a_forged_second_completion_changes_nothing() {
        let mut table = Table::default();
        let (token, _) = table.insert(Nop, None);
        assert!(matches!(table.finish(Completion::new(token, 5, 0)), Finished::Nothing));
        assert!(matches!(table.finish(Completion::new(token, 6, 0)), Finished::Nothing));
        let Poll::Ready(Some((_, completion))) = table.poll(token, Waker::noop()) else { panic!("it has ended") };
        assert_eq!(completion.result().unwrap(), 5);
    }

    #[test]
    fn a_slot_with_used_up_generations_is_retired() {
        let mut table = Table::default();
        let (token, _) = table.insert(Nop, None);
        table.slots.slots[token.index()].generation = GENERATION_MAX;
        let last = Token::new(0, GENERATION_MAX);
        assert!(matches!(table.finish(Completion::new(last, 0, 0)), Finished::Nothing));
        assert!(table.poll(last, Waker::noop()).is_ready());
        let (next, _) = table.insert(Nop, None);
        assert_eq!(next.index(), 1);
    }
}
