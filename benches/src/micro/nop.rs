//! What does a ring round trip cost, alone and 32 at once? Guards: ringio's seam adds at most 1 % to raw SQEs.

use io_uring::{IoUring, opcode};

use super::workloads::{REPEATS, median_ns};
use crate::raw::ring;

const ROUNDS: u32 = 500;

/// ns per NOP.
pub(super) fn raw(depth: u32) -> f64 {
    let mut ring = ring::new(256, 1024).expect("a ring");
    median_ns(REPEATS, u64::from(ROUNDS * depth), || {
        let mut seen = 0;
        for _ in 0..ROUNDS {
            seen += round(&mut ring, depth);
        }
        assert_eq!(seen, ROUNDS * depth);
    })
}

fn round(ring: &mut IoUring, depth: u32) -> u32 {
    let (submitter, mut entries, mut completions) = ring.split();
    for token in 0..depth {
        let entry = opcode::Nop::new().build().user_data(u64::from(token));
        // SAFETY: a NOP points to no memory.
        unsafe { entries.push(&entry) }.expect("room for `depth` entries");
    }
    entries.sync();
    submitter.submit_and_wait(depth as usize).expect("enter");
    completions.sync();
    completions.by_ref().map(|completion| u32::from(completion.result() == 0)).sum()
}

pub(super) fn seam(depth: u32) -> f64 {
    let mut seam = ringio::internals::SeamNop::new().expect("a ring");
    median_ns(REPEATS, u64::from(ROUNDS * depth), || {
        let mut seen = 0;
        for _ in 0..ROUNDS {
            seen += seam.round(depth);
        }
        assert_eq!(seen, u64::from(ROUNDS * depth));
    })
}
