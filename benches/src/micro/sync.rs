//! What do locks, semaphores, queues and mailboxes cost? Guards: ours beside those of each runtime, and beside those of
//! no runtime, which run on ours. The other thread of a mailbox is on the load's CPU.

use std::{
    cell::Cell,
    future::Future,
    hint::black_box,
    rc::Rc,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::{
    Row,
    runtimes::{Ringio, Smol, Tokio},
    wake,
    workloads::{BATCH, Clock, REPEATS, Runtime},
};

const BOUND: usize = 16;
const MAILBOX_BOUND: usize = 1024;
const ITEMS: u64 = 1_000_000;
const ROUND_TRIPS: u64 = 30;

/// A lock, or a semaphore of one permit.
trait Taken: 'static {
    fn new() -> Self;
    /// Held until what comes out is dropped.
    fn take(&self) -> impl Future<Output = impl Sized>;
}

trait Fifo: 'static {
    /// For 16 items.
    fn new() -> Self;
    fn put(&mut self, item: u64) -> impl Future<Output = ()>;
    fn get(&mut self) -> impl Future<Output = u64>;
}

/// From a plain thread to a loop.
trait Mail: Sized + 'static {
    type Sender: Send + 'static;
    /// For 1024 items.
    fn new() -> (Self::Sender, Self);
    /// Blocks the thread while there is no room.
    fn send(sender: &mut Self::Sender, item: u64);
    fn get(&mut self) -> impl Future<Output = u64>;
}

pub(super) fn ringio() -> Vec<Row> {
    let mut all = lock_rows::<Ringio, RingioLock, RingioSemaphore>();
    all.push(queue_row::<Ringio, RingioQueue>());
    all.extend(mailbox_rows::<Ringio, ringio::Mailbox<u64>>());
    all
}

pub(super) fn tokio() -> Vec<Row> {
    let mut all = lock_rows::<Tokio, TokioLock, TokioSemaphore>();
    all.push(queue_row::<Tokio, TokioQueue>());
    all.extend(mailbox_rows::<Tokio, tokio::sync::mpsc::Receiver<u64>>());
    all
}

/// `smol::lock` is async-lock, and `smol::channel` is async-channel.
pub(super) fn smol() -> Vec<Row> {
    let mut all = lock_rows::<Smol, SmolLock, SmolSemaphore>();
    all.push(queue_row::<Smol, SmolQueue>());
    all.extend(mailbox_rows::<Smol, smol::channel::Receiver<u64>>());
    all
}

pub(super) fn flume_on_ringio() -> Vec<Row> {
    let mut all = vec![queue_row::<Ringio, FlumeQueue>()];
    all.extend(mailbox_rows::<Ringio, flume::Receiver<u64>>());
    all
}

pub(super) fn kanal_on_ringio() -> Vec<Row> {
    let mut all = vec![queue_row::<Ringio, KanalQueue>()];
    all.extend(mailbox_rows::<Ringio, kanal::AsyncReceiver<u64>>());
    all
}

/// It has no lock, and its channel stays on its thread.
pub(super) fn local_sync_on_ringio() -> Vec<Row> {
    let semaphore = || Ringio::block_on(uncontended::<LocalSyncSemaphore>());
    vec![Row { name: "semaphore", unit: "ns", run: semaphore }, queue_row::<Ringio, LocalSyncQueue>()]
}

fn lock_rows<R: Runtime, L: Taken, S: Taken>() -> Vec<Row> {
    let ns = |name, run| Row { name, unit: "ns", run };
    vec![
        ns("lock", || R::block_on(uncontended::<L>())),
        ns("semaphore", || R::block_on(uncontended::<S>())),
        ns("hand-off-100", || R::block_on(hand_off::<R, L>())),
    ]
}

fn queue_row<R: Runtime, Q: Fifo>() -> Row {
    Row { name: "queue", unit: "ns", run: || R::block_on(queue::<Q>()) }
}

fn mailbox_rows<R: Runtime, M: Mail>() -> Vec<Row> {
    let ns = |name, run| Row { name, unit: "ns", run };
    vec![ns("mailbox", || R::block_on(mailbox::<M>())), ns("mailbox-wake", || R::block_on(mailbox_wake::<M>()))]
}

/// Taken and given back by one task.
async fn uncontended<L: Taken>() -> f64 {
    let mut clock = Clock::new(10 * BATCH);
    let lock = black_box(L::new());
    let mut taken = 0;
    for _ in 0..=REPEATS {
        clock.start();
        for _ in 0..10 * BATCH {
            let guard = black_box(lock.take().await);
            taken += 1;
            drop(guard);
        }
        clock.stop();
    }
    assert_eq!(black_box(taken), 10 * BATCH * (REPEATS as u64 + 1));
    clock.median_ns()
}

/// 100 tasks want one lock, which is held over a yield: ns per acquisition, from spawn to join.
async fn hand_off<R: Runtime, L: Taken>() -> f64 {
    const TASKS: u64 = 100;
    const TURNS: u64 = 100;
    let mut clock = Clock::new(TASKS * TURNS);
    let lock = Rc::new((L::new(), Cell::new(false)));
    for _ in 0..=REPEATS {
        clock.start();
        let takes = |lock: Rc<(L, Cell<bool>)>| async move {
            let (lock, held) = &*lock;
            for _ in 0..TURNS {
                let guard = lock.take().await;
                assert!(!held.replace(true), "two hold it");
                R::yield_now().await;
                held.set(false);
                drop(guard);
            }
            TURNS
        };
        let tasks: Vec<_> = (0..TASKS).map(|_| R::spawn(takes(lock.clone()))).collect();
        let mut taken = 0;
        for task in tasks {
            taken += task.await;
        }
        clock.stop();
        assert_eq!(taken, TASKS * TURNS);
    }
    clock.median_ns()
}

/// One item put, and got, with room and without a wait.
async fn queue<Q: Fifo>() -> f64 {
    let mut clock = Clock::new(10 * BATCH);
    let mut queue = black_box(Q::new());
    for _ in 0..=REPEATS {
        clock.start();
        for item in 0..10 * BATCH {
            queue.put(black_box(item)).await;
            assert_eq!(queue.get().await, item);
        }
        clock.stop();
    }
    clock.median_ns()
}

/// A thread sends as fast as it can: ns per item got, from the first one on.
async fn mailbox<M: Mail>() -> f64 {
    let mut clock = Clock::new(ITEMS);
    for _ in 0..=5 {
        let (mut sender, mut mail) = M::new();
        let thread = wake::on_load_cpu(move || {
            (0..=ITEMS).for_each(|item| M::send(&mut sender, item));
            sender
        });
        assert_eq!(mail.get().await, 0);
        clock.start();
        for item in 1..=ITEMS {
            assert_eq!(mail.get().await, item);
        }
        clock.stop();
        drop(thread.join().expect("no panic"));
    }
    clock.median_ns()
}

/// A thread sends one item and waits for the answer, the loop for the next item: ns per round trip, both asleep.
async fn mailbox_wake<M: Mail>() -> f64 {
    let mut clock = Clock::new(ROUND_TRIPS);
    let (mut sender, mut mail) = M::new();
    let (answer, answers): (SyncSender<u64>, Receiver<u64>) = sync_channel(1);
    let thread = wake::on_load_cpu(move || {
        for item in 0..=ROUND_TRIPS * (REPEATS as u64 + 1) {
            M::send(&mut sender, item);
            assert_eq!(answers.recv().expect("the loop answers"), item + 1);
        }
        sender
    });
    let mut expected = 0..;
    for _ in 0..=REPEATS {
        clock.start();
        for item in expected.by_ref().take(ROUND_TRIPS as usize) {
            assert_eq!(mail.get().await, item);
            answer.send(item + 1).expect("the thread waits");
        }
        clock.stop();
    }
    answer.send(mail.get().await + 1).expect("the thread waits");
    drop(thread.join().expect("no panic"));
    clock.median_ns()
}

/// `Taken`: a type around another, how it is made, and how it is taken.
macro_rules! taken {
    ($name:ident($inner:ty), $new:expr, |$lock:ident| $take:expr) => {
        struct $name($inner);

        impl Taken for $name {
            fn new() -> $name {
                $name($new)
            }

            async fn take(&self) -> impl Sized {
                let $lock = &self.0;
                $take
            }
        }
    };
}

taken!(RingioLock(ringio::Lock), ringio::Lock::new(), |lock| lock.acquire().await.expect("not cancelled"));
taken!(RingioSemaphore(ringio::Semaphore), ringio::Semaphore::new(1), |lock| {
    lock.acquire().await.expect("not cancelled")
});
taken!(TokioLock(tokio::sync::Mutex<()>), tokio::sync::Mutex::new(()), |lock| lock.lock().await);
taken!(TokioSemaphore(tokio::sync::Semaphore), tokio::sync::Semaphore::new(1), |lock| {
    lock.acquire().await.expect("open")
});
taken!(SmolLock(smol::lock::Mutex<()>), smol::lock::Mutex::new(()), |lock| lock.lock().await);
taken!(SmolSemaphore(smol::lock::Semaphore), smol::lock::Semaphore::new(1), |lock| lock.acquire().await);
taken!(LocalSyncSemaphore(local_sync::semaphore::Semaphore), local_sync::semaphore::Semaphore::new(1), |lock| {
    lock.acquire().await.expect("open")
});

struct RingioQueue(ringio::Queue<u64>);

impl Fifo for RingioQueue {
    fn new() -> RingioQueue {
        RingioQueue(ringio::Queue::new(BOUND))
    }

    async fn put(&mut self, item: u64) {
        self.0.put(item).await.expect("open");
    }

    async fn get(&mut self) -> u64 {
        self.0.get().await.expect("open")
    }
}

/// `Fifo` of a channel's two ends.
macro_rules! channel {
    ($name:ident($sender:ty, $receiver:ty), $new:expr, $send:ident, $receive:ident) => {
        struct $name($sender, $receiver);

        impl Fifo for $name {
            fn new() -> $name {
                let (sender, receiver) = $new;
                $name(sender, receiver)
            }

            async fn put(&mut self, item: u64) {
                assert!(self.0.$send(item).await.is_ok());
            }

            async fn get(&mut self) -> u64 {
                self.1.$receive().await.expect("open")
            }
        }
    };
}

channel!(
    TokioQueue(tokio::sync::mpsc::Sender<u64>, tokio::sync::mpsc::Receiver<u64>),
    tokio::sync::mpsc::channel(BOUND),
    send,
    recv
);
channel!(
    SmolQueue(smol::channel::Sender<u64>, smol::channel::Receiver<u64>),
    smol::channel::bounded(BOUND),
    send,
    recv
);
channel!(FlumeQueue(flume::Sender<u64>, flume::Receiver<u64>), flume::bounded(BOUND), send_async, recv_async);
channel!(KanalQueue(kanal::AsyncSender<u64>, kanal::AsyncReceiver<u64>), kanal::bounded_async(BOUND), send, recv);
channel!(
    LocalSyncQueue(local_sync::mpsc::bounded::Tx<u64>, local_sync::mpsc::bounded::Rx<u64>),
    local_sync::mpsc::bounded::channel(BOUND),
    send,
    recv
);

/// `Mail` of a channel's receiver.
macro_rules! mail {
    ($receiver:ty, $sender:ty, $new:expr, |$from:ident, $item:ident| $send:expr, $receive:ident) => {
        impl Mail for $receiver {
            type Sender = $sender;

            fn new() -> ($sender, $receiver) {
                $new
            }

            fn send($from: &mut $sender, $item: u64) {
                $send.expect("open");
            }

            async fn get(&mut self) -> u64 {
                self.$receive().await.expect("open")
            }
        }
    };
}

mail!(
    ringio::Mailbox<u64>,
    ringio::MailboxSender<u64>,
    {
        let mailbox = ringio::Mailbox::new(MAILBOX_BOUND);
        (mailbox.sender(), mailbox)
    },
    |sender, item| sender.put_blocking(item),
    get
);
mail!(
    tokio::sync::mpsc::Receiver<u64>,
    tokio::sync::mpsc::Sender<u64>,
    tokio::sync::mpsc::channel(MAILBOX_BOUND),
    |sender, item| sender.blocking_send(item),
    recv
);
mail!(
    smol::channel::Receiver<u64>,
    smol::channel::Sender<u64>,
    smol::channel::bounded(MAILBOX_BOUND),
    |sender, item| sender.send_blocking(item),
    recv
);
mail!(
    flume::Receiver<u64>,
    flume::Sender<u64>,
    flume::bounded(MAILBOX_BOUND),
    |sender, item| sender.send(item),
    recv_async
);
mail!(
    kanal::AsyncReceiver<u64>,
    kanal::Sender<u64>,
    {
        let (sender, receiver) = kanal::bounded_async(MAILBOX_BOUND);
        (sender.to_sync(), receiver)
    },
    |sender, item| sender.send(item),
    recv
);
