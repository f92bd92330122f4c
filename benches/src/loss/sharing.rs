//! Semaphores and queues under cancels: whether what was granted to one who left reaches the next, and whether an item that
//! could not be put in time is somewhere.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    Verdict,
    runtimes::{Compio, Glommio, Monoio, Ringio, Smol, Tokio, TokioUring, not_offered},
    scenarios::{Figures, Runtime},
};

/// How a runtime does with its own locks and queues what the scenarios ask for.
pub(super) trait Sharing: Runtime {
    /// One permit; the first in line is dropped when it was granted. Whether the second one gets it in time.
    async fn granted_to_one_who_left(_limit: Duration) -> io::Result<bool> {
        not_offered()
    }

    /// A put into a full queue runs out of time. Whether the item came back, or comes out of the queue.
    async fn put_that_is_late(_limit: Duration) -> io::Result<bool> {
        not_offered()
    }
}

pub(super) const GRANT: &str = "8 the granted waiter is dropped: the next one does not get it";
pub(super) const ITEM: &str = "8i item of a put that runs out of time: neither back nor in the queue";

/// Time for a task to begin to wait.
const QUEUED: Duration = Duration::from_micros(200);

/// Time for who gets it to get it.
const PROMPTLY: Duration = Duration::from_millis(50);

/// The queue stays full for longer.
const LIMIT: Duration = Duration::from_millis(2);

pub(super) fn grant<R: Sharing>(runs: usize) -> io::Result<Figures> {
    let lost = R::block_on(async move {
        let mut lost = 0;
        for _ in 0..runs {
            lost += usize::from(!R::granted_to_one_who_left(PROMPTLY).await?);
        }
        io::Result::Ok(lost)
    })?;
    Ok(vec![(GRANT, Verdict::count(lost, runs))])
}

pub(super) fn item<R: Sharing>(runs: usize) -> io::Result<Figures> {
    let lost = R::block_on(async move {
        let mut lost = 0;
        for _ in 0..runs {
            lost += usize::from(!R::put_that_is_late(LIMIT).await?);
        }
        io::Result::Ok(lost)
    })?;
    Ok(vec![(ITEM, Verdict::count(lost, runs))])
}

/// `held` is given back while two wait, and the first of them goes when it was granted, before it runs. Whether the second,
/// a task that nobody else wakes, is served.
async fn hand_over<R: Runtime, F: Future<Output = ()> + 'static>(
    held: impl Sized,
    acquire: impl Fn() -> F,
    limit: Duration,
) -> io::Result<bool> {
    let mut first = Box::pin(acquire());
    let is_ready = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_ready()));
    assert!(!is_ready.await, "there is one permit");
    let served = Rc::new(Cell::new(false));
    let (second, flag) = (acquire(), served.clone());
    R::spawn(async move {
        second.await;
        flag.set(true);
    });
    R::sleep(QUEUED).await;
    drop(held);
    drop(first);
    let end = Instant::now() + limit;
    while !served.get() && Instant::now() < end {
        R::sleep(QUEUED).await;
    }
    Ok(served.get())
}

impl<const OWNED: bool> Sharing for Ringio<OWNED> {
    async fn granted_to_one_who_left(limit: Duration) -> io::Result<bool> {
        let semaphore = Rc::new(ringio::Semaphore::new(1));
        let acquire = || {
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await.map(drop).expect("nobody cancels") }
        };
        hand_over::<Self, _>(semaphore.acquire().await?, acquire, limit).await
    }

    async fn put_that_is_late(limit: Duration) -> io::Result<bool> {
        let queue = ringio::Queue::new(1);
        queue.put(1).await?;
        let back = ringio::wait_for(queue.put(2), limit).await.err().map(ringio::PutError::into_item);
        assert_eq!(queue.get().await?, 1);
        Ok(back == Some(2) || queue.get_nowait() == Ok(2))
    }
}

impl Sharing for Tokio {
    async fn granted_to_one_who_left(limit: Duration) -> io::Result<bool> {
        let semaphore = Rc::new(tokio::sync::Semaphore::new(1));
        let acquire = || {
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await.map(drop).expect("it is not closed") }
        };
        hand_over::<Self, _>(semaphore.acquire().await.map_err(io::Error::other)?, acquire, limit).await
    }

    async fn put_that_is_late(limit: Duration) -> io::Result<bool> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        sender.send(1).await.map_err(io::Error::other)?;
        let put = tokio::time::timeout(limit, sender.send(2)).await;
        assert!(put.is_err(), "the queue is full");
        assert_eq!(receiver.recv().await, Some(1));
        Ok(receiver.try_recv() == Ok(2))
    }
}

impl Sharing for Smol {
    async fn granted_to_one_who_left(limit: Duration) -> io::Result<bool> {
        let semaphore = Rc::new(smol::lock::Semaphore::new(1));
        let acquire = || {
            let semaphore = semaphore.clone();
            async move { drop(semaphore.acquire().await) }
        };
        hand_over::<Self, _>(semaphore.acquire().await, acquire, limit).await
    }

    async fn put_that_is_late(limit: Duration) -> io::Result<bool> {
        let (sender, receiver) = smol::channel::bounded(1);
        let put = async |item: u32| sender.send(item).await.map_err(io::Error::other);
        put(1).await?;
        assert!(Smol::within(limit, put(2)).await?.is_none(), "the queue is full");
        assert_eq!(receiver.recv().await.map_err(io::Error::other)?, 1);
        Ok(receiver.try_recv() == Ok(2))
    }
}

impl Sharing for Glommio {
    async fn granted_to_one_who_left(limit: Duration) -> io::Result<bool> {
        let semaphore = Rc::new(glommio::sync::Semaphore::new(1));
        let acquire = || {
            let semaphore = semaphore.clone();
            async move { semaphore.acquire_permit(1).await.map(drop).expect("it is not closed") }
        };
        let held = semaphore.acquire_permit(1).await.map_err(|error| io::Error::other(error.to_string()))?;
        hand_over::<Self, _>(held, acquire, limit).await
    }

    async fn put_that_is_late(limit: Duration) -> io::Result<bool> {
        let (sender, receiver) = glommio::channels::local_channel::new_bounded(1);
        let put = async |item: u32| sender.send(item).await.map_err(|error| io::Error::other(error.to_string()));
        put(1).await?;
        assert!(Glommio::within(limit, put(2)).await?.is_none(), "the queue is full");
        assert_eq!(receiver.recv().await, Some(1));
        Ok(Glommio::within(limit, async { Ok(receiver.recv().await) }).await? == Some(Some(2)))
    }
}

impl Sharing for Compio {}

impl Sharing for Monoio {}

impl Sharing for TokioUring {}
