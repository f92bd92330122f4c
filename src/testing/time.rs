//! What a program under test can ask of the world it runs in.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{driver::World, error::CancelledError, executor::context, fs::Descriptor, signal::Signal, task::yield_now};

#[track_caller]
pub(super) fn with_world<R>(call: impl FnOnce(&World) -> R) -> R {
    let called = context::with(|runtime| runtime.port.calls().world().cloned());
    match called {
        Some(world) => call(&world),
        None => panic!("this runtime is not simulated; run it with ringio::testing"),
    }
}

/// The time of this thread's runtime: virtual in a simulation, where it stands still while tasks run.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn now() -> Instant {
    context::with(|runtime| {
        let clock = runtime.port.clock();
        clock.instant(clock.now())
    })
}

/// How long this thread's runtime has been running, by its own clock.
///
/// ```
/// # use std::time::Duration;
/// ringio::testing::run_virtual(async {
///     ringio::sleep(Duration::from_secs(3600)).await?;
///     assert_eq!(ringio::testing::elapsed(), Duration::from_secs(3600));
///     Ok::<_, ringio::CancelledError>(())
/// })
/// .unwrap();
/// ```
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn elapsed() -> Duration {
    context::with(|runtime| runtime.port.clock().now().since_origin())
}

/// Lets every other task that is ready run, so many times.
///
/// # Cancellation
/// **Nothing lost**: there is nothing to lose.
pub async fn turns(count: usize) -> Result<(), CancelledError> {
    for _ in 0..count {
        yield_now().await?;
    }
    Ok(())
}

/// A pipe in the simulated kernel: the end that is read, and the one that is written.
///
/// # Errors
/// When the process has no descriptor left.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn pipe() -> io::Result<(Descriptor, Descriptor)> {
    let (reader, writer) = with_world(World::pipe)?;
    Ok((Descriptor::new(reader), Descriptor::new(writer)))
}

/// Sends a signal to the simulated process, for whoever hears it ([`signals`](crate::signals)). It may take its time; the same
/// signal sent again meanwhile is one.
///
/// ```
/// use ringio::{Signal, signals, testing};
///
/// testing::run_virtual(async {
///     let mut hangups = signals([Signal::HUP])?;
///     testing::raise(Signal::HUP);
///     assert_eq!(hangups.recv().await?, Signal::HUP);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
///
/// # Panics
/// Outside of a simulation. When nobody hears the signal and it would end the process, or stop it.
#[doc(alias = "signal.raise_signal")]
#[track_caller]
pub fn raise(signal: impl Into<Signal>) {
    let signal = signal.into();
    let went_well = with_world(|world| world.raise(signal.number()));
    assert!(went_well, "nobody hears {signal}, so it would have ended the program; hear it with ringio::signals()");
}

/// The last events of the simulation, oldest first: which task ran, what was asked of the kernel, and what it answered.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn trace() -> Vec<String> {
    with_world(World::trace)
}
