//! Starts a runtime, runs one main future after the other in it, and closes it in bounded time.
#![allow(unsafe_code)] // fence: a main future may borrow from its caller, who is blocked meanwhile

use std::{
    any::Any,
    fmt,
    future::{Future, IntoFuture},
    io,
    panic::{Location, resume_unwind},
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use super::{
    Alarm, Ending, ErrorReport, Finish, Mailbox, Outcome, ReportKind, Runtime, Seed, Typed, Vars, Waiter, context,
    debug::Debug,
    inspect,
    pool::threads_max_usual,
    report::Handler,
    runtime::{Home, Settings},
    watchdog::{Bark, Watchdog},
};
use crate::{
    buf::PoolLayout,
    driver::{Config, DriverReport, Profile},
    scope::cancel_task,
    sys::{CtrlC, RingSize, interrupts},
};

/// Runs `main` to its end on a fresh runtime and returns what it returns; every other task is then cancelled and waited
/// for ([`Runner::close`]). `main` is whatever can be awaited.
///
/// The first Ctrl-C cancels `main`, the second ends the process.
///
/// # Panics
/// When a runtime already runs on this thread, and when the kernel allows no io_uring: the message says why, and what
/// helps. [`Runner::new`] gives that as an error instead. A panic of `main` comes out of here.
///
/// ```
/// let answer = ringio::run(async {
///     ringio::sleep(std::time::Duration::from_millis(1)).await?;
///     Ok::<_, ringio::CancelledError>(42)
/// });
/// assert_eq!(answer, Ok(42));
/// ```
#[doc(alias = "asyncio.run")]
#[track_caller]
pub fn run<F: IntoFuture>(main: F) -> F::Output {
    refuse_nested();
    match Runner::new() {
        Ok(mut runner) => runner.run(main),
        Err(error) => panic!("ringio::run: {error}"),
    }
}

#[track_caller]
fn refuse_nested() {
    let nested = context::try_with(|_| ()).is_some();
    assert!(!nested, "a ringio runtime already runs on this thread; await the future here instead of running it");
}

/// A runtime that runs several main futures in turn and keeps its tasks between them.
///
/// ```
/// let mut runner = ringio::Runner::new()?;
/// let one = runner.run(async { 1 });
/// let two = runner.run(async { one + 1 });
/// assert_eq!(two, 2);
/// runner.close();
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "asyncio.Runner")]
pub struct Runner {
    runtime: Option<Home>,
    shutdown_timeout: Option<Duration>,
    thread_timeout: Duration,
    ctrl_c: bool,
}

/// Settings of a [`Runner`]; made by [`Runner::builder`].
#[must_use = "call build()"]
pub struct RunnerBuilder {
    pub(super) config: Config,
    shutdown_timeout: Option<Duration>,
    debug: Option<bool>,
    slow: Option<Duration>,
    stall: Option<Duration>,
    watchdog: Option<Duration>,
    bark: Option<Bark>,
    threads_max: usize,
    thread_timeout: Duration,
    ctrl_c: bool,
    inspect: Option<bool>,
    handler: Option<Handler>,
}

/// How long a close waits for tasks, when nothing else is said.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a close then waits for the threads of the pool, when nothing else is said.
const THREAD_TIMEOUT: Duration = Duration::from_secs(300);

/// A close cancels all tasks this often, at equal distances, so that a clean-up is left alone for a good while.
const SHUTDOWN_ROUNDS: u32 = 3;

/// Done callbacks may add callbacks, but not for ever.
const CALL_ROUNDS_MAX: u32 = 100;

impl Runner {
    /// A runtime with the usual settings.
    ///
    /// # Errors
    /// When the kernel allows no io_uring: the message names the cause (a seccomp filter, `kernel.io_uring_disabled`,
    /// the limit of locked memory, an old kernel) and what helps.
    pub fn new() -> io::Result<Runner> {
        Runner::builder().build()
    }

    /// A runtime with settings of your own.
    pub fn builder() -> RunnerBuilder {
        RunnerBuilder {
            config: Config {
                size: RingSize { submission: 256, completion: 4096 },
                pool: None,
                profile_max: None,
                world: None,
            },
            shutdown_timeout: Some(SHUTDOWN_TIMEOUT),
            debug: None,
            slow: None,
            stall: None,
            watchdog: None,
            bark: None,
            threads_max: threads_max_usual(),
            thread_timeout: THREAD_TIMEOUT,
            ctrl_c: true,
            inspect: None,
            handler: None,
        }
    }

    /// Runs `main` to its end and returns what it returns. Other tasks run meanwhile, and stay for the next time.
    ///
    /// # Panics
    /// When a runtime already runs on this thread, or this one was closed. A panic of `main` comes out of here.
    #[track_caller]
    pub fn run<F: IntoFuture>(&mut self, main: F) -> F::Output {
        refuse_nested();
        let ctrl_c = self.ctrl_c;
        let Some(runtime) = &self.runtime else { panic!("this Runner is closed; make a new one") };
        let seed = Seed { name: None, spawned_at: Location::caller(), vars: runtime.base.borrow().clone() };
        let (result, vars) = run_main(runtime, main, seed, ctrl_c);
        runtime.base.replace(vars); // what it has set stays for the next one
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// [`Runner::run`] with a context of its own: what `main` sets stays there.
    ///
    /// # Panics
    /// As [`Runner::run`].
    #[track_caller]
    pub(crate) fn run_with<F: IntoFuture>(&mut self, vars: Vars, main: F) -> F::Output {
        refuse_nested();
        let ctrl_c = self.ctrl_c;
        let Some(runtime) = &self.runtime else { panic!("this Runner is closed; make a new one") };
        let seed = Seed { name: None, spawned_at: Location::caller(), vars: Some(vars) };
        let (result, _) = run_main(runtime, main, seed, ctrl_c);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Which driver this runtime has, and why; `None` once it is closed.
    pub fn driver_report(&self) -> Option<DriverReport> {
        self.runtime.as_ref()?.port.report()
    }

    /// Ends everything, in bounded time: cancels every task and waits for its end (30 s unless set otherwise; meanwhile
    /// it cancels again at one and at two thirds of the time); drops and reports the tasks that do not end; then ends
    /// every operation of the kernel's (5 s), and leaks and reports what refuses. Dropping the runner does the same.
    pub fn close(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let Some(_inside) = context::enter(&runtime) else {
            // Inside another runtime's task nothing can be waited for.
            std::mem::forget(runtime);
            panic!("a Runner cannot be closed while another runtime runs on this thread");
        };
        runtime.closing.set(true);
        finish_tasks(&runtime, self.shutdown_timeout);
        finalize(&runtime, self.shutdown_timeout);
        runtime.drop_tasks();
        runtime.drop_tasks(); // those that the destructors have made
        runtime.close_mailbox(); // before the threads, which may wait for an answer
        finish_calls(&runtime);
        runtime.drop_tasks(); // those that the calls have made
        close_pool(&runtime, self.thread_timeout);
        runtime.close();
    }
}

impl Runner {
    #[track_caller]
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        let Some(runtime) = &self.runtime else { panic!("this Runner is closed; make a new one") };
        runtime.mailbox()
    }
}

/// Runs `finalizer` when this thread's runtime is closed: after all tasks have ended, the last one given first, with as
/// much time as the tasks had.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// # use std::{cell::Cell, rc::Rc};
/// let closed = Rc::new(Cell::new(false));
/// let place = closed.clone();
/// ringio::run(async {
///     ringio::at_close(async move {
///         let _ = ringio::yield_now().await;
///         place.set(true);
///     });
/// });
/// assert!(closed.get());
/// ```
#[doc(alias = "asyncio.loop.shutdown_asyncgens")]
#[track_caller]
pub fn at_close(finalizer: impl Future<Output = ()> + 'static) {
    context::with(|runtime| runtime.finalizers.borrow_mut().push(Box::pin(finalizer)));
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.runtime.as_ref().map(|runtime| runtime.tasks.len());
        f.debug_struct("Runner").field("tasks", &tasks).field("closed", &self.runtime.is_none()).finish()
    }
}

impl RunnerBuilder {
    /// How long [`Runner::close`] waits for tasks; `None` waits for ever.
    pub fn shutdown_timeout(mut self, timeout: impl Into<Option<Duration>>) -> RunnerBuilder {
        self.shutdown_timeout = timeout.into();
        self
    }

    /// Debug mode ([`set_debug`](crate::set_debug)); `None`: on when the environment variable `RINGIO_DEBUG` is `1`.
    pub fn debug(mut self, on: impl Into<Option<bool>>) -> RunnerBuilder {
        self.debug = on.into();
        self
    }

    /// In debug mode, a step of a task that takes longer than this is reported (100 ms unless set otherwise).
    #[doc(alias = "asyncio.loop.slow_callback_duration")]
    pub fn slow_callback_duration(mut self, limit: Duration) -> RunnerBuilder {
        self.slow = Some(limit);
        self
    }

    /// A step of a task that takes longer than this is reported when it is over, in debug mode or not, with what all tasks
    /// wait for, and since when ([`dump_tasks`](crate::dump_tasks)). Off unless set; it costs two looks at the clock a step,
    /// and a note in each task. A step that does not end is reported by a [watchdog](RunnerBuilder::watchdog).
    pub fn dump_on_stall(mut self, limit: impl Into<Option<Duration>>) -> RunnerBuilder {
        self.stall = limit.into();
        self
    }

    /// Watches the loop from a thread of its own, and reports a step of a task that takes longer than `limit` while it
    /// lasts ([`ReportKind::Stuck`]): in which thread, since when, the task, where it was spawned, and whether the thread
    /// computes or sleeps in the kernel. It is reported once, and once more when the step has ended
    /// ([`ReportKind::Resumed`]). Off unless set.
    ///
    /// A loop that waits with nothing to do is never reported. Reports are printed to standard error, unless there is a
    /// [handler](RunnerBuilder::watchdog_handler): the runtime's own belongs to the thread that does not come back.
    /// It costs two looks at the clock and two locks that nobody else holds a step, and a thread that looks once in a
    /// `limit` (a millisecond at least) and ends with the runtime. Simulated runtimes are not watched.
    ///
    /// ```
    /// use std::{sync::mpsc, thread, time::Duration};
    /// use ringio::{ReportKind, Runner, Task};
    ///
    /// let (report, reports) = mpsc::channel();
    /// let builder = Runner::builder().watchdog(Duration::from_millis(20));
    /// let builder = builder.watchdog_handler(move |told| drop(report.send((told.kind, told.to_string()))));
    /// builder.build()?.run(async {
    ///     let task = Task::builder().name("blocks").spawn(async move {
    ///         let (kind, text) = reports.recv().unwrap(); // stops the loop
    ///         assert_eq!(kind, ReportKind::Stuck);
    ///         println!("{text}");
    ///         Ok::<_, ringio::CancelledError>(reports)
    ///     });
    ///     let reports = task.await?;
    ///     let (kind, _) = ringio::to_thread(move || reports.recv().unwrap()).await?;
    ///     assert_eq!(kind, ReportKind::Resumed);
    ///     Ok::<_, ringio::CancelledError>(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> RunnerBuilder {
        self.watchdog = limit.into();
        self
    }

    /// Gets what the [watchdog](RunnerBuilder::watchdog) reports, on its thread. It does not wait for the loop: that may not
    /// come back before it has returned.
    pub fn watchdog_handler(mut self, handler: impl Fn(&ErrorReport) + Send + 'static) -> RunnerBuilder {
        self.bark = Some(Box::new(handler));
        self
    }

    /// How many threads there may be for calls that block ([`to_thread`](crate::to_thread), look-ups of names). At least
    /// one.
    pub fn threads_max(mut self, threads: usize) -> RunnerBuilder {
        self.threads_max = threads.max(1);
        self
    }

    /// How long [`Runner::close`] waits for such calls (300 s unless set otherwise). Those that take longer are reported
    /// and left alone.
    pub fn thread_shutdown_timeout(mut self, timeout: Duration) -> RunnerBuilder {
        self.thread_timeout = timeout;
        self
    }

    /// Whether Ctrl-C cancels the main future (yes, unless set otherwise). It does so only on the process's first
    /// thread, and only if nobody else handles the signal.
    pub fn handle_ctrl_c(mut self, yes: bool) -> RunnerBuilder {
        self.ctrl_c = yes;
        self
    }

    /// Whether `ringio-ps` may ask the running program for its tasks: what each waits for, and who waits for it. Not
    /// unless set, or the environment variable `RINGIO_INSPECT` is `1`.
    ///
    /// The loop itself answers, on a unix socket that serves this user and the superuser. While nobody asks it costs a look
    /// at the clock a turn, and a note in each task.
    pub fn inspect(mut self, yes: bool) -> RunnerBuilder {
        self.inspect = Some(yes);
        self
    }

    /// Gets what nobody was there to see: errors and panics of tasks that nobody awaited, tasks that did not end.
    /// Printed to standard error, unless set otherwise.
    pub fn error_handler(mut self, handler: impl Fn(&ErrorReport) + 'static) -> RunnerBuilder {
        self.handler = Some(Rc::new(handler));
        self
    }

    /// Entries of the submission and of the completion queue; the kernel rounds up to powers of two. Small queues cost
    /// system calls, never operations.
    pub fn queue_sizes(mut self, submission: u32, completion: u32) -> RunnerBuilder {
        self.config.size = RingSize { submission, completion };
        self
    }

    /// The buffers that connections receive into: how many there may be (a power of two), and bytes of each.
    ///
    /// # Panics
    /// When the count is no power of two or above 32,768, or the size is below 64 or above 1 MiB.
    pub fn buffer_pool(mut self, count_max: u16, size: u32) -> RunnerBuilder {
        assert!(count_max.is_power_of_two() && count_max <= 1 << 15, "buffer_pool: the count has to be a power of two");
        assert!((64..=1 << 20).contains(&size), "buffer_pool: the size has to be between 64 bytes and 1 MiB");
        self.config.pool = Some(PoolLayout { count_max, count_first: count_max.min(32), size });
        self
    }

    /// Uses no more of the kernel than Linux 6.1 has (`base`), 6.12 (`multi`) or 6.18 (`full`). For tests; the
    /// environment variable `RINGIO_PROFILE` does the same.
    ///
    /// # Panics
    /// For another name.
    pub fn profile(mut self, name: &str) -> RunnerBuilder {
        self.config.profile_max = Some(Profile::parse(name).unwrap_or_else(|error| panic!("profile: {error}")));
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// As [`Runner::new`]; when there can be no thread for the [watchdog](RunnerBuilder::watchdog).
    pub fn build(self) -> io::Result<Runner> {
        // A simulated process is not one that another can look at, and its time is not that of other threads.
        let is_real = self.config.world.is_none();
        let watched = self.watchdog.filter(|_| is_real);
        let watchdog = watched.map(|limit| Watchdog::begin(limit, self.bark)).transpose()?;
        let debug = Debug::new(self.debug, self.slow, self.stall, watchdog);
        let runtime = Runtime::open(&self.config, self.handler, Settings { threads_max: self.threads_max, debug })?;
        if is_real && self.inspect.unwrap_or_else(inspect::is_wanted) {
            inspect::begin(&runtime)?;
        }
        let RunnerBuilder { shutdown_timeout, thread_timeout, ctrl_c, .. } = self;
        Ok(Runner { runtime: Some(runtime), shutdown_timeout, thread_timeout, ctrl_c })
    }
}

impl fmt::Debug for RunnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Which driver a runtime gets on this machine, and why: that of the runtime of this thread, else of one made for the
/// purpose.
///
/// # Errors
/// As [`Runner::new`].
///
/// ```
/// let report = ringio::driver_report()?;
/// assert_eq!(report.driver, "io_uring");
/// println!("{report}");
/// # std::io::Result::Ok(())
/// ```
pub fn driver_report() -> io::Result<DriverReport> {
    if let Some(Some(report)) = context::try_with(|runtime| runtime.port.report()) {
        return Ok(report);
    }
    let runner = Runner::new()?;
    runner.driver_report().ok_or_else(|| io::Error::other("the runtime is closed"))
}

/// The output of a main future is its result, whatever it is.
struct AsItIs;

impl<O> Finish<O> for AsItIs {
    type Result = O;

    fn finish(output: O) -> (O, Ending) {
        (output, Ending::Value)
    }
}

/// What came of `main`, or its panic.
type Ran<O> = Result<O, Box<dyn Any + Send>>;

fn run_main<F: IntoFuture>(runtime: &Runtime, main: F, seed: Seed, ctrl_c: bool) -> (Ran<F::Output>, Option<Vars>) {
    let Some(_inside) = context::enter(runtime) else { unreachable!("asked for before") };
    let signal = install_ctrl_c(runtime, ctrl_c);
    let birth = runtime.birth(seed.spawned_at);
    let main = main.into_future();
    // SAFETY: `Main` drops the body, or the result, before this function ends, also when it unwinds; and the runtime is
    // this thread's.
    let mut main = Main(unsafe { Typed::new::<F::IntoFuture, AsItIs>(main, birth, &runtime.inbox, &runtime.spares) });
    let task = main.0.task().clone();
    let task = &task;
    runtime.equip(task, seed);
    runtime.enroll(task);
    let mut interrupted = false;
    while !task.is_done() {
        if let Err(error) = runtime.turn(|| task.is_done()) {
            give_up(runtime, &error);
        }
        if signal.is_some() && !interrupted && interrupts() > 0 {
            interrupted = true;
            cancel_task(task);
        }
    }
    let ran = match main.0.take() {
        Some(Outcome::Value(value)) => Ok(value),
        Some(Outcome::Panic(payload)) => Err(payload),
        None => unreachable!("nobody else can take the result of main"),
    };
    (ran, task.core().vars())
}

/// The driver can do no more.
#[cold]
fn give_up(runtime: &Runtime, error: &io::Error) -> ! {
    if error.kind() != io::ErrorKind::Deadlock {
        panic!("ringio: {error}");
    }
    let tasks = runtime.all_tasks();
    let list: Vec<_> =
        tasks.iter().map(|task| format!("{} (spawned at {})", task.core().name(), task.core().spawned_at)).collect();
    panic!("ringio: {error}. Tasks that wait for ever: {}", list.join(", "));
}

/// The main task, whose body may borrow: it is gone when this is.
struct Main<R>(Typed<R>);

impl<R> Drop for Main<R> {
    fn drop(&mut self) {
        // A panic here could only hide the one that brought us here.
        drop(self.0.task().drop_body());
        drop(self.0.take());
    }
}

/// RUN9: not being able to install it is no reason not to run.
fn install_ctrl_c(runtime: &Runtime, wanted: bool) -> Option<CtrlC> {
    if !wanted {
        return None;
    }
    CtrlC::install(runtime.port.doorbell().raw_fd()).ok().flatten()
}

/// RUN7, RUN8: cancels in rounds until no task is left or the time is up.
fn finish_tasks(runtime: &Runtime, timeout: Option<Duration>) {
    let clock = runtime.port.clock();
    let end = clock.now().after(timeout.unwrap_or(Duration::MAX));
    let pause = timeout.unwrap_or(SHUTDOWN_TIMEOUT) / SHUTDOWN_ROUNDS;
    while runtime.tasks.len() > 0 {
        for task in runtime.all_tasks() {
            cancel_task(&task);
        }
        let next = clock.now().after(pause).min(end);
        // Ends the wait; it wakes nobody.
        let alarm = Alarm::Wake(Waiter::Foreign(Waker::noop().clone()));
        let key = runtime.timers.borrow_mut().insert(next, alarm);
        while runtime.tasks.len() > 0 && clock.now() < next {
            if runtime.turn(|| runtime.tasks.len() == 0).is_err() {
                return; // the ring is broken: nothing that waits for it will end
            }
        }
        let alarm = runtime.timers.borrow_mut().remove(key);
        drop(alarm);
        if clock.now() >= end {
            return report_left(runtime);
        }
    }
}

/// RUN7 (d): runs the finalizers, the last one first, each with as much time as the tasks had; then ends what they made.
fn finalize(runtime: &Runtime, timeout: Option<Duration>) {
    if runtime.finalizers.borrow().is_empty() {
        return;
    }
    while let Some(finalizer) = { runtime.finalizers.borrow_mut().pop() } {
        runtime.closing.set(false);
        let seed = Seed { name: Some("finalizer".into()), spawned_at: Location::caller(), vars: None };
        let typed = runtime.spawn::<_, AsItIs>(finalizer, seed);
        let task = typed.task();
        let _ = task.detach(); // nobody awaits it: a panic is reported
        let end = runtime.port.clock().now().after(timeout.unwrap_or(Duration::MAX));
        let alarm = Alarm::Wake(Waiter::Foreign(Waker::noop().clone()));
        let key = runtime.timers.borrow_mut().insert(end, alarm);
        while !task.is_done() && runtime.port.clock().now() < end {
            if runtime.turn(|| task.is_done()).is_err() {
                break;
            }
        }
        let alarm = runtime.timers.borrow_mut().remove(key);
        drop(alarm);
        runtime.closing.set(true);
    }
    finish_tasks(runtime, timeout);
}

/// RUN7 (e)
fn close_pool(runtime: &Runtime, timeout: Duration) {
    let left = runtime.pool.close(timeout);
    if left > 0 {
        let message = format!("{left} threads are still busy with calls given to to_thread(); they are left alone");
        let kind = ReportKind::ThreadsAbandoned;
        runtime.report(&ErrorReport { kind, task: None, spawned_at: None, message });
    }
}

/// Lets what the ends of the last tasks have called for run.
fn finish_calls(runtime: &Runtime) {
    for _ in 0..CALL_ROUNDS_MAX {
        if runtime.ready.len() == 0 || runtime.turn(|| true).is_err() {
            return;
        }
    }
}

fn report_left(runtime: &Runtime) {
    for task in runtime.all_tasks() {
        let message = format!("did not end after its cancel and is dropped; its body is {}", task.body_type());
        runtime.report_task(ReportKind::TaskAbandoned, &task, message);
    }
}
