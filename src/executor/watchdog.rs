//! A thread that sees to it that steps come to an end: while one does not, nothing that runs in the loop can say so.
//!
//! The loop writes down which step it is in, and that it has ended, under a lock that the watchdog takes for a moment at a
//! time. Who sleeps in the kernel is in no step. An incident is told of twice: when a step has taken too long, and when it
//! has ended after that.

use std::{
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{ErrorReport, ReportKind, cell::Core, report::print};
use crate::{clock, sys};

/// It looks no more often than this.
const LIMIT_MIN: Duration = Duration::from_millis(1);

/// Gets what the watchdog has to say, on its own thread.
pub(super) type Bark = Box<dyn Fn(&ErrorReport) + Send>;

/// Watches one loop, until it is dropped.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// The end has come, or that of a step that was told of.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// The step that the loop is in.
    step: Option<Step>,
    /// The name that was given to its task; kept for its memory.
    name: String,
    /// It was told of.
    told: bool,
    /// What was told of has ended, after so long.
    back: Option<(Who, Duration)>,
    ended: bool,
}

#[derive(Clone, Copy)]
struct Step {
    began: Instant,
    task: u64,
    spawned_at: &'static Location<'static>,
}

/// Whose step it is.
struct Who {
    name: Option<String>,
    spawned_at: &'static Location<'static>,
}

/// The loop's thread, as others know it.
struct Loop {
    name: Option<String>,
    number: i32,
}

impl Shared {
    /// Nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchdog {
    /// Watches the loop of this thread.
    pub(super) fn begin(limit: Duration, bark: Option<Bark>) -> std::io::Result<Watchdog> {
        let shared = Arc::new(Shared { state: Mutex::default(), news: Condvar::new() });
        let watched = Loop { name: thread::current().name().map(str::to_owned), number: sys::this_thread() };
        let (own, bark) = (shared.clone(), bark.unwrap_or_else(|| Box::new(print)));
        let limit = limit.max(LIMIT_MIN);
        let watch = move || Watch { shared: &own, limit, watched, bark }.watch();
        let thread = thread::Builder::new().name("ringio-watchdog".to_owned()).spawn(watch)?;
        Ok(Watchdog { shared, thread: Some(thread) })
    }

    /// A step of this task begins.
    pub(super) fn enter(&self, core: &Core, began: Instant) {
        let mut state = self.shared.lock();
        state.step = Some(Step { began, task: core.id, spawned_at: core.spawned_at });
        state.name.clear();
        core.write_name(&mut state.name);
    }

    /// It has ended, by a panic or not.
    pub(super) fn leave(&self) {
        let mut state = self.shared.lock();
        let step = state.step.take();
        if std::mem::take(&mut state.told)
            && let Some(step) = step
        {
            state.back = Some((state.who(&step), clock::since(step.began)));
            self.shared.news.notify_one();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches the panics of whom it tells.
            let _ = thread.join();
        }
    }
}

impl State {
    fn who(&self, step: &Step) -> Who {
        let name = match (self.name.is_empty(), step.task) {
            (false, _) => Some(self.name.clone()),
            (true, 0) => None,
            (true, id) => Some(format!("Task-{id}")),
        };
        Who { name, spawned_at: step.spawned_at }
    }
}

/// What the thread has.
struct Watch<'a> {
    shared: &'a Shared,
    limit: Duration,
    watched: Loop,
    bark: Bark,
}

impl Watch<'_> {
    fn watch(&self) {
        let mut state = self.shared.lock();
        loop {
            if let Some((who, took)) = state.back.take() {
                drop(state);
                self.tell_back(&who, took);
                state = self.shared.lock();
                continue;
            }
            if state.ended {
                return;
            }
            let pause = match state.step {
                Some(step) if !state.told => {
                    let took = clock::since(step.began);
                    if took >= self.limit {
                        state.told = true;
                        let who = state.who(&step);
                        drop(state);
                        self.tell_stuck(&who, took);
                        state = self.shared.lock();
                        continue;
                    }
                    self.limit - took
                }
                Some(_) | None => self.limit,
            };
            state = self.shared.news.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell_stuck(&self, who: &Who, took: Duration) {
        let doing = match sys::is_asleep(self.watched.number) {
            Some(true) => "it sleeps in a system call or in a lock of threads",
            Some(false) => "it computes",
            None => "what it does is not known",
        };
        let message = format!(
            "{} has been in one step for {took:.1?} and has not come back ({doing}); no other task of its loop runs. Move \
             what blocks or computes for long into to_thread()",
            self.place(who)
        );
        self.tell(ReportKind::Stuck, who, message);
    }

    fn tell_back(&self, who: &Who, took: Duration) {
        self.tell(ReportKind::Resumed, who, format!("{} has come back after {took:.1?} in one step", self.place(who)));
    }

    /// A task is named by the report.
    fn place(&self, who: &Who) -> String {
        let Loop { name, number } = &self.watched;
        let thread =
            name.as_ref().map_or_else(|| format!("thread {number}"), |name| format!("thread {number} ({name})"));
        match who.name {
            Some(_) => format!("on {thread}"),
            None => format!("{thread}: a done callback, or a call of another thread's,"),
        }
    }

    fn tell(&self, kind: ReportKind, who: &Who, message: String) {
        let (task, spawned_at) = (who.name.as_deref().map(Into::into), who.name.is_some().then_some(who.spawned_at));
        let report = ErrorReport { kind, task, spawned_at, message };
        // E3
        if catch_unwind(AssertUnwindSafe(|| (self.bark)(&report))).is_err() {
            print(&report);
        }
    }
}
