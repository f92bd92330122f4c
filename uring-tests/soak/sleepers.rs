//! A million tasks that sleep: what they weigh, and in what order they wake. A tenth of that in a debug build.

use std::{cell::Cell, rc::Rc, time::Duration};

use ringio::{CancelledError, create_task, sleep, sleep_until, testing};

use crate::support::{Alone, process::resident_kib};

const SLEEPERS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// 400 MB for a million.
const BYTES_MAX: u64 = 400;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn million_sleeping_tasks_fit_in_400_megabytes() {
    Alone::new(&million_sleeping_tasks_fit_in_400_megabytes).seconds_max(300).run(|| {
        ringio::run(async {
            let before = resident_kib();
            let asleep = Rc::new(Cell::new(0));
            for _ in 0..SLEEPERS {
                let asleep = asleep.clone();
                create_task(async move {
                    asleep.set(asleep.get() + 1);
                    sleep(HOUR).await
                });
            }
            while asleep.get() < SLEEPERS {
                ringio::yield_now().await.unwrap();
            }
            let bytes = (resident_kib() - before) as u64 * 1024;
            eprintln!("{SLEEPERS} sleeping tasks: {} MB, {} bytes each", bytes / 1_000_000, bytes / SLEEPERS);
            assert!(bytes <= SLEEPERS * BYTES_MAX, "{} bytes each", bytes / SLEEPERS);
        });
    });
}

#[test]
fn million_sleeping_tasks_wake_in_order() {
    // S5: by their deadlines, equal ones in the order in which they went to sleep.
    Alone::new(&million_sleeping_tasks_wake_in_order).seconds_max(300).run(|| {
        testing::run_virtual(async {
            let start = testing::now() + HOUR;
            let last = Rc::new(Cell::new((0, 0)));
            let mut sleepers = Vec::new();
            for number in 0..SLEEPERS {
                let last = last.clone();
                // Several of them for each microsecond.
                let after = number.wrapping_mul(0x9e37_79b9) % (SLEEPERS / 8);
                sleepers.push(create_task(async move {
                    sleep_until(start + Duration::from_micros(after)).await?;
                    assert!(
                        last.get() < (after, number) || last.get() == (0, 0),
                        "{:?}, {after}, {number}",
                        last.get()
                    );
                    last.set((after, number));
                    Ok::<_, CancelledError>(())
                }));
            }
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            assert_eq!(last.get().0, SLEEPERS / 8 - 1);
        });
    });
}
