//! Lock, Semaphore, BoundedSemaphore: LK1-LK3, SE1-SE5.

use proptest::prelude::*;
use ringio::{BoundedSemaphore, CancelledError, Lock, Semaphore};

use super::{Subject, Wait, check, steps, world::World};

/// What is released by hand: guards are forgotten.
#[derive(Clone)]
enum Real {
    Lock(Lock),
    Semaphore(Semaphore),
    Bounded(BoundedSemaphore),
}

struct Permits {
    real: Real,
    free: usize,
    /// How many there may be; none for a semaphore without a bound.
    bound: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Release,
    TryAcquire,
}

impl Permits {
    fn release(&mut self, world: &mut World<()>) -> bool {
        if self.bound == Some(self.free) {
            return false;
        }
        if world.grant(0, ()).is_none() {
            self.free += 1;
        }
        true
    }
}

impl Subject for Permits {
    type Op = ();
    type Act = Act;
    type Grant = ();

    fn real_start(&self, (): &()) -> Wait {
        let real = self.real.clone();
        Box::pin(async move {
            let got: Result<(), CancelledError> = match &real {
                Real::Lock(lock) => lock.acquire().await.map(ringio::LockGuard::forget),
                Real::Semaphore(semaphore) => semaphore.acquire().await.map(ringio::Permit::forget),
                Real::Bounded(semaphore) => semaphore.acquire().await.map(ringio::Permit::forget),
            };
            if got.is_ok() { "got".into() } else { "cancelled".into() }
        })
    }

    fn real_act(&self, act: &Act) -> String {
        match (act, &self.real) {
            (Act::Release, Real::Lock(lock)) => lock.release().is_ok(),
            (Act::Release, Real::Semaphore(semaphore)) => {
                semaphore.release();
                true
            }
            (Act::Release, Real::Bounded(semaphore)) => semaphore.release().is_ok(),
            (Act::TryAcquire, Real::Lock(lock)) => lock.try_acquire().map(ringio::LockGuard::forget).is_some(),
            (Act::TryAcquire, Real::Semaphore(semaphore)) => {
                semaphore.try_acquire().map(ringio::Permit::forget).is_some()
            }
            (Act::TryAcquire, Real::Bounded(semaphore)) => {
                semaphore.try_acquire().map(ringio::Permit::forget).is_some()
            }
        }
        .to_string()
    }

    fn real_look(&self) -> String {
        match &self.real {
            Real::Lock(lock) => {
                let state = lock.statistics();
                format!("{} free, {} wait", usize::from(!state.locked), state.waiting)
            }
            Real::Semaphore(semaphore) => {
                let state = semaphore.statistics();
                format!("{} free, {} wait", state.value, state.waiting)
            }
            Real::Bounded(semaphore) => {
                let state = semaphore.statistics();
                format!("{} free, {} wait", state.value, state.waiting)
            }
        }
    }

    fn act(&mut self, world: &mut World<()>, act: &Act) -> String {
        match act {
            Act::Release => self.release(world),
            Act::TryAcquire => self.take(world, 0, &()).is_ok(),
        }
        .to_string()
    }

    fn look(&self, world: &World<()>) -> String {
        format!("{} free, {} wait", self.free, world.count(0))
    }

    fn take(&mut self, _: &mut World<()>, _: usize, (): &()) -> Result<String, usize> {
        if self.free == 0 {
            return Err(0);
        }
        self.free -= 1;
        Ok("got".into())
    }

    fn redeem(&mut self, _: &mut World<()>, _: usize, (): &(), (): ()) -> String {
        "got".into()
    }

    fn give_back(&mut self, world: &mut World<()>, (): &(), (): ()) {
        self.release(world);
    }
}

fn program() -> impl Strategy<Value = Vec<super::Step<(), Act>>> {
    steps(Just(()), prop_oneof![3 => Just(Act::Release), 1 => Just(Act::TryAcquire)])
}

#[test]
fn lock_does_what_its_model_does() {
    // LK1, LK2, LK3
    check("model lock", Just(()), program(), |()| Permits { real: Real::Lock(Lock::new()), free: 1, bound: Some(1) });
}

#[test]
fn semaphore_does_what_its_model_does() {
    // SE1, SE2, SE3, SE4, SE5
    check("model semaphore", 0..3usize, program(), |&free| Permits {
        real: Real::Semaphore(Semaphore::new(free)),
        free,
        bound: None,
    });
}

#[test]
fn bounded_semaphore_does_what_its_model_does() {
    // SE5
    check("model bounded semaphore", 0..3usize, program(), |&free| Permits {
        real: Real::Bounded(BoundedSemaphore::new(free)),
        free,
        bound: Some(free),
    });
}
