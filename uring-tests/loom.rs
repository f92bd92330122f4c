//! The mailbox, the doorbell, the inbox and what threads see of a task, in every order that threads may run in: the crate's own files, over loom's primitives.
//! `LOOM_MAX_PREEMPTIONS` (2 unless set) bounds the search; `ci/loom` looks further.

#[path = "../src/driver/asleep.rs"]
mod asleep;
#[path = "../src/thread/blocking.rs"]
mod blocking;
#[path = "../src/thread/post.rs"]
mod post;
#[path = "../src/executor/shares.rs"]
mod shares;
#[path = "../src/executor/stack.rs"]
mod stack;

mod primitives {
    pub(super) use loom::{
        hint::spin_loop,
        sync::{
            Mutex,
            atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence},
        },
        thread::{Thread, current, park, yield_now},
    };

    /// Looking again shows nothing that sleeping at once does not.
    pub(super) const LOOKS: (u32, u32) = (0, 0);

    /// Loom does not know that what an exchange writes stands right behind what it read, with no store in between; so a
    /// store is an exchange here.
    pub(super) struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(super) fn new(value: bool) -> AtomicBool {
            AtomicBool(loom::sync::atomic::AtomicBool::new(value))
        }

        pub(super) fn store(&self, value: bool, order: Ordering) {
            self.0.swap(value, order);
        }

        pub(super) fn load(&self, order: Ordering) -> bool {
            self.0.load(order)
        }

        pub(super) fn swap(&self, value: bool, order: Ordering) -> bool {
            self.0.swap(value, order)
        }
    }
}

use std::{
    collections::VecDeque,
    env,
    sync::Arc,
    task::{Wake, Waker},
};

use asleep::Asleep;
use loom::{
    model::Builder,
    sync::{
        Notify,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
    thread,
};
use post::{Fetched, Post, Put, Ticket};
use shares::{Queued, Shared};
use stack::Stack;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    let bound = env::var("LOOM_MAX_PREEMPTIONS").map_or(2, |text| text.parse().expect("a number"));
    builder.preemption_bound = Some(bound);
    builder.check(body);
}

/// A loop with one task: woken through its inbox, ended in its sleep by the doorbell.
struct Loop {
    inbox: AtomicBool,
    asleep: Asleep,
    /// The counter that the ring polls.
    counter: Notify,
}

impl Loop {
    fn new() -> Arc<Loop> {
        Arc::new(Loop { inbox: AtomicBool::new(false), asleep: Asleep::new(), counter: Notify::new() })
    }

    /// The turn's last steps: says that it sleeps, looks once more, sleeps.
    fn sleep(&self) {
        if !self.inbox.swap(false, Ordering::Acquire) {
            self.asleep.begin();
            if !self.inbox.load(Ordering::SeqCst) {
                self.counter.wait();
            }
            self.asleep.awake();
        }
    }
}

impl Wake for Loop {
    fn wake(self: Arc<Loop>) {
        // An exchange, as the inbox's.
        self.inbox.swap(true, Ordering::SeqCst);
        if self.asleep.end() {
            self.counter.notify();
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Gets all items until the end.
fn receive(post: &Post<u32>) -> Vec<u32> {
    let home = Loop::new();
    let waker = Waker::from(home.clone());
    let (mut batch, mut got) = (VecDeque::new(), Vec::new());
    loop {
        take_all(post, &mut batch, &mut got);
        match post.fetch(&mut batch, Some(&waker)) {
            Fetched::Items => {}
            Fetched::Empty(old) => {
                drop(old);
                home.sleep();
            }
            Fetched::ShutDown => return got,
        }
    }
}

/// As `receive`, on a plain thread.
fn receive_blocking(post: &Post<u32>) -> Vec<u32> {
    let (mut batch, mut got) = (VecDeque::new(), Vec::new());
    while blocking::fetch(post, &mut batch) {
        take_all(post, &mut batch, &mut got);
    }
    got
}

fn take_all(post: &Post<u32>, batch: &mut VecDeque<u32>, got: &mut Vec<u32>) {
    while let Some(item) = batch.pop_front() {
        got.push(item);
        wake(post.got_one());
    }
}

/// Puts one item, asleep while there is no room; whether it got in.
fn send(post: &Post<u32>, item: u32) -> bool {
    let home = Loop::new();
    let waker = Waker::from(home.clone());
    match post.put(item, Some(&waker)) {
        Ok(Put::Done(receiver)) => {
            wake(receiver);
            true
        }
        Ok(Put::Full(_)) => unreachable!("it waits"),
        Ok(Put::ShutDown(_)) => false,
        Err(ticket) => loop {
            match post.look(ticket, &waker) {
                Ticket::Used => return true,
                Ticket::ShutDown(_) => return false,
                Ticket::Waiting(old) => {
                    drop(old);
                    home.sleep();
                }
            }
        },
    }
}

/// The last sender shuts it down.
fn leave(post: &Post<u32>) {
    if post.remove_sender() {
        let (wakers, _) = post.shut_down(false);
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn two_senders_and_a_receiver(
    room: usize,
    items: u32,
    send: fn(&Post<u32>, u32) -> bool,
    receive: fn(&Post<u32>) -> Vec<u32>,
) {
    model(move || {
        let post = Arc::new(Post::new(room));
        // Both are there before the first one can be the last.
        (0..2).for_each(|_| post.add_sender());
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let post = post.clone();
                thread::spawn(move || {
                    for item in 0..items {
                        assert!(send(&post, sender * 10 + item));
                    }
                    leave(&post);
                })
            })
            .collect();
        let mut got = receive(&post);
        for sender in senders {
            sender.join().unwrap();
        }
        for sender in 0..2 {
            assert!(got.iter().filter(|item| **item / 10 == sender).is_sorted(), "out of order");
        }
        got.sort_unstable();
        let sent: Vec<u32> = (0..2).flat_map(|sender| (0..items).map(move |item| sender * 10 + item)).collect();
        assert_eq!(got, sent, "lost or doubled");
        let counts = post.counts();
        assert!(counts.shut && counts.items + counts.putting + counts.senders == 0 && post.room() == room);
    });
}

fn send_blocking(post: &Post<u32>, item: u32) -> bool {
    blocking::put(post, item).is_ok()
}

#[test]
fn nothing_is_lost_without_a_limit() {
    two_senders_and_a_receiver(usize::MAX, 1, send, receive);
}

#[test]
fn nothing_is_lost_where_senders_wait() {
    two_senders_and_a_receiver(1, 1, send, receive);
}

#[test]
fn nothing_is_lost_where_threads_wait_for_room() {
    two_senders_and_a_receiver(1, 1, send_blocking, receive);
}

#[test]
fn nothing_is_lost_where_a_thread_receives() {
    two_senders_and_a_receiver(1, 1, send, receive_blocking);
}

/// One sender that has to wait for each of its items, with the receiver awake and asleep.
#[test]
fn items_of_a_thread_come_in_order() {
    model(|| {
        let post = Arc::new(Post::new(1));
        post.add_sender();
        let other = post.clone();
        let sender = thread::spawn(move || {
            (0..3).for_each(|item| assert!(send_blocking(&other, item)));
            leave(&other);
        });
        assert_eq!(receive_blocking(&post), [0, 1, 2]);
        sender.join().unwrap();
    });
}

/// Room is given for what was got, and not for what was only fetched.
#[test]
fn no_more_items_than_there_is_room_for() {
    model(|| {
        let post = Arc::new(Post::new(2));
        let other = post.clone();
        let sender =
            thread::spawn(move || (0..4).filter(|item| matches!(other.put(*item, None), Ok(Put::Done(_)))).count());
        let (mut batch, mut got) = (VecDeque::new(), 0);
        drop(post.fetch(&mut batch, None));
        if batch.pop_front().is_some() {
            wake(post.got_one());
            got = 1;
        }
        let put = sender.join().unwrap();
        assert!(put <= 2 + got && post.counts().items == put - got);
    });
}

#[test]
fn item_of_a_sender_that_gives_up_is_in_or_back() {
    model(|| {
        let post = Arc::new(Post::new(1));
        post.add_sender();
        let other = post.clone();
        let giver = thread::spawn(move || {
            let waker = Waker::from(Loop::new());
            let mut back = 0;
            for item in 0..2 {
                match other.put(item, Some(&waker)) {
                    Ok(Put::Done(receiver)) => wake(receiver),
                    Ok(Put::Full(_) | Put::ShutDown(_)) => unreachable!("it is open, and waits"),
                    Err(ticket) => back += usize::from(other.give_up(ticket).is_some()),
                }
            }
            leave(&other);
            back
        });
        let got = receive(&post).len();
        assert_eq!(got + giver.join().unwrap(), 2);
    });
}

#[test]
fn shutdown_wakes_whoever_waits() {
    model(|| {
        let post = Arc::new(Post::new(1));
        assert!(send(&post, 1));
        let other = post.clone();
        let sender = thread::spawn(move || [send(&other, 2), send_blocking(&other, 3)]);
        let (wakers, dropped) = post.shut_down(true);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(dropped.len(), 1);
        assert_eq!(sender.join().unwrap(), [false; 2]);
    });
}

/// What other threads see of a task, and what its wakers bring news of.
struct Node {
    shared: Shared,
    queued: Queued,
    next: AtomicPtr<Node>,
    /// Relaxed: whoever wakes the task makes it seen.
    news: AtomicUsize,
    freed: AtomicBool,
}

impl Node {
    fn new() -> Arc<Node> {
        Arc::new(Node {
            shared: Shared::new(),
            queued: Queued::new(),
            next: AtomicPtr::new(std::ptr::null_mut()),
            news: AtomicUsize::new(0),
            freed: AtomicBool::new(false),
        })
    }

    fn release(&self) {
        assert!(!self.freed.load(Ordering::Relaxed), "used after it was freed");
        if self.shared.release() {
            assert!(!self.freed.swap(true, Ordering::Relaxed), "freed twice");
        }
    }
}

/// Tasks by number, which stand for their addresses: one less is the index, and null is none.
struct Home {
    nodes: Vec<Arc<Node>>,
    stack: Stack<Node>,
    asleep: Asleep,
    counter: Notify,
}

impl Home {
    fn new(tasks: usize) -> Arc<Home> {
        let nodes = (0..tasks).map(|_| Node::new()).collect();
        Arc::new(Home { nodes, stack: Stack::new(), asleep: Asleep::new(), counter: Notify::new() })
    }

    /// Not 1, which is the closed stack.
    fn address(number: usize) -> *mut Node {
        std::ptr::without_provenance_mut(8 * (number + 1))
    }

    fn node(&self, address: *mut Node) -> Option<&Node> {
        (!address.is_null()).then(|| &*self.nodes[address.addr() / 8 - 1])
    }

    /// As `wake` of the cell, from another thread. False when the runtime is gone.
    fn wake(&self, number: usize) -> bool {
        let node = &self.nodes[number];
        if !node.queued.enter() {
            return true;
        }
        assert!(!node.shared.add(), "the first waker is made at home");
        let is_in = self.stack.push(Home::address(number), |below| node.next.store(below, Ordering::Relaxed));
        if !is_in {
            node.release();
        } else if self.asleep.end() {
            self.counter.notify();
        }
        is_in
    }

    /// As `release_from_inbox`, for all that are in it: what news each of them sees when it is polled.
    fn empty(&self, mut top: *mut Node, mut poll: impl FnMut(usize, usize)) {
        while let Some(node) = self.node(top) {
            let number = top.addr() / 8 - 1;
            top = node.next.load(Ordering::Relaxed);
            assert!(node.queued.is_in(), "W4");
            node.queued.leave();
            node.release();
            poll(number, node.news.load(Ordering::Relaxed));
        }
    }

    fn sleep(&self) {
        self.asleep.begin();
        if self.stack.is_empty() {
            self.counter.wait();
        }
        self.asleep.awake();
    }
}

/// Each thread brings news to its task and wakes it; the home runs until it has seen them all.
fn wakes_from_two_threads(tasks: [usize; 2], count: usize) {
    model(move || {
        let home = Home::new(count);
        let threads = tasks.map(|task| {
            assert!(home.nodes[task].shared.add() || tasks[0] == tasks[1], "W3: the first waker holds the home");
            let home = home.clone();
            thread::spawn(move || {
                home.nodes[task].news.fetch_add(1, Ordering::Relaxed);
                assert!(home.wake(task));
                home.nodes[task].release();
            })
        });
        let mut seen = vec![0; count];
        while seen.iter().sum::<usize>() < 2 {
            home.empty(home.stack.take(), |task, news| seen[task] = news);
            if seen.iter().sum::<usize>() < 2 {
                home.sleep();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // A wake that came too late to be needed may still be in it.
        home.empty(home.stack.close(), |_, _| ());
        for node in &home.nodes {
            assert!(!node.freed.load(Ordering::Relaxed), "the home's own reference is there");
            node.release();
            assert!(node.freed.load(Ordering::Relaxed) && node.shared.holds_home(), "leaked");
        }
    });
}

#[test]
fn news_of_two_threads_for_one_task_are_seen() {
    // W4: one of the two finds it in the inbox already.
    wakes_from_two_threads([0, 0], 1);
}

#[test]
fn news_for_two_tasks_are_seen() {
    wakes_from_two_threads([0, 1], 2);
}

#[test]
fn wake_of_a_runtime_that_ends_is_refused_or_let_go() {
    // W2: the memory goes once, with whoever is the last.
    model(|| {
        let home = Home::new(1);
        assert!(home.nodes[0].shared.add());
        let other = home.clone();
        let waker = thread::spawn(move || {
            other.wake(0);
            other.nodes[0].release();
        });
        home.empty(home.stack.close(), |_, _| ());
        assert!(home.stack.close().is_null(), "let go twice");
        home.nodes[0].release();
        waker.join().unwrap();
        assert!(home.nodes[0].freed.load(Ordering::Relaxed), "leaked");
    });
}
