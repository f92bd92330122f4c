//! Queues between tasks of one thread.
//!
//! An item that is put while somebody waits for one is handed to the first in line (Q6), so while anybody waits to get, the
//! queue is empty. Who waits for room has the item in its place in line; whoever makes room moves it into the queue. So
//! while anybody waits to put, the queue is full.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    marker::PhantomData,
    ops::Deref,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{
    order::{Fifo, Order},
    taking::{Source, Taking},
    wait_list::{Place, Stage, WaitList, next_number},
};
use crate::{
    error::{CancelledError, GetError, PutError, QueueEmpty, QueueFull, QueueShutDown, TaskDoneError},
    error::{TryGetError, TryPutError},
    executor::context,
};

/// A queue between tasks of one thread: first in, first out, for items as for those who wait. Clones are the same queue.
///
/// ```
/// # ringio::run(async {
/// let queue = ringio::Queue::new(10);
/// let worker = ringio::create_task({
///     let queue = queue.clone();
///     async move {
///         let mut sum = 0;
///         while let Ok(number) = queue.get().await {
///             sum += number;
///             queue.task_done()?;
///         }
///         Ok::<_, ringio::Error>(sum)
///     }
/// });
/// for number in 1..=4 {
///     queue.put(number).await?;
/// }
/// queue.join().await?;
/// queue.shutdown(false);
/// assert_eq!(worker.await?, 10);
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.Queue")]
pub struct Queue<T, O: Order<T> = Fifo<T>> {
    hub: Pin<Rc<Hub<T, O>>>,
}

pin_project! {
    struct Hub<T, O> where O: Order<T> {
        items: RefCell<O>,
        // `usize::MAX` for no limit.
        limit: usize,
        // The same while items may come in, zero from the shutdown on.
        room: Cell<usize>,
        // Items that were put and not yet reported as done.
        unfinished: Cell<usize>,
        shut: Cell<Shut>,
        senders: Cell<usize>,
        // `None` is for those whom a shutdown sends away.
        #[pin]
        getters: WaitList<Option<O::Kept>>,
        #[pin]
        putters: WaitList<T>,
        #[pin]
        joiners: WaitList<()>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shut {
    No,
    Draining,
    Immediate,
}

impl<T> Queue<T> {
    /// A queue for `maxsize` items; zero is for as many as there is memory for.
    #[track_caller]
    pub fn new(maxsize: usize) -> Queue<T> {
        Queue::with_order(maxsize)
    }

    /// A queue without a limit.
    #[track_caller]
    pub fn unbounded() -> Queue<T> {
        Queue::new(0)
    }
}

impl<T, O: Order<T>> Queue<T, O> {
    #[track_caller]
    pub(super) fn with_order(maxsize: usize) -> Queue<T, O> {
        let limit = if maxsize == 0 { usize::MAX } else { maxsize };
        let hub = Hub {
            items: RefCell::default(),
            limit,
            room: Cell::new(limit),
            unfinished: Cell::new(0),
            shut: Cell::new(Shut::No),
            senders: Cell::new(0),
            getters: WaitList::new(const { &[O::NAME, "get"] }, Location::caller()),
            putters: WaitList::new(const { &[O::NAME, "put"] }, Location::caller()),
            joiners: WaitList::new(const { &[O::NAME, "join"] }, Location::caller()),
        };
        Queue { hub: Rc::pin(hub) }
    }

    /// Puts an item, waiting for room if there is none.
    ///
    /// # Errors
    /// [`PutError`], with the item, if the queue is or was shut down, a cancel came while it waited, or the time of a
    /// [`wait_for`](crate::wait_for) around it ran out.
    ///
    /// # Cancellation
    /// **Nothing lost**: the item comes back in the error. When it has entered the queue already, it was put, and the
    /// cancel is left for the next wait.
    #[doc(alias = "asyncio.Queue.put")]
    #[inline]
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), PutError<T>>> {
        Putting { hub: self.hub.as_ref(), put: Put::New { item: Some(item) } }
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`TryPutError`], with the item, if there is none or the queue was shut down.
    #[doc(alias = "asyncio.Queue.put_nowait")]
    #[inline]
    pub fn put_nowait(&self, item: T) -> Result<(), TryPutError<T>> {
        self.hub.try_enter(item).map_err(|item| match self.hub.shut.get() {
            Shut::No => TryPutError::Full(QueueFull(item)),
            Shut::Draining | Shut::Immediate => TryPutError::ShutDown(QueueShutDown(item)),
        })
    }

    /// Gets the next item, waiting for it if there is none. Whoever asks first gets first.
    ///
    /// # Errors
    /// [`GetError`], if the queue is empty and was shut down, or a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: an item on its way to a cancelled waiter is the next one again.
    #[doc(alias = "asyncio.Queue.get")]
    #[inline]
    pub fn get(&self) -> impl Future<Output = Result<T, GetError>> {
        Getting { taking: Taking::new(Item(self.hub.as_ref(), PhantomData)) }
    }

    /// Gets the next item if there is one.
    ///
    /// # Errors
    /// [`TryGetError`], if there is none.
    #[doc(alias = "asyncio.Queue.get_nowait")]
    #[inline]
    pub fn get_nowait(&self) -> Result<T, TryGetError> {
        match self.hub.leave() {
            Some(kept) => Ok(O::release(kept)),
            None if self.hub.shut.get() == Shut::No => Err(TryGetError::Empty(QueueEmpty)),
            None => Err(TryGetError::ShutDown(QueueShutDown(()))),
        }
    }

    /// Waits until each item that was put was reported as [done](Queue::task_done).
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: there is nothing to lose.
    #[doc(alias = "asyncio.Queue.join")]
    pub async fn join(&self) -> Result<(), CancelledError> {
        Taking::new(Finished(self.hub.as_ref())).await
    }

    /// Reports that the work on one item is done.
    ///
    /// # Errors
    /// When this was said of all items already. Nothing changes.
    #[doc(alias = "asyncio.Queue.task_done")]
    #[inline]
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        if self.hub.unfinished.get() == 0 {
            return Err(TaskDoneError);
        }
        self.hub.finish(1);
        Ok(())
    }

    /// No more items go in: puts fail, waiting ones too, with their items. What is in the queue can still be got, unless
    /// `immediate`: then it is dropped, and counts as done.
    #[doc(alias = "asyncio.Queue.shutdown")]
    pub fn shutdown(&self, immediate: bool) {
        let hub = &self.hub;
        let shut = if immediate { Shut::Immediate } else { Shut::Draining };
        if hub.shut.get() != Shut::Immediate {
            hub.shut.set(shut);
        }
        hub.room.set(0);
        let dropped = if immediate { hub.items.take() } else { O::default() };
        hub.finish(dropped.len());
        while let Some(((), waiter)) = hub.getters.grant(|slot| slot.set(Some(None))) {
            waiter.wake();
        }
        // Granted with the item still in its slot: it was not put.
        while let Some(((), waiter)) = hub.putters.grant(|_| ()) {
            waiter.wake();
        }
        drop(dropped);
    }

    /// A way in that shuts the queue down, not immediately, when it and all its clones are gone.
    ///
    /// ```
    /// # ringio::run(async {
    /// let queue = ringio::Queue::new(1);
    /// for start in [0, 10] {
    ///     let sender = queue.sender();
    ///     ringio::create_task(async move {
    ///         for number in start..start + 3 {
    ///             sender.put(number).await?;
    ///         }
    ///         Ok::<_, ringio::Error>(())
    ///     });
    /// }
    /// let mut count = 0;
    /// while let Ok(_number) = queue.get().await {
    ///     count += 1;
    /// }
    /// assert_eq!(count, 6);
    /// # });
    /// ```
    pub fn sender(&self) -> QueueSender<T, O> {
        self.hub.senders.set(self.hub.senders.get() + 1);
        QueueSender { queue: self.clone() }
    }

    /// The items, one after the other, until the queue is shut down and empty: a [`Stream`], or
    /// [`next`](Items::next) without one.
    pub fn items(&self) -> Items<T, O> {
        Items { getting: Box::pin(Taking::new(Item(self.hub.clone(), PhantomData))), over: false }
    }

    /// How many items are in the queue.
    #[doc(alias = "asyncio.Queue.qsize")]
    pub fn qsize(&self) -> usize {
        self.hub.items.borrow().len()
    }

    /// How many items there is room for; zero if there is no limit.
    #[doc(alias = "asyncio.Queue.maxsize")]
    pub fn maxsize(&self) -> usize {
        if self.hub.limit == usize::MAX { 0 } else { self.hub.limit }
    }

    /// Whether nothing is in the queue.
    #[doc(alias = "asyncio.Queue.empty")]
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether there is no room left.
    #[doc(alias = "asyncio.Queue.full")]
    #[inline]
    pub fn full(&self) -> bool {
        self.hub.is_full()
    }

    /// What is in the queue and who waits.
    pub fn statistics(&self) -> QueueStatistics {
        QueueStatistics {
            items: self.qsize(),
            maxsize: self.maxsize(),
            unfinished: self.hub.unfinished.get(),
            getting: self.hub.getters.count(),
            putting: self.hub.putters.count(),
            joining: self.hub.joiners.count(),
            shut_down: self.hub.shut.get() != Shut::No,
        }
    }
}

impl<T, O: Order<T>> Clone for Queue<T, O> {
    fn clone(&self) -> Queue<T, O> {
        Queue { hub: self.hub.clone() }
    }
}

impl<T: fmt::Debug, O: Order<T>> fmt::Debug for Queue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.statistics();
        write!(f, "<{} maxsize={}", O::NAME, state.maxsize)?;
        if state.items > 0 {
            f.write_str(" _queue=")?;
            self.hub.items.borrow().list(f)?;
        }
        for (name, waiting) in [("getters", state.getting), ("putters", state.putting)] {
            if waiting > 0 {
                write!(f, " _{name}[{waiting}]")?;
            }
        }
        if state.unfinished > 0 {
            write!(f, " tasks={}", state.unfinished)?;
        }
        f.write_str(if state.shut_down { " shutdown>" } else { ">" })
    }
}

/// What [`Queue::statistics`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatistics {
    /// Items in the queue.
    pub items: usize,
    /// How many there is room for; zero if there is no limit.
    pub maxsize: usize,
    /// Items that were put and not reported as done.
    pub unfinished: usize,
    /// Tasks that wait for an item.
    pub getting: usize,
    /// Tasks that wait for room.
    pub putting: usize,
    /// Tasks that wait for all to be done.
    pub joining: usize,
    /// Whether it was shut down.
    pub shut_down: bool,
}

impl<T, O: Order<T>> Hub<T, O> {
    #[inline]
    fn is_full(&self) -> bool {
        self.items.borrow().len() >= self.limit
    }

    /// An item comes in, if there is room: to the first who waits for one, or into the queue. None after a shutdown.
    #[inline]
    fn try_enter(&self, item: T) -> Result<(), T> {
        let mut items = self.items.borrow_mut();
        if items.len() >= self.room.get() {
            return Err(item);
        }
        if self.getters.is_bare() {
            self.unfinished.set(self.unfinished.get() + 1);
            let kept = items.keep(item);
            items.push(kept);
        } else {
            drop(items);
            self.enter(item);
        }
        Ok(())
    }

    /// [`Hub::try_enter`], where there is room.
    #[cold]
    fn enter(&self, item: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        let waits = !self.getters.is_empty();
        let mut items = self.items.borrow_mut();
        let kept = items.keep(item);
        if waits {
            drop(items);
            self.hand_over(kept);
        } else {
            items.push(kept);
        }
    }

    fn hand_over(&self, kept: O::Kept) {
        let mut kept = Some(kept);
        let granted = self.getters.grant(|slot| slot.set(kept.take().map(Some)));
        if let Some(((), waiter)) = granted {
            waiter.wake();
        } else if let Some(kept) = kept {
            self.items.borrow_mut().push_back(kept);
        }
    }

    /// The next item goes out, and the first that waits for room comes in.
    #[inline]
    fn leave(&self) -> Option<O::Kept> {
        let kept = self.items.borrow_mut().pop()?;
        if !self.putters.is_bare() {
            self.refill();
        }
        Some(kept)
    }

    #[cold]
    fn refill(&self) {
        if !self.is_full()
            && let Some((Some(item), waiter)) = self.putters.grant(Cell::take)
        {
            self.enter(item);
            waiter.wake();
        }
    }

    /// `count` items are done.
    fn finish(&self, count: usize) {
        // Some may have been reported before they were got.
        self.unfinished.set(self.unfinished.get().saturating_sub(count));
        if self.unfinished.get() == 0 {
            let end = next_number();
            while let Some(((), waiter)) = self.joiners.grant_below(end, |slot| slot.set(Some(()))) {
                waiter.wake();
            }
        }
    }

    /// An item that was taken and not used.
    fn give_back(&self, kept: O::Kept) {
        if self.shut.get() == Shut::Immediate {
            self.finish(1);
            drop(kept);
        } else {
            self.hand_over(kept);
        }
    }
}

/// The next item of a queue; `None` when it was shut down.
struct Item<T, O: Order<T>, H>(Pin<H>, PhantomData<Hub<T, O>>);

impl<T, O, H> Source for Item<T, O, H>
where
    O: Order<T>,
    H: Deref<Target = Hub<T, O>>,
{
    type Grant = Option<O::Kept>;

    #[inline]
    fn take(&self) -> Result<Option<O::Kept>, Pin<&WaitList<Option<O::Kept>>>> {
        let hub = self.0.as_ref();
        match hub.leave() {
            Some(kept) => Ok(Some(kept)),
            None if hub.shut.get() != Shut::No => Ok(None),
            None => Err(hub.project_ref().getters),
        }
    }

    fn give_back(&self, grant: Option<O::Kept>) {
        if let Some(kept) = grant {
            self.0.give_back(kept);
        }
    }
}

pin_project! {
    /// Waits for the next item.
    #[must_use = "a wait does nothing until it is awaited"]
    struct Getting<'a, T, O> where O: Order<T> {
        #[pin]
        taking: Taking<Item<T, O, &'a Hub<T, O>>>,
    }
}

impl<T, O: Order<T>> Future for Getting<'_, T, O> {
    type Output = Result<T, GetError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().taking.poll(cx) {
            Poll::Ready(Ok(Some(kept))) => Poll::Ready(Ok(O::release(kept))),
            Poll::Ready(Ok(None)) => Poll::Ready(Err(GetError::ShutDown(QueueShutDown(())))),
            Poll::Ready(Err(cancelled)) => Poll::Ready(Err(cancelled.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The moment when all items are done.
struct Finished<'a, T, O: Order<T>>(Pin<&'a Hub<T, O>>);

impl<T, O: Order<T>> Source for Finished<'_, T, O> {
    type Grant = ();

    fn take(&self) -> Result<(), Pin<&WaitList<()>>> {
        if self.0.unfinished.get() == 0 { Ok(()) } else { Err(self.0.project_ref().joiners) }
    }

    fn give_back(&self, (): ()) {}
}

pin_project! {
    /// Waits for room with the item in its place in line.
    #[must_use = "a wait does nothing until it is awaited"]
    struct Putting<'a, T, O> where O: Order<T> {
        hub: Pin<&'a Hub<T, O>>,
        #[pin]
        put: Put<T>,
    }
}

pin_project! {
    #[project = PutParts]
    #[project_ref = PutRef]
    enum Put<T> {
        // `None` when it has been put.
        New { item: Option<T> },
        // With the item in its slot.
        InLine { #[pin] place: Place<T> },
    }
}

impl<T, O: Order<T>> Future for Putting<'_, T, O> {
    type Output = Result<(), PutError<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let PutParts::New { item } = this.put.project() else { return self.go_on(cx) };
        let Some(item) = item.take() else { panic!("a put was polled after its end") };
        if !context::spend() {
            return self.wait(item, true, cx);
        }
        match this.hub.try_enter(item) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(item) => self.wait(item, false, cx),
        }
    }
}

impl<T, O: Order<T>> Putting<'_, T, O> {
    /// Stands in line, or behind all that is ready when it has to let others run.
    #[cold]
    fn wait(
        mut self: Pin<&mut Self>,
        item: T,
        must_let_run: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PutError<T>>> {
        if !must_let_run && self.hub.shut.get() != Shut::No {
            return Poll::Ready(Err(PutError::ShutDown(QueueShutDown(item))));
        }
        self.as_mut().project().put.set(Put::InLine { place: Place::new(Some(item)) });
        let this = self.as_ref().project_ref();
        let PutRef::InLine { place } = this.put.project_ref() else { unreachable!("it was just set") };
        if place.begin(cx.waker()).is_err() {
            return end(place, PutError::Cancelled);
        }
        if must_let_run {
            place.try_later(cx.waker());
        } else {
            this.hub.project_ref().putters.join(place, cx.waker());
        }
        Poll::Pending
    }

    fn go_on(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        let this = self.as_ref().project_ref();
        let PutRef::InLine { place } = this.put.project_ref() else { unreachable!("it is in line") };
        let hub = *this.hub;
        match place.stage() {
            Stage::Granted => return end(place, |item| PutError::ShutDown(QueueShutDown(item))),
            Stage::New | Stage::Waiting | Stage::Passed => {}
            Stage::Over => panic!("a put was polled after its end"),
        }
        if place.check(cx.waker()).is_err() {
            place.leave();
            return end(place, PutError::Cancelled);
        }
        if place.stage() == Stage::Waiting {
            place.stay(cx.waker());
            return Poll::Pending;
        }
        if hub.shut.get() != Shut::No {
            return end(place, |item| PutError::ShutDown(QueueShutDown(item)));
        }
        if hub.is_full() {
            hub.project_ref().putters.join(place, cx.waker());
            return Poll::Pending;
        }
        let item = place.take();
        place.finish();
        if let Some(item) = item {
            hub.enter(item);
        }
        Poll::Ready(Ok(()))
    }
}

/// What is still in the slot was not put.
fn end<T>(place: Pin<&Place<T>>, error: impl FnOnce(T) -> PutError<T>) -> Poll<Result<(), PutError<T>>> {
    place.finish();
    Poll::Ready(place.take().map_or(Ok(()), |item| Err(error(item))))
}

/// A way into a [`Queue`]; the last one to go shuts it down. Made by [`Queue::sender`].
pub struct QueueSender<T, O: Order<T> = Fifo<T>> {
    queue: Queue<T, O>,
}

impl<T, O: Order<T>> QueueSender<T, O> {
    /// See [`Queue::put`].
    ///
    /// # Errors
    /// [`PutError`], with the item, if the queue is or was shut down, or a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: as [`Queue::put`].
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), PutError<T>>> {
        self.queue.put(item)
    }

    /// See [`Queue::put_nowait`].
    ///
    /// # Errors
    /// [`TryPutError`], with the item, if there is no room or the queue was shut down.
    pub fn put_nowait(&self, item: T) -> Result<(), TryPutError<T>> {
        self.queue.put_nowait(item)
    }

    /// The queue.
    pub fn queue(&self) -> &Queue<T, O> {
        &self.queue
    }
}

impl<T, O: Order<T>> Clone for QueueSender<T, O> {
    fn clone(&self) -> QueueSender<T, O> {
        self.queue.sender()
    }
}

impl<T, O: Order<T>> Drop for QueueSender<T, O> {
    fn drop(&mut self) {
        let left = self.queue.hub.senders.get() - 1;
        self.queue.hub.senders.set(left);
        if left == 0 {
            self.queue.shutdown(false);
        }
    }
}

impl<T: fmt::Debug, O: Order<T>> fmt::Debug for QueueSender<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueSender").field(&self.queue).finish()
    }
}

/// The items of a [`Queue`], until it is shut down and empty. Made by [`Queue::items`]. It waits in line like a task of its
/// own once it was asked for an item, until it has given one out or is dropped.
pub struct Items<T, O: Order<T> = Fifo<T>> {
    getting: Pin<Box<OwnGetting<T, O>>>,
    over: bool,
}

type OwnGetting<T, O> = Taking<Item<T, O, Rc<Hub<T, O>>>>;

impl<T, O: Order<T>> Items<T, O> {
    /// The next item; `None` when there will be no more.
    ///
    /// # Errors
    /// [`CancelledError`], if a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: an item on its way to a cancelled waiter is the next one again.
    pub async fn next(&mut self) -> Option<Result<T, CancelledError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T, O: Order<T>> Stream for Items<T, O> {
    type Item = Result<T, CancelledError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(got) = self.getting.as_mut().poll(cx) else { return Poll::Pending };
        self.getting.as_mut().again();
        self.over = matches!(got, Ok(None));
        Poll::Ready(got.map(|kept| kept.map(O::release)).transpose())
    }
}

impl<T, O: Order<T>> fmt::Debug for Items<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("over", &self.over).finish_non_exhaustive()
    }
}
