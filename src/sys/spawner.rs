//! The threads of one runtime that start its children, so that the loop goes on meanwhile.
//!
//! They belong to the runtime's thread: made by it, with its affinity, priority and credentials, at the first child; ended
//! with the runtime.
//!
//! - J1 A job is Queued, Running, then Done. Whoever gives it up while it is queued gets it back at once; while it runs,
//!   its child is killed and reaped by the thread that started it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    kill_and_reap, reap_orphans,
    spawn::{Plan, Spawned, Stack, block_signals, spawn},
};

/// How many programs are started at a time. More wait their turn: each takes a fraction of a millisecond.
const THREADS_MAX: usize = 4;

/// How long the end of a runtime waits for a child that is just being started.
const END_MAX: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Spawner {
    shared: Arc<Shared>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is a job, or the end has come.
    work: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Arc<Job>>,
    /// How many of the threads have not ended.
    threads: usize,
    idle: usize,
    closed: bool,
}

/// One program to start.
pub(crate) struct Job {
    state: Mutex<State>,
}

enum State {
    Queued {
        plan: Box<Plan>,
        waker: Waker,
    },
    Running {
        waker: Option<Waker>,
        given_up: bool,
    },
    /// `None` once it was taken.
    Done(Option<Started>),
}

/// How a job ended.
pub(crate) enum Started {
    Child(Spawned),
    Refused(io::Error),
    /// It was given up; there is no child.
    Not,
}

/// What giving a job up leads to.
#[must_use]
pub(crate) enum GivenUp {
    /// It had not begun, and never will.
    AtOnce,
    /// It runs; its child will be killed and reaped, and then the job is done.
    Later,
    /// It was done before.
    Done(Started),
}

impl Spawner {
    /// Starts the plan on one of the threads; `waker` is woken when it is done.
    pub(crate) fn start(&self, plan: Box<Plan>, waker: &Waker) -> io::Result<Arc<Job>> {
        let job = Arc::new(Job::queued(plan, waker));
        let mut queue = lock(&self.shared.queue);
        if queue.idle <= queue.jobs.len() && queue.threads < THREADS_MAX {
            match self.add_thread() {
                Ok(()) => queue.threads += 1,
                Err(error) if queue.threads == 0 => return Err(error),
                Err(_) => {} // those that are there will do
            }
        }
        queue.jobs.push_back(job.clone());
        drop(queue);
        self.shared.work.notify_one();
        Ok(job)
    }

    fn add_thread(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        let stack = Stack::new()?;
        // X3: it inherits the mask.
        let mask = block_signals();
        let made = thread::Builder::new().name("ringio-spawn".into()).spawn(move || shared.serve(&stack));
        // It cannot fail: it was this thread's before.
        let _ = mask.thread_set_mask();
        self.threads.borrow_mut().push(made?);
        Ok(())
    }
}

impl Drop for Spawner {
    /// The end of the runtime. What is still queued belongs to nobody any more.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        let jobs = std::mem::take(&mut queue.jobs);
        self.shared.work.notify_all();
        let waited = self.shared.ended.wait_timeout_while(queue, END_MAX, |queue| queue.threads > 0);
        let in_time = waited.is_ok_and(|(_, waited)| !waited.timed_out());
        drop(jobs);
        if in_time {
            // They return from their last function at this moment. One that hangs is let go.
            self.threads.take().into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

impl Shared {
    fn serve(&self, stack: &Stack) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job.run(stack);
                drop(job);
                reap_orphans();
                queue = lock(&self.queue);
            } else if queue.closed {
                break;
            } else {
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
        queue.threads -= 1;
        drop(queue);
        self.ended.notify_all();
    }
}

impl Job {
    fn run(&self, stack: &Stack) {
        let Some(plan) = self.begin() else { return };
        let reach = plan.reach();
        let started = match spawn(plan, stack) {
            Ok(spawned) => Started::Child(spawned),
            Err(error) => Started::Refused(error),
        };
        self.finish(started, |spawned| kill_and_reap(spawned, reach));
    }

    pub(crate) fn queued(plan: Box<Plan>, waker: &Waker) -> Job {
        Job { state: Mutex::new(State::Queued { plan, waker: waker.clone() }) }
    }

    /// J1: from Running to Done. `end` kills and reaps a child that was given up.
    pub(crate) fn finish(&self, mut started: Started, end: impl Fn(Spawned)) {
        loop {
            let mut state = lock(&self.state);
            let State::Running { waker, given_up } = &mut *state else { unreachable!("J1: it runs here") };
            if let (Started::Child(_), true) = (&started, *given_up) {
                drop(state);
                if let Started::Child(spawned) = std::mem::replace(&mut started, Started::Not) {
                    end(spawned);
                }
                continue;
            }
            let waker = waker.take();
            *state = State::Done(Some(started));
            drop(state);
            return waker.into_iter().for_each(Waker::wake);
        }
    }

    /// J1: from Queued to Running; `None` when it was given up.
    pub(crate) fn begin(&self) -> Option<Box<Plan>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Done(None)) {
            State::Queued { plan, waker } => {
                *state = State::Running { waker: Some(waker), given_up: false };
                Some(plan)
            }
            State::Running { .. } | State::Done(_) => None,
        }
    }

    /// The child, or why there is none; `waker` is woken when that is known.
    pub(crate) fn poll(&self, new: &Waker) -> Poll<Started> {
        match &mut *lock(&self.state) {
            State::Queued { waker, .. } => waker.clone_from(new),
            State::Running { waker, .. } => *waker = Some(new.clone()),
            State::Done(started) => return Poll::Ready(started.take().unwrap_or(Started::Not)),
        }
        Poll::Pending
    }

    /// J1. May be called again.
    pub(crate) fn give_up(&self) -> GivenUp {
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut *state, State::Done(None));
        if let State::Running { waker, .. } = before {
            *state = State::Running { waker, given_up: true };
            return GivenUp::Later;
        }
        // The plan holds closures of the user's, which are dropped when nothing is locked.
        drop(state);
        match before {
            State::Done(Some(started)) => GivenUp::Done(started),
            State::Queued { .. } | State::Running { .. } | State::Done(None) => GivenUp::AtOnce,
        }
    }
}

/// What the locks guard is whole at any time: a panic elsewhere changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
