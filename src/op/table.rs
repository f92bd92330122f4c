//! All operations of one runtime: slots, found again by token.

use std::task::{Poll, Waker};

use super::{
    Operation,
    slot::{Finished, Lent, Owner, State},
};
use crate::driver::{Completion, GENERATION_MAX, Request, Token};

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    vacant: Option<u32>,
    live: usize,
    stale: u64,
}

struct Slot {
    generation: u32,
    state: State,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl Table {
    pub(super) fn insert<T: Operation>(&mut self, operation: T, waker: Option<Waker>) -> (Token, Request) {
        let lent = Lent::new(operation);
        self.place(State::InFlight { lent, waker }, |state| match state {
            State::InFlight { lent, .. } => lent.request(),
            State::Vacant { .. } | State::Done { .. } | State::Abandoned { .. } | State::Standing(_) => Request::Nop,
        })
    }

    pub(super) fn insert_abandoned<T: Operation>(&mut self, operation: T) -> (Token, Request) {
        let (token, request) = self.insert(operation, None);
        let (Finished::Nothing, true) = self.slots[token.index()].state.abandon() else {
            unreachable!("a new operation is in flight")
        };
        (token, request)
    }

    pub(super) fn stand(&mut self, owner: Owner) -> Token {
        self.place(State::Standing(owner), |_| ()).0
    }

    fn place<R>(&mut self, state: State, then: impl FnOnce(&mut State) -> R) -> (Token, R) {
        let index = match self.vacant {
            Some(index) => index,
            None => {
                self.slots.push(Slot { generation: 0, state: State::Vacant { next: NONE } });
                u32::try_from(self.slots.len() - 1).expect("more operations than a token can name")
            }
        };
        let slot = &mut self.slots[index as usize];
        if let State::Vacant { next } = slot.state {
            self.vacant = (next != NONE).then_some(next);
        }
        slot.state = state;
        self.live += 1;
        let result = then(&mut slot.state);
        (Token::new(index, slot.generation), result)
    }

    /// The slot of a token, unless the token is an old one.
    fn find(&mut self, token: Token) -> Option<&mut State> {
        let slot = self.slots.get_mut(token.index())?;
        (slot.generation == token.generation() && !slot.state.is_vacant()).then_some(&mut slot.state)
    }

    pub(super) fn finish(&mut self, completion: Completion) -> Finished {
        let Some(state) = self.find(completion.token) else {
            self.stale += 1;
            return Finished::Nothing;
        };
        let finished = state.finish(completion);
        self.free_if_vacant(completion.token);
        finished
    }

    pub(super) fn abandon(&mut self, token: Token) -> (Finished, bool) {
        let Some(state) = self.find(token) else { return (Finished::Nothing, false) };
        let outcome = state.abandon();
        self.free_if_vacant(token);
        outcome
    }

    /// For the future: the lent operation and its completion, or its waker is remembered.
    pub(super) fn poll(&mut self, token: Token, waker: &Waker) -> Poll<Option<(Lent, Completion)>> {
        let Some(state) = self.find(token) else { return Poll::Ready(None) };
        match std::mem::replace(state, State::Vacant { next: NONE }) {
            State::Done { lent, completion } => {
                self.free_if_vacant(token);
                Poll::Ready(Some((lent, completion)))
            }
            State::InFlight { lent, waker: mut old } => {
                match &mut old {
                    Some(old) => old.clone_from(waker),
                    None => old = Some(waker.clone()),
                }
                *state = State::InFlight { lent, waker: old };
                Poll::Pending
            }
            State::Vacant { .. } | State::Abandoned { .. } | State::Standing(_) => {
                unreachable!("a future's operation is in flight or done")
            }
        }
    }

    fn free_if_vacant(&mut self, token: Token) {
        let index = token.index();
        let slot = &mut self.slots[index];
        if !slot.state.is_vacant() {
            return;
        }
        self.live -= 1;
        if slot.generation < GENERATION_MAX {
            slot.generation += 1;
            slot.state = State::Vacant { next: self.vacant.unwrap_or(NONE) };
            self.vacant = Some(index as u32); // fits: checked when the slot was made
        }
        // Else S2: its generations are used up; the slot is left out of the list for good.
    }

    /// Whether the kernel still works on the operation.
    pub(super) fn is_in_kernel(&self, token: Token) -> bool {
        let slot = self.slots.get(token.index());
        slot.is_some_and(|slot| slot.generation == token.generation() && slot.state.in_kernel().is_some())
    }

    /// The operations that the kernel still works on.
    pub(super) fn in_kernel(&self) -> impl Iterator<Item = (Token, &'static str)> + '_ {
        (0..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| slot.state.in_kernel().map(|name| (Token::new(index, slot.generation), name)))
    }

    /// Operations that have ended and whose futures were never polled again nor dropped.
    pub(super) fn take_done(&mut self) -> Vec<(Lent, Completion)> {
        let mut done = Vec::new();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if let State::Done { .. } = slot.state
                && let State::Done { lent, completion } =
                    std::mem::replace(&mut slot.state, State::Vacant { next: NONE })
            {
                done.push((lent, completion));
                let token = Token::new(index as u32, self.slots[index].generation);
                self.free_if_vacant(token);
            }
        }
        done
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Answers to operations that are long over, or never were.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn stale(&self) -> u64 {
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
        assert_eq!(table.stale(), 1);
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
    fn a_slot_with_used_up_generations_is_retired() {
        let mut table = Table::default();
        let (token, _) = table.insert(Nop, None);
        table.slots[token.index()].generation = GENERATION_MAX;
        let last = Token::new(0, GENERATION_MAX);
        assert!(matches!(table.finish(Completion::new(last, 0, 0)), Finished::Nothing));
        assert!(table.poll(last, Waker::noop()).is_ready());
        let (next, _) = table.insert(Nop, None);
        assert_eq!(next.index(), 1);
    }
}
