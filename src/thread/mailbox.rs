//! Items from any thread to the tasks of one.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    blocking,
    post::{Fetched, Post, Put, Ticket},
};
use crate::{
    error::{GetError, PutError, QueueEmpty, QueueFull, QueueShutDown, TryGetError, TryPutError},
    executor::{Note, context, wait},
    scope::CancelPoint,
};

/// A [`Queue`](crate::Queue) whose items come from other threads: its [senders](Mailbox::sender) may be anywhere, and the
/// mailbox itself, which may be sent to its thread, is where they are got. A loop that sleeps is woken.
///
/// The mailbox is shut down when its last sender goes; when the mailbox goes, puts fail with their items.
///
/// ```
/// let mut mailbox = ringio::Mailbox::new(0);
/// let sender = mailbox.sender();
/// let other = std::thread::spawn(move || {
///     ringio::run(async move {
///         for number in 1..=4 {
///             sender.put(number).await?;
///         }
///         Ok::<_, ringio::Error>(())
///     })
/// });
/// let sum = ringio::run(async {
///     let mut sum = 0;
///     while let Ok(number) = mailbox.get().await {
///         sum += number;
///     }
///     sum
/// });
/// assert_eq!(sum, 10);
/// other.join().unwrap().unwrap();
/// ```
pub struct Mailbox<T> {
    post: Arc<Post<T>>,
    /// What there is is fetched all at once.
    batch: VecDeque<T>,
}

impl<T> Mailbox<T> {
    /// A mailbox for `maxsize` items; zero is for as many as there is memory for.
    pub fn new(maxsize: usize) -> Mailbox<T> {
        let room = if maxsize == 0 { usize::MAX } else { maxsize };
        Mailbox { post: Arc::new(Post::new(room)), batch: VecDeque::new() }
    }

    /// A mailbox without a limit.
    pub fn unbounded() -> Mailbox<T> {
        Mailbox::new(0)
    }

    /// A way in.
    pub fn sender(&self) -> MailboxSender<T> {
        self.post.add_sender();
        MailboxSender { post: self.post.clone() }
    }

    /// Gets the next item, waiting for it if there is none.
    ///
    /// # Errors
    /// [`GetError`], if the mailbox is empty and was shut down, or a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: items stay in the mailbox.
    pub async fn get(&mut self) -> Result<T, GetError> {
        let mut note = None;
        let got = wait(|cx: &mut Context<'_>| match self.take(Some(cx.waker())) {
            Ok(item) => Poll::Ready(Ok(item)),
            Err(TryGetError::Empty(_)) => {
                note = note.take().or_else(|| Note::new("Mailbox.get"));
                Poll::Pending
            }
            Err(TryGetError::ShutDown(error)) => Poll::Ready(Err(GetError::ShutDown(error))),
        });
        got.await?
    }

    /// Gets the next item if there is one.
    ///
    /// # Errors
    /// [`TryGetError`], if there is none.
    pub fn get_nowait(&mut self) -> Result<T, TryGetError> {
        self.take(None)
    }

    /// Gets the next item, on a thread without a runtime, which sleeps while there is none.
    ///
    /// # Errors
    /// [`QueueShutDown`], if the mailbox is empty and was shut down.
    ///
    /// # Panics
    /// In a task: it would stop all tasks of its thread. [`get`](Mailbox::get) waits there.
    ///
    /// ```
    /// let mut mailbox = ringio::Mailbox::new(2);
    /// let sender = mailbox.sender();
    /// let other = std::thread::spawn(move || ringio::run(async move { sender.put("hello").await }));
    /// assert_eq!(mailbox.get_blocking(), Ok("hello"));
    /// assert!(mailbox.get_blocking().is_err(), "its only sender is gone");
    /// other.join().unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn get_blocking(&mut self) -> Result<T, QueueShutDown> {
        refuse_in_a_task("get_blocking", "get");
        if self.batch.is_empty() && !blocking::fetch(&self.post, &mut self.batch) {
            return Err(QueueShutDown(()));
        }
        self.take(None).map_err(|_none| QueueShutDown(()))
    }

    #[inline]
    fn take(&mut self, waker: Option<&Waker>) -> Result<T, TryGetError> {
        loop {
            if let Some(item) = self.batch.pop_front() {
                wake(self.post.got_one());
                return Ok(item);
            }
            match self.post.fetch(&mut self.batch, waker) {
                Fetched::Items => {}
                Fetched::Empty(_old) => return Err(TryGetError::Empty(QueueEmpty)),
                Fetched::ShutDown => return Err(TryGetError::ShutDown(QueueShutDown(()))),
            }
        }
    }

    /// No more items go in: puts fail, waiting ones too, with their items. What is in can still be got, unless `immediate`:
    /// then it is dropped.
    pub fn shutdown(&mut self, immediate: bool) {
        shut_down(&self.post, immediate);
        if immediate {
            let dropped = std::mem::take(&mut self.batch);
            dropped.iter().for_each(|_| wake(self.post.got_one()));
            drop(dropped);
        }
    }

    /// How many items are in the mailbox.
    pub fn qsize(&self) -> usize {
        self.post.counts().items
    }

    /// How many items there is room for; zero if there is no limit.
    pub fn maxsize(&self) -> usize {
        maxsize(&self.post)
    }

    /// Whether nothing is in the mailbox.
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether there is no room left.
    pub fn full(&self) -> bool {
        self.qsize() >= self.post.room()
    }

    /// What is in the mailbox and who waits.
    pub fn statistics(&self) -> MailboxStatistics {
        statistics(&self.post)
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        shut_down(&self.post, true);
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show("Mailbox", self.statistics(), f)
    }
}

/// A way into a [`Mailbox`], from any thread. Clones lead to the same one; with the last of them it is shut down.
pub struct MailboxSender<T> {
    post: Arc<Post<T>>,
}

impl<T> MailboxSender<T> {
    /// Puts an item, waiting for room if there is none; in the order of asking.
    ///
    /// # Errors
    /// [`PutError`], with the item, if the mailbox is or was shut down or is gone, or a cancel came while it waited.
    ///
    /// # Cancellation
    /// **Nothing lost**: the item comes back in the error. When it is in the mailbox already, it was put, and the cancel is
    /// left for the next wait.
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), PutError<T>>> {
        let mut putting =
            Putting { post: &self.post, item: Some(item), ticket: None, point: CancelPoint::default(), note: None };
        poll_fn(move |cx| putting.poll(cx))
    }

    /// Puts an item if there is room. Needs no runtime.
    ///
    /// # Errors
    /// [`TryPutError`], with the item, if there is none, or the mailbox was shut down or is gone.
    #[inline]
    pub fn put_nowait(&self, item: T) -> Result<(), TryPutError<T>> {
        match self.post.put(item, None) {
            Ok(Put::Full(item)) => Err(TryPutError::Full(QueueFull(item))),
            Ok(Put::ShutDown(item)) => Err(TryPutError::ShutDown(QueueShutDown(item))),
            Ok(Put::Done(receiver)) => {
                wake(receiver);
                Ok(())
            }
            Err(_ticket) => unreachable!("tickets are for those who wait"),
        }
    }

    /// Puts an item, on a thread without a runtime, which sleeps while there is no room, in one line with the tasks that
    /// wait.
    ///
    /// # Errors
    /// [`QueueShutDown`], with the item, if the mailbox is or was shut down or is gone.
    ///
    /// # Panics
    /// In a task: it would stop all tasks of its thread. [`put`](MailboxSender::put) waits there.
    ///
    /// ```
    /// let mut mailbox = ringio::Mailbox::new(2);
    /// let sender = mailbox.sender();
    /// let other = std::thread::spawn(move || (1..=4).try_for_each(|number| sender.put_blocking(number)));
    /// let sum = ringio::run(async {
    ///     let mut sum = 0;
    ///     while let Ok(number) = mailbox.get().await {
    ///         sum += number;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 10);
    /// other.join().unwrap().unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn put_blocking(&self, item: T) -> Result<(), QueueShutDown<T>> {
        refuse_in_a_task("put_blocking", "put");
        blocking::put(&self.post, item).map_err(QueueShutDown)
    }

    /// See [`Mailbox::shutdown`].
    pub fn shutdown(&self) {
        shut_down(&self.post, false);
    }

    /// How many items there is room for; zero if there is no limit.
    pub fn maxsize(&self) -> usize {
        maxsize(&self.post)
    }

    /// What is in the mailbox and who waits.
    pub fn statistics(&self) -> MailboxStatistics {
        statistics(&self.post)
    }
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> MailboxSender<T> {
        self.post.add_sender();
        MailboxSender { post: self.post.clone() }
    }
}

impl<T> Drop for MailboxSender<T> {
    fn drop(&mut self) {
        if self.post.remove_sender() {
            shut_down(&self.post, false);
        }
    }
}

impl<T> fmt::Debug for MailboxSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show("MailboxSender", self.statistics(), f)
    }
}

/// What a mailbox's `statistics` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxStatistics {
    /// Items in the mailbox.
    pub items: usize,
    /// How many there is room for; zero if there is no limit.
    pub maxsize: usize,
    /// Tasks and threads that wait for room.
    pub putting: usize,
    /// Ways in.
    pub senders: usize,
    /// Whether it was shut down.
    pub shut_down: bool,
}

/// What blocks the thread of a loop stops all of its tasks, perhaps the one it waits for.
#[inline]
#[track_caller]
fn refuse_in_a_task(name: &str, instead: &str) {
    assert!(!context::is_inside(), "{name}() would block all tasks of this thread; await {instead}() instead");
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn shut_down<T>(post: &Post<T>, immediate: bool) {
    let (wakers, dropped) = post.shut_down(immediate);
    wakers.into_iter().for_each(Waker::wake);
    drop(dropped);
}

fn maxsize<T>(post: &Post<T>) -> usize {
    if post.room() == usize::MAX { 0 } else { post.room() }
}

fn statistics<T>(post: &Post<T>) -> MailboxStatistics {
    let counts = post.counts();
    MailboxStatistics {
        items: counts.items,
        maxsize: maxsize(post),
        putting: counts.putting,
        senders: counts.senders,
        shut_down: counts.shut,
    }
}

fn show(name: &str, state: MailboxStatistics, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "<{name} maxsize={} items={}", state.maxsize, state.items)?;
    if state.putting > 0 {
        write!(f, " _putters[{}]", state.putting)?;
    }
    write!(f, " senders={}{}>", state.senders, if state.shut_down { " shutdown" } else { "" })
}

/// One put on its way.
struct Putting<'a, T> {
    post: &'a Post<T>,
    item: Option<T>,
    /// The item is with those who wait for room.
    ticket: Option<u64>,
    point: CancelPoint,
    /// As long as there is a ticket.
    note: Option<Note>,
}

impl<T> Putting<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        if let Some(ticket) = self.ticket {
            return self.go_on(ticket, cx);
        }
        let Some(item) = self.item.take() else { panic!("a put was polled after its end") };
        if !self.point.has_begun() && !context::spend() {
            return match self.point.begin(cx.waker()) {
                Err(_cancelled) => Poll::Ready(Err(PutError::Cancelled(item))),
                Ok(()) => {
                    self.item = Some(item);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            };
        }
        let item = match self.try_put(item, None) {
            Ok(Put::Full(item)) => item,
            tried => return self.end(tried),
        };
        let begun = self.point.has_begun();
        let point = if begun { self.point.check(cx.waker()) } else { self.point.begin(cx.waker()) };
        if point.is_err() {
            self.point.end();
            return Poll::Ready(Err(PutError::Cancelled(item)));
        }
        let tried = self.try_put(item, Some(cx.waker()));
        self.end(tried)
    }

    fn try_put(&self, item: T, waker: Option<&Waker>) -> Result<Put<T>, u64> {
        self.post.put(item, waker)
    }

    fn end(&mut self, tried: Result<Put<T>, u64>) -> Poll<Result<(), PutError<T>>> {
        let put = match tried {
            Err(ticket) => {
                self.ticket = Some(ticket);
                self.note = Note::new("MailboxSender.put");
                return Poll::Pending;
            }
            Ok(put) => put,
        };
        self.point.end();
        match put {
            Put::Done(receiver) => {
                wake(receiver);
                Poll::Ready(Ok(()))
            }
            Put::ShutDown(item) => Poll::Ready(Err(PutError::ShutDown(QueueShutDown(item)))),
            Put::Full(_) => unreachable!("who may wait gets a ticket"),
        }
    }

    fn go_on(&mut self, ticket: u64, cx: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        if self.point.has_request()
            && let Some((item, waker)) = self.post.give_up(ticket)
        {
            (self.ticket, self.note) = (None, None);
            self.point.deliver();
            self.point.end();
            drop(waker);
            return Poll::Ready(Err(PutError::Cancelled(item)));
        }
        let result = match self.post.look(ticket, cx.waker()) {
            Ticket::Waiting(_old) => {
                // There was no request: this only says whom the next one wakes.
                let _no_request = self.point.check(cx.waker());
                return Poll::Pending;
            }
            Ticket::Used => Ok(()),
            Ticket::ShutDown(item) => Err(PutError::ShutDown(QueueShutDown(item))),
        };
        (self.ticket, self.note) = (None, None);
        self.point.end();
        Poll::Ready(result)
    }
}

impl<T> Drop for Putting<'_, T> {
    fn drop(&mut self) {
        if let Some(given_up) = self.ticket.take().and_then(|ticket| self.post.give_up(ticket)) {
            drop(given_up);
        }
    }
}

impl<T> Unpin for Putting<'_, T> {}
