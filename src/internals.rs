//! Entry points for the tests and the benches. Not part of the API.

use std::{fmt, io};

use crate::{
    buf::PoolLayout,
    driver::{Config, Driver, Token, Wait, select},
    executor::{Leaf, Parts, context},
    op::Nop,
    sys::RingSize,
    task::AnyTask,
};

/// What this thread's runtime has in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Operations that have not ended, or whose end nobody has looked at.
    pub operations: usize,
    /// Buffers of the pool that nothing received is in.
    pub buffers_home: u32,
    /// Buffers of the pool.
    pub buffers: u32,
    /// Completions for operations that were over.
    pub stale: u64,
    /// Receives that found no buffer, so far.
    pub starved: u64,
    /// Turns of the loop, so far.
    pub turns: u32,
}

/// The counts of this thread's runtime.
pub fn counts() -> Counts {
    context::with(|runtime| {
        let (operations, (buffers_home, buffers), stale) = runtime.port.counts();
        Counts {
            operations,
            buffers_home,
            buffers,
            stale,
            starved: runtime.port.starved(),
            turns: runtime.port.turns(),
        }
    })
}

/// How many wait for the end of a task.
pub fn joiners(task: &AnyTask) -> usize {
    task.task().core().waiting(&Parts::default()).1
}

/// Whether a task is in the run queue; it may be that its waker was called on another thread.
pub fn is_scheduled(task: &AnyTask) -> bool {
    task.task().is_scheduled()
}

/// Nothing, through the whole machinery.
///
/// # Cancellation
/// **Nothing lost**: there is nothing to lose.
pub async fn nop() -> io::Result<()> {
    let port = context::with(|runtime| runtime.port.clone());
    Leaf::new(&port, Nop).await
}

/// The seam alone: pushes NOPs and drains their completions.
pub struct SeamNop {
    driver: Driver,
}

impl fmt::Debug for SeamNop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeamNop").finish_non_exhaustive()
    }
}

impl SeamNop {
    /// A driver with the usual settings.
    pub fn new() -> io::Result<SeamNop> {
        let config = Config {
            size: RingSize { submission: 256, completion: 4096 },
            pool: Some(PoolLayout { count_max: 1, count_first: 1, size: 64 }),
            profile_max: None,
            world: None,
        };
        Ok(SeamNop { driver: select(&config)? })
    }

    /// Pushes `depth` NOPs, submits and waits, and drains until all have come; returns how many.
    pub fn round(&mut self, depth: u32) -> u64 {
        for index in 0..depth {
            self.driver.push_nop(Token::new(index, 1));
        }
        let mut seen = 0;
        while seen < u64::from(depth) {
            if self.driver.turn(Wait::Forever).is_err() {
                break;
            }
            self.driver.drain(|_| seen += 1);
        }
        seen
    }
}
