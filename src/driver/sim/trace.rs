//! What happened in a run: a number that tells two runs apart, and the last events in words.

use std::collections::VecDeque;

use crate::{clock::Tick, driver::Token};

#[derive(Default)]
pub(super) struct Trace {
    hash: u64,
    last: VecDeque<Record>,
    events: u64,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    what: What,
    at: u64,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Pushed(&'static str, u64),
    Answered(u64, i32, u32),
    Cancelled(u64),
    Ran(u64),
    Noted(&'static str, u64),
}

/// How many events are kept in words.
const KEPT: usize = 400;

impl Trace {
    fn add(&mut self, at: Tick, what: What, numbers: [u64; 3]) {
        self.events += 1;
        let at = at.as_nanoseconds();
        for number in [at].into_iter().chain(numbers) {
            self.hash = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Record { what, at });
    }

    pub(super) fn push(&mut self, at: Tick, token: Token, name: &'static str) {
        let data = token.to_user_data();
        self.add(at, What::Pushed(name, data), [1, data, name.len() as u64]);
    }

    pub(super) fn answer(&mut self, at: Tick, token: Token, result: i32, flags: u32) {
        let data = token.to_user_data();
        let numbers = u64::from(result.cast_unsigned()) << 32 | u64::from(flags);
        self.add(at, What::Answered(data, result, flags), [2, data, numbers]);
    }

    pub(super) fn cancel(&mut self, at: Tick, token: Token) {
        let data = token.to_user_data();
        self.add(at, What::Cancelled(data), [3, data, 0]);
    }

    pub(super) fn task(&mut self, at: Tick, key: u64) {
        self.add(at, What::Ran(key), [4, key, 0]);
    }

    pub(super) fn note(&mut self, what: &'static str, number: u64) {
        let at = self.last.back().map_or(0, |record| record.at);
        self.add(Tick::from_nanoseconds(at), What::Noted(what, number), [6, number, 0]);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.last
            .iter()
            .map(|record| {
                let at = record.at / 1000;
                match record.what {
                    What::Pushed(name, token) => format!("{at:>9} us  push {token:#x} {name}"),
                    What::Answered(token, result, flags) => format!("{at:>9} us  done {token:#x} {result} {flags:#x}"),
                    What::Cancelled(token) => format!("{at:>9} us  cancel {token:#x}"),
                    What::Ran(key) => format!("{at:>9} us  task {key}"),
                    What::Noted(what, number) => format!("{at:>9} us  {what} {number}"),
                }
            })
            .collect()
    }
}
