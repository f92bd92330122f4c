//! Every workload over and over, and at its end everything as it was at its start: descriptors, threads, memory, slots of
//! operations, buffers of the pool.
//!
//! A second for all of them, unless `RINGIO_SOAK_SECONDS` says how long; `ci/soak` gives it minutes.

mod sleepers;
mod workloads;

use std::{
    cell::Cell,
    env,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::support::{
    Alone, Rng, each_profile,
    process::{assert_descriptors, descriptors, resident_kib, threads},
    settled,
};
use workloads::WORKLOADS;

/// What memory may have grown by: what allocators keep, and pages of the pool that were touched for the first time.
const GROWTH_KIB_MAX: usize = 24 * 1024;

fn budget() -> Duration {
    let seconds = env::var("RINGIO_SOAK_SECONDS").map_or(1.0, |text| text.parse().expect("seconds, as a number"));
    Duration::from_secs_f64(seconds)
}

#[test]
fn every_workload_ends_where_it_began() {
    let seconds_max = budget().as_secs() as u32 * 2 + 300;
    Alone::new(&every_workload_ends_where_it_began).seconds_max(seconds_max).run(|| {
        let mut rng = Rng::new("every_workload_ends_where_it_began");
        let share = budget().div_f64((3 * WORKLOADS.len()) as f64);
        each_profile(|profile, runner| {
            let seeds = Rc::new(Cell::new(rng.next()));
            for (name, workload) in WORKLOADS {
                // Twice for what is made on first use, and kept.
                for _ in 0..2 {
                    runner.run(async { workload(seeds.clone()).await });
                }
                runner.run(settled());
                let (open, running, memory) = (descriptors(), threads(), resident_kib());
                let (start, mut rounds) = (Instant::now(), 0);
                while rounds < 2 || start.elapsed() < share {
                    runner.run(async { workload(seeds.clone()).await });
                    rounds += 1;
                }
                runner.run(settled());
                assert_descriptors(&open);
                assert_threads(running);
                let grown = resident_kib().saturating_sub(memory);
                eprintln!("{profile}, {name}: {rounds} rounds, {grown} KiB more");
                assert!(grown < GROWTH_KIB_MAX, "{profile}, {name}: {grown} KiB more after {rounds} rounds");
            }
        });
    });
}

/// As many threads as before; one that is ending gets a moment.
#[track_caller]
fn assert_threads(before: usize) {
    let end = Instant::now() + Duration::from_secs(10);
    while threads() > before {
        assert!(Instant::now() < end, "{} threads, {before} at the start", threads());
        std::thread::yield_now();
    }
}
