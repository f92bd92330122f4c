//! Everything one runtime has: its port to the kernel, its tasks, its timers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    ops::Deref,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use slab::Slab;

use super::{
    Ending, ErrorReport, Finish, ReportKind, TaskRef, Typed,
    cell::{Birth, Callback, Core, Ready, Registry, Spares},
    context::{self, Alive, Lent},
    debug::Debug,
    edges::Family,
    inbox::Inbox,
    mailbox::Mailbox,
    pool::Pool,
    report::{Handler, print},
    timers::Timers,
    vars::{Vars, current_vars},
};
use crate::{driver::Config, op::Port, scope::Scope};

pub(crate) struct Runtime {
    pub(crate) port: Rc<Port>,
    pub(crate) timers: RefCell<Timers>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) ready: Ready,
    pub(super) tasks: Registry,
    /// The task that is being polled, and the scope it is in; no scope is its root scope.
    pub(super) current: Lent<TaskRef>,
    pub(super) scope: Lent<Rc<Scope>>,
    /// Of those that were left, for the next ones.
    pub(crate) scopes: RefCell<Vec<Rc<Scope>>>,
    /// A context that was entered for a while, or that of what belongs to no task.
    pub(super) ambient: RefCell<Option<Vars>>,
    /// The context of main futures, once there is one.
    pub(super) base: RefCell<Option<Vars>>,
    /// Waits that the current task may still find ready before it has to let others run.
    pub(super) budget: Cell<u32>,
    pub(super) spares: Spares,
    /// For calls that block.
    pub(crate) pool: Pool,
    pub(super) mailbox: RefCell<Option<(Arc<Mailbox>, TaskRef)>>,
    /// Tasks that other threads have asked for, by their ids.
    pub(super) guests: RefCell<BTreeMap<u64, TaskRef>>,
    pub(super) debug: Debug,
    pub(super) families: RefCell<Slab<Weak<dyn Family>>>,
    /// What tasks wait for, by their ids, where it is noted down.
    pub(super) notes: RefCell<Slab<(u64, &'static str)>>,
    /// To be run at the end, the last one first.
    pub(super) finalizers: RefCell<Vec<Finalizer>>,
    /// New tasks are cancelled at once.
    pub(super) closing: Cell<bool>,
    pub(super) alive: Alive,
    /// Tasks that nobody sees, which run until the end: such as answer whoever asks for the tasks.
    pub(super) attendants: RefCell<Vec<TaskRef>>,
    pub(super) inspected: Cell<bool>,
    ids: Cell<(u64, u64)>,
    handler: Handler,
}

/// What is set beside the driver.
pub(super) struct Settings {
    pub(super) threads_max: usize,
    pub(super) debug: Debug,
}

/// What a runtime does at its end.
pub(crate) type Finalizer = Pin<Box<dyn Future<Output = ()>>>;

/// What a new task is made with.
pub(crate) struct Seed {
    pub(crate) name: Option<Rc<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    /// Shared with whoever gave it; otherwise the task gets a copy of its creator's.
    pub(crate) vars: Option<Vars>,
}

/// Task ids are unique in the process; a runtime takes so many at a time.
static NEXT_IDS: AtomicU64 = AtomicU64::new(1);
const IDS: u64 = 1024;

/// How many waits in a row may find what they wait for before the task has to let others run (S4).
pub(super) const BUDGET: u32 = 128;

impl Runtime {
    pub(super) fn open(config: &Config, handler: Option<Handler>, settings: Settings) -> io::Result<Home> {
        let port = Rc::new(Port::open(config)?);
        let runtime = Rc::new(Runtime {
            inbox: Arc::new(Inbox::new(port.doorbell().clone())),
            port,
            timers: RefCell::default(),
            ready: Ready::default(),
            tasks: Registry::default(),
            current: Lent::default(),
            scope: Lent::default(),
            scopes: RefCell::default(),
            ambient: RefCell::new(None),
            base: RefCell::new(current_vars().and_then(|vars| vars.copied())),
            budget: Cell::new(BUDGET),
            spares: Spares::default(),
            pool: Pool::new(settings.threads_max),
            mailbox: RefCell::new(None),
            guests: RefCell::default(),
            debug: settings.debug,
            families: RefCell::default(),
            notes: RefCell::default(),
            finalizers: RefCell::default(),
            closing: Cell::new(false),
            alive: Alive::default(),
            attendants: RefCell::default(),
            inspected: Cell::new(false),
            ids: Cell::new((0, 0)),
            handler: handler.unwrap_or_else(|| Rc::new(print)),
        });
        Alive::begin(&runtime);
        Ok(Home(runtime))
    }

    /// Makes a task and puts it into the run queue.
    pub(crate) fn spawn<F, M>(&self, body: F, seed: Seed) -> Typed<M::Result>
    where
        F: Future + 'static,
        M: Finish<F::Output>,
        M::Result: 'static,
    {
        let typed = self.make::<F, M>(body, seed);
        self.enroll(typed.task());
        typed
    }

    /// Makes a task, calls `made` with it, and runs its first step at once (EG1). If that is its last one, the task never
    /// gets into the run queue.
    pub(crate) fn spawn_eager<F, M>(&self, body: F, seed: Seed, made: impl FnOnce(&TaskRef)) -> Typed<M::Result>
    where
        F: Future + 'static,
        M: Finish<F::Output>,
        M::Result: 'static,
    {
        let typed = self.make::<F, M>(body, seed);
        let task = typed.task();
        self.register(task);
        made(task);
        let entered = self.ambient.take();
        let run = || self.scope.without(|| self.current.during(task, || task.run()));
        let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
            task.fail(payload);
            Some(Ending::Panic)
        });
        drop(self.ambient.replace(entered));
        if let Some(ending) = ended {
            self.end(task, ending);
        }
        typed
    }

    /// Runs `body` as a task that nobody sees, from the next turn on; the end of the runtime does not wait for it.
    pub(crate) fn spawn_unlisted(&self, body: impl Future<Output = ()> + 'static) -> TaskRef {
        struct Nothing;
        impl Finish<()> for Nothing {
            type Result = ();
            fn finish((): ()) -> ((), Ending) {
                ((), Ending::Value)
            }
        }
        let birth = Birth { id: 0, spawned_at: Location::caller() };
        let typed = Typed::of_static::<_, Nothing>(body, birth, &self.inbox, &self.spares);
        self.schedule(typed.task());
        typed.task().clone()
    }

    /// As `spawn_unlisted`; it is dropped at the end of the runtime.
    pub(crate) fn attend(&self, body: impl Future<Output = ()> + 'static) {
        let task = self.spawn_unlisted(body);
        self.attendants.borrow_mut().push(task);
    }

    /// T6, T7: each in its context, on a later turn; one that panics keeps nobody from being called.
    pub(crate) fn call_back(&self, task: TaskRef, callbacks: Vec<Callback>) {
        self.spawn_unlisted(async move {
            for callback in callbacks {
                let subject = task.clone();
                context::with(|runtime| {
                    let call = || runtime.outside(callback.vars, || (callback.call)(subject));
                    if catch_unwind(AssertUnwindSafe(call)).is_err() {
                        let message = "a done callback of this task panicked".to_owned();
                        runtime.report_task(ReportKind::PanicInCallback, &task, message);
                    }
                });
            }
        });
    }

    #[inline]
    fn make<F, M>(&self, body: F, seed: Seed) -> Typed<M::Result>
    where
        F: Future + 'static,
        M: Finish<F::Output>,
        M::Result: 'static,
    {
        let typed = Typed::of_static::<F, M>(body, self.birth(seed.spawned_at), &self.inbox, &self.spares);
        self.equip(typed.task(), seed);
        typed
    }

    /// Gives a new task what it has beside its body.
    #[inline]
    pub(super) fn equip(&self, task: &TaskRef, seed: Seed) {
        if seed.name.is_some() || seed.vars.is_some() || self.may_have_vars() {
            self.dress(task.core(), seed);
        }
    }

    #[cold]
    fn dress(&self, core: &Core, seed: Seed) {
        let vars = seed.vars.or_else(|| self.inherited());
        if let Some(vars) = vars {
            core.set_vars(vars);
        }
        if let Some(name) = seed.name {
            core.set_name(name);
        }
    }

    /// Puts a task of this runtime into the run queue, unless it is there.
    #[inline]
    pub(crate) fn schedule(&self, task: &TaskRef) {
        if task.mark_scheduled() {
            self.ready.push(task.clone());
        }
    }

    /// Puts a new task into the registry and the run queue.
    #[inline]
    pub(super) fn enroll(&self, task: &TaskRef) {
        self.register(task);
        self.schedule(task);
    }

    #[inline]
    fn register(&self, task: &TaskRef) {
        self.tasks.insert(task.clone());
        if self.closing.get() {
            crate::scope::cancel_task(task);
        }
    }

    /// A number of the task that is the same in every run of the same program, if not alone its own. Tasks that nobody sees
    /// have the id zero, and share a number.
    pub(super) fn number_of(&self, task: &TaskRef) -> u64 {
        task.core().id % IDS
    }

    #[inline]
    pub(super) fn birth(&self, spawned_at: &'static Location<'static>) -> Birth {
        Birth { id: self.next_id(), spawned_at }
    }

    #[inline]
    fn next_id(&self) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = NEXT_IDS.fetch_add(IDS, Ordering::Relaxed);
            end = next + IDS;
        }
        self.ids.set((next + 1, end));
        next
    }

    /// A task has ended: takes it out of the registry, wakes who waits, reports what nobody will see.
    #[inline]
    pub(super) fn end(&self, task: &TaskRef, ending: Ending) {
        let unseen = task.end(ending);
        self.forget(task);
        if task.core().has_extra() {
            let callbacks = task.core().take_callbacks();
            if !callbacks.is_empty() {
                self.call_back(task.clone(), callbacks);
            }
        }
        if unseen {
            self.report_unseen(task, ending);
        }
        // Nobody will take the result: it goes here, where a panic of its destructor harms nobody.
        if task.is_detached() {
            self.drop_stage(task);
        }
    }

    /// Drops the body or the result of a task that will not be polled again.
    fn drop_stage(&self, task: &TaskRef) {
        if task.drop_body().is_err() {
            self.report_task(ReportKind::PanicInDrop, task, "panicked while it was dropped".to_owned());
        }
    }

    #[inline]
    fn forget(&self, task: &TaskRef) {
        drop(self.tasks.remove(task));
    }

    fn report_unseen(&self, task: &TaskRef, ending: Ending) {
        let (kind, message) = match ending {
            Ending::Panic => (ReportKind::PanicNeverRetrieved, "panicked, and nobody awaited it"),
            Ending::Error | Ending::Value | Ending::Cancelled => {
                (ReportKind::ErrorNeverRetrieved, "ended with an error that nobody looked at")
            }
        };
        self.report_task(kind, task, message.to_owned());
    }

    pub(super) fn report_task(&self, kind: ReportKind, task: &TaskRef, message: String) {
        let core = task.core();
        self.report(&ErrorReport { kind, task: Some(core.name()), spawned_at: Some(core.spawned_at), message });
    }

    pub(crate) fn report(&self, report: &ErrorReport) {
        // E3: a handler that fails is replaced by the default one for this report.
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(report))).is_err() {
            print(report);
        }
    }

    pub(crate) fn all_tasks(&self) -> Vec<TaskRef> {
        let mut tasks = self.tasks.all();
        tasks.sort_by_key(|task| task.core().id);
        tasks
    }

    /// Takes one from the budget; false when it is used up.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    /// Closes everything. What is dropped on the way may panic without harm to the rest.
    pub(super) fn close(&self) {
        self.inbox.close();
        std::iter::from_fn(|| self.ready.pop()).for_each(drop);
        let alarms = self.timers.borrow_mut().take_all();
        drop(alarms);
        let mut refused = self.port.teardown();
        if !refused.is_empty() {
            refused.sort_unstable();
            let message = format!("{} operations did not end in time: {}", refused.len(), refused.join(", "));
            self.report(&ErrorReport { kind: ReportKind::OperationsLeaked, task: None, spawned_at: None, message });
        }
    }

    /// Drops the bodies of tasks that did not end.
    pub(super) fn drop_tasks(&self) {
        let attendants = self.attendants.take();
        for attendant in attendants {
            self.drop_stage(&attendant);
            self.end(&attendant, Ending::Cancelled);
        }
        for task in self.all_tasks() {
            self.drop_stage(&task);
            self.end(&task, Ending::Cancelled);
        }
    }
}

/// A runtime at an address that does not change, where this thread finds it. Not in a box: that may not be pointed at from
/// elsewhere.
pub(super) struct Home(Rc<Runtime>);

impl Deref for Home {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.0
    }
}

impl Drop for Home {
    /// Before the runtime itself goes, which nobody may find half gone.
    fn drop(&mut self) {
        Alive::end(&self.0);
    }
}

/// Reports a panic of what a task that is over had.
pub(super) fn report_panic_in_drop() {
    let message = "a callback or a context variable of a task panicked while it was dropped".to_owned();
    let report = ErrorReport { kind: ReportKind::PanicInDrop, task: None, spawned_at: None, message };
    context::try_with(|runtime| runtime.report(&report));
}

/// Calls back for a task that is done already.
pub(crate) fn call_back(task: &TaskRef, callback: Callback) {
    context::with_home(task.home(), |runtime| runtime.call_back(task.clone(), vec![callback]));
}

/// Reports an error that went with the handle of its task, to the runtime of the task if there still is one.
pub(crate) fn report_unseen(task: &TaskRef, ending: Ending) {
    context::with_home(task.home(), |runtime| runtime.report_unseen(task, ending));
}
