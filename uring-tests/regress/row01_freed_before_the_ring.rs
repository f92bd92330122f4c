//! Buffers in flight were freed before the ring: the heap was corrupted when a thread ended. Closing a ring waits for
//! nothing; what is lent is freed after its final completion, or never.

use std::{io::Write, thread};

use futures::poll;
use ringio::{Descriptor, Runner};

use crate::support::{PROFILES, Rng, canary::Quarantine, wire};

const THREADS: usize = 4;
const ROUNDS: usize = 60;
const READS: usize = 6;

#[test]
fn memory_of_reads_in_flight_is_untouched_after_their_runtime_is_gone() {
    let mut rng = Rng::new("memory_of_reads_in_flight_is_untouched_after_their_runtime_is_gone");
    let mut spin = move || rng.below(400);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let delays: Vec<usize> = (0..ROUNDS).map(|_| spin()).collect();
            scope.spawn(move || delays.into_iter().enumerate().for_each(|(round, delay)| one_life(round, delay)));
        }
    });
}

/// A runtime that ends while other people write to what it reads from.
fn one_life(round: usize, delay: usize) {
    let quarantine = Quarantine::default();
    let mut writers = Vec::new();
    let mut runner = Runner::builder().profile(PROFILES[round % 3]).handle_ctrl_c(false).build().unwrap();
    // Kept open here: what is written after the end still finds a pipe, and whoever reads from it.
    let mut kept = Vec::new();
    runner.run(async {
        for _ in 0..READS {
            let (reader, writer) = std::io::pipe().unwrap();
            kept.push(reader.try_clone().unwrap());
            writers.push(writer);
            let (input, buffer) = (Descriptor::new(reader.into()), quarantine.buffer(4096, 1));
            let mut read = Box::pin(async move { input.read(buffer).await });
            assert!(poll!(&mut read).is_pending());
            // Some are dropped, some forgotten.
            if round.is_multiple_of(2) {
                std::mem::forget(read);
            }
            ringio::yield_now().await.unwrap();
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..delay {
                std::hint::spin_loop();
            }
            for writer in &mut writers {
                writer.write_all(&[2; 512]).unwrap();
            }
        });
        drop(runner);
    });
    quarantine.assert_untouched();
    for writer in &mut writers {
        writer.write_all(&[3; 512]).unwrap();
    }
    drop(wire::pair());
    quarantine.assert_untouched();
    assert_eq!(quarantine.len(), READS, "what was lent came back when the kernel was done");
}
