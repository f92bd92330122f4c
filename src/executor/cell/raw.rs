//! The allocation of a task and its references. All access to a body goes through here.
#![allow(unsafe_code)] // fence: W1-W5 in the module above

use std::{
    alloc::{Layout, dealloc},
    any::Any,
    cell::{Cell, UnsafeCell},
    fmt,
    future::Future,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit, offset_of},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr::NonNull,
    sync::{Arc, atomic::AtomicPtr},
    task::{Context, Poll, Waker},
};

use super::{
    Birth, Core, Ending, Spares,
    lists::Links,
    spares::{class_of, layout_of},
    state::State,
    waker,
};
use crate::executor::{
    context,
    inbox::Inbox,
    shares::{Queued, Shared},
};

/// The part of the allocation that does not depend on the body's type.
#[repr(C)]
pub(in crate::executor) struct Header {
    table: &'static Table,
    pub(super) state: State,
    remote_queued: Queued,
    local: Cell<u32>,
    shared: Shared,
    pub(super) links: Links,
    /// The next task in the inbox.
    pub(in crate::executor) next: AtomicPtr<Header>,
    home: NonNull<Inbox>,
    core: Core,
}

/// What depends on the body's type.
struct Table {
    layout: Layout,
    /// Where `Spares` keeps memory of that layout.
    class: usize,
    /// The name of the body's type, for reports.
    body: fn() -> &'static str,
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Option<Ending>,
    fail: unsafe fn(NonNull<Header>, Box<dyn Any + Send>),
    /// Where the `Option<Outcome<R>>` is, to be taken or to be looked at; null while there is a body.
    result: unsafe fn(NonNull<Header>) -> *mut (),
    peek: unsafe fn(NonNull<Header>) -> *const (),
    drop_stage: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Whole<F, R> {
    header: Header,
    stage: UnsafeCell<Stage<F, R>>,
}

enum Stage<F, R> {
    Body(F),
    Result(Option<Outcome<R>>),
    Gone,
}

/// What came of a body.
pub(crate) enum Outcome<R> {
    Value(R),
    Panic(Box<dyn Any + Send>),
}

/// How the output of a body becomes the result of its task.
pub(crate) trait Finish<O> {
    type Result;
    fn finish(output: O) -> (Self::Result, Ending);
}

/// A reference to a task on its home thread.
pub(crate) struct TaskRef {
    header: NonNull<Header>,
}

/// A reference that knows the type of the result.
pub(crate) struct Typed<R> {
    task: TaskRef,
    _result: PhantomData<fn() -> R>,
}

impl<R> Typed<R> {
    /// Makes a task. It is not scheduled yet.
    ///
    /// # Safety
    /// When `F` or `R` is not `'static`: the task is driven to its end, or its body dropped, and its result taken, before
    /// what they borrow ends; and the runtime `home` and `spares` belong to is the one of this thread.
    pub(in crate::executor) unsafe fn new<F, M>(body: F, birth: Birth, home: &Arc<Inbox>, spares: &Spares) -> Typed<R>
    where
        F: Future,
        M: Finish<F::Output, Result = R>,
    {
        let table = const { &table::<F, R, M>() };
        // From the Arc itself, not from what it holds: W3 counts through this pointer.
        let home = NonNull::new(Arc::as_ptr(home).cast_mut()).expect("an Arc is never null");
        let memory = spares.take(table.layout, table.class).cast::<Whole<F, R>>();
        // Piece by piece: a whole would be put together elsewhere and copied.
        // SAFETY: the memory has the layout of the cell and is ours alone.
        let header: &mut MaybeUninit<Header> = unsafe { memory.cast().as_mut() };
        header.write(Header {
            table,
            state: State::new(),
            local: Cell::new(1),
            shared: Shared::new(),
            remote_queued: Queued::new(),
            links: Links::default(),
            next: AtomicPtr::new(std::ptr::null_mut()),
            home,
            core: Core::new(birth),
        });
        // SAFETY: the stage is inside the cell.
        let stage = unsafe { memory.byte_add(offset_of!(Whole<F, R>, stage)) };
        // SAFETY: as for the header.
        unsafe { stage.cast().write(UnsafeCell::new(Stage::<F, R>::Body(body))) };
        Typed { task: TaskRef { header: memory.cast() }, _result: PhantomData }
    }

    /// Makes a task that borrows nothing.
    pub(in crate::executor) fn of_static<F, M>(body: F, birth: Birth, home: &Arc<Inbox>, spares: &Spares) -> Typed<R>
    where
        F: Future + 'static,
        R: 'static,
        M: Finish<F::Output, Result = R>,
    {
        // SAFETY: nothing is borrowed; a runtime makes tasks of its own.
        unsafe { Typed::new::<F, M>(body, birth, home, spares) }
    }

    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// The result, if the task is done and nobody took it before.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Outcome<R>> {
        self.task.header().state.saw();
        // SAFETY: the header is alive; the function returns an `Option<Outcome<R>>` for this very `R`, because a
        // `Typed<R>` is made in `new` alone.
        let place: *mut Option<Outcome<R>> = unsafe { (self.task.header().table.result)(self.task.header) }.cast();
        // SAFETY: the result stays there while `self` does; only who has `self` refers to it, and that is us alone.
        let taken = unsafe { place.as_mut() }?.take();
        self.task.header().state.set_empty(true);
        taken
    }

    /// The result where it is, if the task is done and nobody took it.
    pub(crate) fn get(&self) -> Option<&Outcome<R>> {
        if !self.task.is_done() {
            return None; // its body may be what calls us
        }
        self.task.header().state.saw();
        // SAFETY: as in `take`.
        let place: *const Option<Outcome<R>> = unsafe { (self.task.header().table.peek)(self.task.header) }.cast();
        // SAFETY: as in `take`, which nobody can call while this borrow of `self` lasts.
        unsafe { place.as_ref() }?.as_ref()
    }
}

impl TaskRef {
    /// Without counting a reference.
    ///
    /// # Safety
    /// W2: there is a reference that lasts for as long as this one is used.
    #[inline]
    pub(super) unsafe fn uncounted(header: NonNull<Header>) -> ManuallyDrop<TaskRef> {
        ManuallyDrop::new(TaskRef { header })
    }

    #[inline]
    pub(super) fn as_header(&self) -> NonNull<Header> {
        self.header
    }

    /// The reference as a pointer; it stays counted.
    #[inline]
    pub(super) fn into_header(self) -> NonNull<Header> {
        ManuallyDrop::new(self).header
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: W2: the header lives as long as a reference.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        &self.header().core
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.header().state.is_done()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.header().state.is_cancelled()
    }

    /// In the run queue, or on its way there.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.header().state.is_scheduled() || self.header().remote_queued.is_in()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.header().state.has_failed()
    }

    pub(crate) fn body_type(&self) -> &'static str {
        (self.header().table.body)()
    }

    /// The handle is gone; true when an error goes with it unseen.
    #[must_use]
    pub(crate) fn detach(&self) -> bool {
        self.header().state.detach()
    }

    /// Whether its handle is gone.
    pub(crate) fn is_detached(&self) -> bool {
        self.header().state.is_detached()
    }

    /// How it ends is nobody's business any more, now or later.
    pub(crate) fn silence(&self) {
        self.header().state.silence();
    }

    /// Somebody has looked at how it ended.
    pub(crate) fn saw(&self) {
        self.header().state.saw();
    }

    /// Puts the task into its runtime's run queue, unless it is there. A task that is not done has a runtime.
    #[inline]
    pub(crate) fn schedule(&self) {
        if self.mark_scheduled() {
            context::push_ready(self.header().home, self.clone());
        }
    }

    /// True when the caller has to put the task into the run queue.
    #[must_use]
    #[inline]
    pub(in crate::executor) fn mark_scheduled(&self) -> bool {
        self.header().state.schedule()
    }

    pub(in crate::executor) fn home(&self) -> NonNull<Inbox> {
        self.header().home
    }

    /// Polls the body once. Returns how it ended, if it did. A panic of the body comes out of here: call `fail` then.
    #[inline]
    pub(in crate::executor) fn run(&self) -> Option<Ending> {
        if !self.header().state.start() {
            return None;
        }
        let waker = waker::borrowed(self.header);
        let mut cx = Context::from_waker(&waker);
        // SAFETY: W5: we are the turn, and the body is not being polled: a task runs once at a time.
        unsafe { (self.header().table.poll)(self.header, &mut cx) }
    }

    /// The body has panicked: drops what is left of it, and keeps the panic as its result.
    pub(in crate::executor) fn fail(&self, payload: Box<dyn Any + Send>) {
        // SAFETY: W5: we are the turn, and the body is not being polled any more.
        unsafe { (self.header().table.fail)(self.header, payload) }
    }

    /// Marks the task done and wakes who waits for it; true when an error goes unseen.
    #[must_use]
    #[inline]
    pub(in crate::executor) fn end(&self, ending: Ending) -> bool {
        let unseen = self.header().state.end(ending);
        self.core().wake_joiners();
        unseen
    }

    /// Drops the body of a task that will not be polled again. A panic in it is returned.
    pub(in crate::executor) fn drop_body(&self) -> Result<(), Box<dyn Any + Send>> {
        self.header().state.set_empty(true);
        // SAFETY: W5: only the close of a runtime does this, when no task runs.
        catch_unwind(AssertUnwindSafe(|| unsafe { (self.header().table.drop_stage)(self.header) }))
    }

    /// The task of this thread's runtime that `waker` wakes, if it is one.
    pub(crate) fn of_waker(waker: &Waker) -> Option<TaskRef> {
        let header = waker::task_at_home(waker)?;
        // SAFETY: the waker keeps the header alive.
        let local = unsafe { &header.as_ref().local };
        if local.get() == 0 {
            return None; // over: its result is gone too
        }
        local.set(local.get() + 1);
        Some(TaskRef { header })
    }

    #[inline]
    pub(crate) fn is_woken_by(&self, waker: &Waker) -> bool {
        waker::is_of(waker, self.header)
    }

    pub(crate) fn is(&self, other: &TaskRef) -> bool {
        self.header == other.header
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> TaskRef {
        let local = &self.header().local;
        local.set(local.get() + 1);
        TaskRef { header: self.header }
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let local = &self.header().local;
        if local.get() > 1 {
            local.set(local.get() - 1);
        } else {
            self.drop_last();
        }
    }
}

impl TaskRef {
    #[cold]
    fn drop_last(&self) {
        // The last one. What the stage still holds goes first, while the count is not zero: it may refer to the task.
        if !self.header().state.is_empty() {
            // SAFETY: W5: a task that is being polled is referred to by the turn, so this is not one.
            unsafe { (self.header().table.drop_stage)(self.header) };
        }
        self.core().clear();
        let local = &self.header().local;
        local.set(local.get() - 1);
        if local.get() == 0 {
            // SAFETY: the one shared reference that stood for all local ones.
            unsafe { release_shared(self.header, true) }
        }
    }
}

// ---- what the wakers do; any thread

/// # Safety
/// The header is alive.
pub(super) unsafe fn add_shared(header: NonNull<Header>) {
    // SAFETY: passed on.
    let header = unsafe { header.as_ref() };
    if header.shared.add() {
        // SAFETY: W3: the first waker is cloned from a reference that keeps the runtime alive.
        unsafe { Arc::increment_strong_count(header.home.as_ptr()) };
    }
}

/// # Safety
/// The header is alive, and the caller's shared reference goes. `at_home`: on the home thread, in a runtime's context.
pub(super) unsafe fn release_shared(header: NonNull<Header>, at_home: bool) {
    // SAFETY: passed on.
    if unsafe { header.as_ref() }.shared.release() {
        // SAFETY: W2: it was the last reference.
        unsafe { free(header, at_home) }
    }
}

/// # Safety
/// No reference is left.
unsafe fn free(header: NonNull<Header>, at_home: bool) {
    // SAFETY: passed on; read out before the memory goes.
    let (table, home, holds_home) = {
        // SAFETY: as above.
        let header = unsafe { header.as_ref() };
        (header.table, header.home, header.shared.holds_home())
    };
    // There is nothing left to drop in the core: it was cleared with the last local reference.
    if holds_home {
        // SAFETY: W3: the reference that the first waker took.
        unsafe { Arc::decrement_strong_count(home.as_ptr()) };
    }
    if !(at_home && context::try_with(|runtime| runtime.spares.keep(header.cast(), table.class)) == Some(true)) {
        // SAFETY: made by `Spares::take` with this layout.
        unsafe { dealloc(header.as_ptr().cast(), table.layout) }
    }
}

/// Wakes the task from wherever we are.
///
/// # Safety
/// The header is alive.
pub(super) unsafe fn wake(header: NonNull<Header>) {
    // SAFETY: passed on.
    let task = unsafe { header.as_ref() };
    let at_home = context::with_home(task.home, |runtime| {
        if task.local.get() > 0 && task.state.schedule() {
            task.local.set(task.local.get() + 1);
            runtime.ready.push(TaskRef { header });
        }
    });
    if at_home.is_some() {
        return;
    }
    if task.remote_queued.enter() {
        // SAFETY: W4: the inbox gets a shared reference of its own.
        unsafe { add_shared(header) };
        // SAFETY: W3: a waker exists, so the task holds a reference to its home.
        let home = unsafe { task.home.as_ref() };
        if !home.push(header) {
            // SAFETY: the reference made above; the runtime is gone.
            unsafe { release_shared(header, false) }
        }
    }
}

/// A task that came out of the inbox: schedules it, and gives back the inbox's reference.
pub(in crate::executor) fn release_from_inbox(header: NonNull<Header>, schedule: bool) {
    {
        // SAFETY: the inbox's reference keeps it alive.
        let task = unsafe { header.as_ref() };
        // Before it is scheduled: a wake from now on queues it again (W4).
        task.remote_queued.leave();
        if schedule && task.local.get() > 0 && task.state.schedule() {
            task.local.set(task.local.get() + 1);
            context::push_ready(task.home, TaskRef { header });
        }
    }
    // SAFETY: W4: the inbox's reference.
    unsafe { release_shared(header, schedule) }
}

impl Header {
    pub(super) fn home(&self) -> NonNull<Inbox> {
        self.home
    }
}

// ---- what depends on the type of the body

const fn table<F: Future, R, M: Finish<F::Output, Result = R>>() -> Table {
    let layout = layout_of::<Whole<F, R>>();
    Table {
        layout,
        class: class_of(layout),
        body: std::any::type_name::<F>,
        poll: poll::<F, R, M>,
        fail: fail::<F, R>,
        result: result::<F, R>,
        peek: peek::<F, R>,
        drop_stage: drop_stage::<F, R>,
    }
}

/// # Safety
/// The header is that of a `Whole<F, R>`; home thread.
unsafe fn stage<F, R>(header: NonNull<Header>) -> *mut Stage<F, R> {
    // SAFETY: passed on.
    unsafe { header.cast::<Whole<F, R>>().as_ref() }.stage.get()
}

/// # Safety
/// As for `stage`, and W5.
unsafe fn poll<F, R, M>(header: NonNull<Header>, cx: &mut Context<'_>) -> Option<Ending>
where
    F: Future,
    M: Finish<F::Output, Result = R>,
{
    // SAFETY: passed on.
    let stage = unsafe { stage::<F, R>(header) };
    let output = {
        // SAFETY: W5: nobody else refers to the stage while its body is polled or dropped.
        let Stage::Body(body) = (unsafe { &mut *stage }) else { return None };
        // SAFETY: the body is not moved until it is dropped in place.
        match unsafe { Pin::new_unchecked(body) }.poll(cx) {
            Poll::Pending => return None,
            Poll::Ready(output) => output,
        }
    };
    // The body goes before anybody sees its result. A panic on the way is the task's own.
    empty(stage);
    let (result, ending) = M::finish(output);
    // SAFETY: W5; `empty` left `Gone` behind.
    unsafe { stage.write(Stage::Result(Some(Outcome::Value(result)))) };
    Some(ending)
}

/// # Safety
/// As for `stage`, and W5.
unsafe fn fail<F, R>(header: NonNull<Header>, payload: Box<dyn Any + Send>) {
    // SAFETY: passed on.
    let stage = unsafe { stage::<F, R>(header) };
    // A second panic while the body of the first one goes says nothing more.
    drop(catch_unwind(AssertUnwindSafe(|| empty(stage))));
    // SAFETY: W5; `empty` left `Gone` behind.
    unsafe { stage.write(Stage::Result(Some(Outcome::Panic(payload)))) };
}

/// Drops what the stage holds, in place, and leaves `Gone` behind even if that panics.
fn empty<F, R>(stage: *mut Stage<F, R>) {
    struct Gone<F, R>(*mut Stage<F, R>);
    impl<F, R> Drop for Gone<F, R> {
        fn drop(&mut self) {
            // SAFETY: the old content was dropped, or its drop has panicked: it is not to be dropped again.
            unsafe { self.0.write(Stage::Gone) }
        }
    }
    let gone = Gone(stage);
    // SAFETY: W5: nobody else refers to the stage; the guard makes sure that it is dropped once.
    unsafe { std::ptr::drop_in_place(gone.0) }
}

/// # Safety
/// As for `stage`.
unsafe fn result<F, R>(header: NonNull<Header>) -> *mut () {
    // SAFETY: passed on.
    let stage = unsafe { stage::<F, R>(header) };
    // SAFETY: only looks at which stage it is: home thread, so nobody changes it meanwhile.
    match unsafe { &mut *stage } {
        Stage::Result(outcome) => (&raw mut *outcome).cast(),
        Stage::Body(_) | Stage::Gone => std::ptr::null_mut(),
    }
}

/// # Safety
/// As for `stage`; the task is done.
unsafe fn peek<F, R>(header: NonNull<Header>) -> *const () {
    // SAFETY: passed on.
    let stage = unsafe { stage::<F, R>(header) };
    // SAFETY: W5: the body is gone, so that nobody refers to it; others may be looking as we do.
    match unsafe { &*stage } {
        Stage::Result(outcome) => (&raw const *outcome).cast(),
        Stage::Body(_) | Stage::Gone => std::ptr::null(),
    }
}

/// # Safety
/// As for `stage`, and W5.
unsafe fn drop_stage<F, R>(header: NonNull<Header>) {
    // SAFETY: passed on.
    empty(unsafe { stage::<F, R>(header) });
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.core().id)
    }
}
