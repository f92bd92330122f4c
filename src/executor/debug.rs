//! Debug mode: finds steps that hold the loop up, and cancels that nobody sees or that nobody heeds. Off, it costs one
//! look at a flag a step.

use std::{cell::Cell, env, time::Duration};

use super::{Alarm, ErrorReport, ReportKind, Runtime, TaskRef, context, watchdog::Watchdog};
use crate::clock::Tick;

pub(super) struct Debug {
    on: Cell<bool>,
    slow: Cell<Duration>,
    /// A step that takes so long has all tasks listed.
    stall: Option<Duration>,
    watchdog: Option<Watchdog>,
    /// Whether there is any reason to time steps.
    timed: Cell<bool>,
}

/// How long a step may take, when nothing else is said.
const SLOW: Duration = Duration::from_millis(100);

/// A task that was cancelled may take so many times that long before it is said that it heeds no cancel.
const SWALLOWED: u32 = 10;

/// A cancel to be looked after.
pub(crate) struct Watch {
    task: TaskRef,
    request: u64,
    delivered: bool,
}

impl Debug {
    /// `None`: as the environment says (DB1).
    pub(super) fn new(
        on: Option<bool>,
        slow: Option<Duration>,
        stall: Option<Duration>,
        watchdog: Option<Watchdog>,
    ) -> Debug {
        let on = on.unwrap_or_else(|| env::var_os("RINGIO_DEBUG").is_some_and(|value| value == "1"));
        let timed = Cell::new(on || stall.is_some() || watchdog.is_some());
        Debug { on: Cell::new(on), slow: Cell::new(slow.unwrap_or(SLOW)), stall, watchdog, timed }
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Whether steps are timed.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.timed.get()
    }

    fn set(&self, on: bool) {
        self.on.set(on);
        self.timed.set(on || self.stall.is_some() || self.watchdog.is_some());
    }

    /// A step has ended, perhaps by a panic.
    pub(super) fn leave_step(&self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.leave();
        }
    }
}

/// Whether the runtime of this thread is in debug mode; false when none runs.
#[doc(alias = "asyncio.loop.get_debug")]
pub fn is_debug() -> bool {
    context::try_with(|runtime| runtime.debug.is_on()).unwrap_or(false)
}

/// Switches the debug mode of this thread's runtime. It reports to the error handler: steps that take longer than
/// [`slow_callback_duration`](crate::RunnerBuilder::slow_callback_duration), waits that were never awaited, writers that
/// were never closed, and cancels that no wait has seen, or that a task did not heed.
///
/// # Panics
/// Outside of a runtime.
#[doc(alias = "asyncio.loop.set_debug")]
#[track_caller]
pub fn set_debug(on: bool) {
    context::with(|runtime| runtime.debug.set(on));
}

impl Runtime {
    /// A step begins that is to be timed.
    #[cold]
    pub(super) fn begin_step(&self, task: &TaskRef) -> Tick {
        let began = self.port.clock().now();
        if self.debug.stall.is_some() {
            task.core().set_stepped(began);
        }
        if let Some(watchdog) = &self.debug.watchdog {
            watchdog.enter(task.core(), self.port.clock().instant(began));
        }
        began
    }

    /// DB2
    #[cold]
    pub(super) fn check_step(&self, task: &TaskRef, began: Tick) {
        self.debug.leave_step();
        let took = began.until(self.port.clock().now());
        if self.debug.stall.is_some_and(|limit| took >= limit) {
            let message = format!("one step took {took:?}; behind it stood:\n{}", self.dump());
            self.report_task(ReportKind::Stall, task, message);
        }
        if self.debug.is_on() && took >= self.debug.slow.get() {
            let message = format!("one step took {took:?}; move what blocks or computes for long into to_thread()");
            self.report_task(ReportKind::SlowStep, task, message);
        }
    }

    /// DB7: a cancel was asked for just now.
    #[inline]
    pub(crate) fn watch_cancel(&self, task: &TaskRef) {
        if self.debug.is_on() {
            let request = task.core().requests();
            self.watch(Watch { task: task.clone(), request, delivered: false }, self.debug.slow.get());
        }
    }

    fn watch(&self, watch: Watch, after: Duration) {
        let due = self.port.clock().now().after(after);
        let _ = self.timers.borrow_mut().insert(due, Alarm::Watch(Box::new(watch)));
    }

    pub(super) fn look_after(&self, watch: Watch) {
        let Watch { task, request, delivered } = &watch;
        let core = task.core();
        // A later cancel is looked after by itself; one that was taken back is none.
        if task.is_done() || core.requests() != *request || core.cancelling.get() == 0 || self.closing.get() {
            return;
        }
        let slow = self.debug.slow.get();
        if core.marks.is_pending() {
            let message =
                format!("was cancelled {slow:?} ago, and no wait has seen it; wrap foreign futures in cancellable()");
            self.report_task(ReportKind::CancelUndelivered, task, message);
        } else if *delivered {
            let after = slow * SWALLOWED;
            let message = format!("goes on {after:?} after its cancel was delivered; hand it on, or call uncancel()");
            self.report_task(ReportKind::CancelSwallowed, task, message);
        } else {
            self.watch(Watch { delivered: true, ..watch }, slow * SWALLOWED);
        }
    }

    /// SW8
    #[cold]
    pub(crate) fn never_closed(&self, what: &str) {
        if self.debug.is_on() && !self.closing.get() {
            let task = context::current_task().map(|task| task.core().name());
            let message =
                format!("{what} was dropped without close(); what it had written is sent, but an error stays unseen");
            self.report(&ErrorReport { kind: ReportKind::NeverClosed, task, spawned_at: None, message });
        }
    }

    /// DB5
    #[cold]
    pub(crate) fn never_awaited(&self, what: &str) {
        if self.debug.is_on() {
            let task = context::current_task().map(|task| task.core().name());
            let message = format!("{what} was made and never awaited");
            self.report(&ErrorReport { kind: ReportKind::NeverAwaited, task, spawned_at: None, message });
        }
    }
}
