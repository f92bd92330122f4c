//! Contract 1.5 in the simulated kernel, at every wait that is not one for a task: what is kept and given back when it ends.
//! Enumerated, not sampled: each wait × each way to end it (cancel, drop, timeout, a cancel and a timeout at once) × each
//! stage and order, and all of it in a kind kernel and in some hostile ones.
//!
//! One unit is given (an item, a byte, a connection, a lock), or none; then it is counted: what the wait has returned and
//! what the owner still has is what was given. Where nothing can be counted, the row looks for itself.
//!
//! `RINGIO_WORLDS` says how many times as many hostile kernels there are (1), from a fresh seed on; `ci/soak` has 20.

mod children;
mod condition;
mod encryption;
mod network;
mod writing;

use std::{
    cell::{Cell, RefCell},
    env, io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use futures::{future::LocalBoxFuture, poll};
use ringio::{
    AnyTask, Barrier, Event, Lock, Queue, Semaphore, StreamReader, TcpListener, TcpStream, create_task, sleep,
    sleep_until,
    testing::{self, Faults, Sim},
    timeout_at, wait_for, yield_now,
};

use super::{is_cancel, turns};
use crate::support::seed;

type Got = io::Result<u32>;

/// One await point.
struct Row {
    name: &'static str,
    make: fn() -> LocalBoxFuture<'static, Subject>,
    /// It is ended so many turns after the beginning, and less.
    stages: usize,
    /// There is something to give, and without it the wait does not end.
    gives: bool,
    /// In how many hostile kernels; fewer for what takes many steps.
    worlds: u64,
    /// It moves so much that it is never torn to bytes.
    bulky: bool,
    /// Something else happens at the moment at which the clock ends it, and may wake the waiter before the cancel comes.
    clocked: bool,
}

/// Somebody who has, or will have, one unit to give.
struct Subject {
    wait: Box<dyn Fn() -> LocalBoxFuture<'static, Got>>,
    give: Rc<dyn Fn()>,
    left: Left,
}

/// How one counts what is left.
enum Left {
    /// Another wait gets it.
    Again,
    /// Another wait always ends well, once the unit was given.
    Free,
    Counted(Box<dyn Fn() -> u32>),
    /// Another wait passes with what is there, or with another unit: nobody who has left is counted.
    Passing,
    /// It looks for itself.
    Own(Look),
}

type Look = Box<dyn Fn(End) -> LocalBoxFuture<'static, ()>>;

/// How a wait ended.
#[derive(Clone)]
struct End {
    case: String,
    dropped: bool,
    given: bool,
    got: u32,
}

fn look<F: Future<Output = ()> + 'static>(look: impl Fn(End) -> F + 'static) -> Left {
    Left::Own(Box::new(move |end| Box::pin(look(end))))
}

const HOUR: Duration = Duration::from_secs(3600);

/// After so long the clock ends a wait.
const MOMENT: Duration = Duration::from_millis(10);

/// Lets time pass until something holds: turns alone take none.
async fn come_about(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(1)).await.unwrap();
    }
    panic!("it never came about that {what}");
}

const PLAIN: Row = Row {
    name: "",
    make: || Box::pin(async { event() }),
    stages: 4,
    gives: true,
    worlds: 6,
    bulky: false,
    clocked: false,
};

const ROWS: &[Row] = &[
    Row { name: "Queue.get", make: || Box::pin(async { queue_get() }), ..PLAIN },
    Row { name: "Queue.put", make: || Box::pin(async { queue_put() }), ..PLAIN },
    Row { name: "Queue.join", make: || Box::pin(async { queue_join() }), ..PLAIN },
    Row { name: "Event.wait", make: || Box::pin(async { event() }), ..PLAIN },
    Row { name: "Lock.acquire", make: || Box::pin(async { lock() }), ..PLAIN },
    Row { name: "Semaphore.acquire", make: || Box::pin(async { semaphore() }), ..PLAIN },
    Row { name: "Condition.wait", make: || Box::pin(async { condition::tokens(false) }), ..PLAIN },
    Row { name: "Condition.wait_for", make: || Box::pin(async { condition::tokens(true) }), ..PLAIN },
    Row { name: "Barrier.wait", make: || Box::pin(async { barrier() }), ..PLAIN },
    Row { name: "wait_done", make: || Box::pin(async { done() }), ..PLAIN },
    Row { name: "read of a pipe", make: || Box::pin(async { pipe() }), ..PLAIN },
    Row { name: "read", make: || Box::pin(stream(0)), ..PLAIN },
    Row { name: "readexactly", make: || Box::pin(stream(1)), ..PLAIN },
    Row { name: "readline", make: || Box::pin(stream(2)), ..PLAIN },
    Row { name: "accept", make: || Box::pin(accept()), ..PLAIN },
    Row { name: "open_connection", make: || Box::pin(network::connect()), stages: 8, gives: false, ..PLAIN },
    Row { name: "open_connection, full queue", make: || Box::pin(network::connect_in_line()), ..PLAIN },
    Row {
        name: "open_connection, two at once",
        make: || Box::pin(network::connect_to_two()),
        stages: 2,
        gives: false,
        clocked: true,
        ..PLAIN
    },
    Row { name: "open_connection, two in line", make: || Box::pin(network::connect_to_two_in_line()), ..PLAIN },
    Row { name: "drain", make: || Box::pin(writing::drain()), bulky: true, ..PLAIN },
    Row { name: "flush", make: || Box::pin(writing::flush()), bulky: true, ..PLAIN },
    Row { name: "wait_closed", make: || Box::pin(writing::wait_closed()), bulky: true, ..PLAIN },
    Row { name: "wait_closed, all sent", make: || Box::pin(writing::wait_closed_at_once()), gives: false, ..PLAIN },
    Row { name: "start_tls", make: || Box::pin(encryption::start_tls()), stages: 10, worlds: 2, ..PLAIN },
    Row { name: "serve_forever", make: || Box::pin(network::serve_forever()), ..PLAIN },
    Row { name: "Server.wait_closed", make: || Box::pin(network::server_closed()), ..PLAIN },
    Row { name: "create_subprocess_exec", make: || Box::pin(children::spawn()), stages: 8, gives: false, ..PLAIN },
    Row { name: "Process.wait", make: || Box::pin(children::wait()), ..PLAIN },
    Row {
        name: "communicate",
        make: || Box::pin(children::communicate()),
        stages: 24,
        gives: false,
        clocked: true,
        ..PLAIN
    },
];

fn queue_get() -> Subject {
    let queue = Rc::new(Queue::unbounded());
    let put = queue.clone();
    Subject {
        wait: Box::new(move || {
            let queue = queue.clone();
            Box::pin(async move { Ok(queue.get().await?) })
        }),
        give: Rc::new(move || put.put_nowait(1).unwrap()),
        left: Left::Again,
    }
}

/// The unit is room for an item; what is not put comes back.
fn queue_put() -> Subject {
    let queue = Rc::new(Queue::new(1));
    queue.put_nowait(0).unwrap();
    let (get, look) = (queue.clone(), queue.clone());
    let is_room = Rc::new(Cell::new(0));
    let room = is_room.clone();
    Subject {
        wait: Box::new(move || {
            let queue = queue.clone();
            Box::pin(async move { Ok(queue.put(1).await.map(|()| 1)?) })
        }),
        give: Rc::new(move || {
            assert_eq!(get.get_nowait().unwrap(), 0);
            is_room.set(1);
        }),
        left: Left::Counted(Box::new(move || {
            let items = std::iter::from_fn(|| look.get_nowait().ok()).filter(|item| *item == 1).count() as u32;
            room.get() - items
        })),
    }
}

fn queue_join() -> Subject {
    let queue = Rc::new(Queue::unbounded());
    queue.put_nowait(0).unwrap();
    let done = queue.clone();
    Subject {
        wait: Box::new(move || {
            let queue = queue.clone();
            Box::pin(async move { Ok(queue.join().await.map(|()| 1)?) })
        }),
        give: Rc::new(move || done.task_done().unwrap()),
        left: Left::Free,
    }
}

fn event() -> Subject {
    let event = Rc::new(Event::new());
    let set = event.clone();
    Subject {
        wait: Box::new(move || {
            let event = event.clone();
            Box::pin(async move { Ok(event.wait().await.map(|()| 1)?) })
        }),
        give: Rc::new(move || set.set()),
        left: Left::Free,
    }
}

fn lock() -> Subject {
    let lock = Rc::new(Lock::new());
    lock.try_acquire().unwrap().forget();
    let held = lock.clone();
    Subject {
        wait: Box::new(move || {
            let lock = lock.clone();
            Box::pin(async move { Ok(lock.acquire().await.map(|_| 1)?) })
        }),
        give: Rc::new(move || held.release().unwrap()),
        left: Left::Free,
    }
}

fn semaphore() -> Subject {
    let semaphore = Rc::new(Semaphore::new(0));
    let released = semaphore.clone();
    Subject {
        wait: Box::new(move || {
            let semaphore = semaphore.clone();
            Box::pin(async move { Ok(semaphore.acquire().await.map(|_| 1)?) })
        }),
        give: Rc::new(move || released.release()),
        left: Left::Free,
    }
}

/// The unit is another party.
fn barrier() -> Subject {
    let barrier = Rc::new(Barrier::new(2).unwrap());
    let other = barrier.clone();
    Subject {
        wait: Box::new(move || {
            let barrier = barrier.clone();
            Box::pin(async move { Ok(barrier.wait().await.map(|_| 1)?) })
        }),
        give: Rc::new(move || {
            let other = other.clone();
            create_task(async move { other.wait().await.map(|_| ()).map_err(io::Error::from) });
        }),
        left: Left::Passing,
    }
}

fn done() -> Subject {
    let event = Rc::new(Event::new());
    let set = event.clone();
    let task = create_task(async move { event.wait().await }).to_any();
    Subject {
        wait: Box::new(move || {
            let done = task.wait_done();
            Box::pin(async move { Ok(done.await.map(|()| 1)?) })
        }),
        give: Rc::new(move || set.set()),
        left: Left::Free,
    }
}

fn pipe() -> Subject {
    let (reader, writer) = testing::pipe().unwrap();
    let (reader, writer) = (Rc::new(reader), Rc::new(writer));
    Subject {
        wait: Box::new(move || {
            let reader = reader.clone();
            Box::pin(async move { reader.read(vec![0; 8]).await.0.map(|count| count as u32) })
        }),
        give: Rc::new(move || {
            let writer = writer.clone();
            create_task(async move { writer.write(vec![b'x']).await.0.map(drop) });
        }),
        left: Left::Again,
    }
}

/// A reader that comes back to its place, however the wait with it ends.
struct Taken {
    reader: Option<StreamReader>,
    place: Rc<Cell<Option<StreamReader>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.place.set(self.reader.take());
    }
}

/// `how`: any byte, one byte, or a line of one.
async fn stream(how: usize) -> Subject {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (reader, writer) = ringio::open_connection(address).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    let (reader, writer) = (Rc::new(Cell::new(Some(reader))), Rc::new(writer));
    let peer = Rc::new(Cell::new(Some(peer)));
    Subject {
        wait: Box::new(move || {
            let reader = reader.clone();
            let writer = writer.clone();
            Box::pin(async move {
                let _open = writer;
                // One waits at a time.
                let mut own = Taken { reader: reader.take(), place: reader };
                let reader = own.reader.as_mut().expect("one waits at a time");
                let read = match how {
                    0 => reader.read(8).await?,
                    1 => reader.readexactly(1).await?,
                    _ => reader.readline().await?,
                };
                Ok(read.len() as u32)
            })
        }),
        give: Rc::new(move || {
            let peer = peer.clone();
            create_task(async move {
                let mut own = peer.take().expect("it gives once");
                let written = own.write_all(b"\n".to_vec()).await.0;
                peer.set(Some(own));
                written
            });
        }),
        left: Left::Again,
    }
}

async fn accept() -> Subject {
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    Subject {
        wait: Box::new(move || {
            let listener = listener.clone();
            Box::pin(async move { listener.accept().await.map(|_| 1) })
        }),
        give: Rc::new(move || {
            create_task(async move { TcpStream::connect(address).await.map(drop) });
        }),
        left: Left::Again,
    }
}

// ---- the walk

/// What happens at the one moment, or around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Give,
    Cancel,
    Expire,
}

/// What came of the wait, and of the next one after it.
type Ended = (Got, bool);

/// The waiter: its wait, under a limit if there is one, and then another one.
async fn waiter(wait: LocalBoxFuture<'static, Got>, deadline: Option<Instant>) -> io::Result<Ended> {
    let ended = timeout_at(deadline, async move |_| wait.await).await;
    Ok((ended, yield_now().await.is_ok()))
}

/// What is left is what was not returned.
async fn settle(case: &str, subject: &Subject, dropped: bool, given: bool, got: u32) {
    let again = || wait_for((subject.wait)(), HOUR);
    match &subject.left {
        Left::Again => {
            let left = again().await.unwrap_or(0);
            assert_eq!(got + left, u32::from(given), "{case}: returned {got}, left {left}");
        }
        Left::Free => {
            assert!(got == 0 || given, "{case}: it was not there");
            if !given {
                (subject.give)();
            }
            assert_eq!(again().await.unwrap_or(0), 1, "{case}: lost, or never given back");
        }
        Left::Passing => {
            // C10: who was let through and cancelled before it ran has passed all the same.
            assert!(got == 0 || given, "{case}: nobody else came");
            if again().await.is_err() {
                (subject.give)();
                assert_eq!(again().await.unwrap_or(0), 1, "{case}: broken, or one too many is counted");
            }
        }
        // What was dropped may have been through.
        Left::Counted(left) if dropped => assert!(left() <= u32::from(given), "{case}"),
        Left::Counted(left) => assert_eq!(got + left(), u32::from(given), "{case}: returned {got}"),
        Left::Own(look) => look(End { case: case.to_owned(), dropped, given, got }).await,
    }
}

/// So many turns after the beginning the wait ends; `give`: so many turns before that the unit is given, or right after.
async fn by_turns(row: &Row, by_drop: bool, stage: usize, give: Option<usize>, after: bool) {
    let case = format!("{}, drop {by_drop}, stage {stage}, given {give:?} turns before, after {after}", row.name);
    let subject = (row.make)().await;
    let gap = give.unwrap_or(0);
    let give_now = |at: bool| {
        if at {
            (subject.give)();
        }
    };
    let got = if by_drop {
        let mut wait = (subject.wait)();
        let first = poll!(&mut wait).is_ready();
        assert!(!first, "{case}: there is nothing yet");
        turns(stage).await;
        give_now(give.is_some());
        turns(gap).await;
        drop(wait);
        0
    } else {
        let task = create_task(waiter((subject.wait)(), None));
        turns(stage).await;
        give_now(give.is_some());
        turns(gap).await;
        let any = task.to_any();
        let cancelled = any.cancel();
        give_now(after);
        check(&case, cancelled, task.await)
    };
    give_now(after && by_drop);
    settle(&case, &subject, by_drop, give.is_some() || after, got).await;
}

/// Each cancel is delivered once: by this wait, or by the next one.
fn check(case: &str, cancelled: bool, ended: io::Result<Ended>) -> u32 {
    let (got, next) = ended.unwrap_or_else(|error| panic!("{case}: {error}"));
    let here = got.as_ref().is_err_and(is_cancel);
    if let Err(error) = &got {
        assert!(here || error.kind() == io::ErrorKind::TimedOut, "{case}: {error}");
    }
    assert_eq!(u32::from(here) + u32::from(!next), u32::from(cancelled), "{case}: {got:?}, next {next}");
    got.unwrap_or(0)
}

/// Everything at one instant, in the order of `acts`: that in which the timers were made.
async fn at_once(row: &Row, acts: &[Act], is_kind: bool) {
    let case = format!("{}, at once {acts:?}", row.name);
    let subject = (row.make)().await;
    let deadline = testing::now() + MOMENT;
    let target: Rc<RefCell<Option<AnyTask>>> = Rc::default();
    let cancelled = Rc::new(Cell::new(false));
    let mut task = None;
    for act in acts {
        match act {
            Act::Expire => {
                let waiting = create_task(waiter((subject.wait)(), Some(deadline)));
                target.replace(Some(waiting.to_any()));
                task = Some(waiting);
            }
            Act::Give => {
                let give = subject.give.clone();
                create_task(async move { sleep_until(deadline).await.map(|()| give()) });
            }
            Act::Cancel => {
                let (target, cancelled) = (target.clone(), cancelled.clone());
                create_task(async move {
                    sleep_until(deadline).await?;
                    let target = target.borrow().clone().expect("made by now");
                    cancelled.set(target.cancel());
                    Ok::<_, io::Error>(())
                });
            }
        }
        turns(2).await;
    }
    let ended = task.expect("one expires").await;
    let position = |act| acts.iter().position(|other| *other == act);
    if is_kind
        && !row.clocked
        && let Ok((Err(error), _)) = &ended
        && position(Act::Cancel) < position(Act::Expire)
        && position(Act::Cancel).is_some()
    {
        assert!(is_cancel(error), "{case}: TO8: {error}");
    }
    let got = check(&case, cancelled.get(), ended);
    let given = acts.contains(&Act::Give);
    turns(2).await;
    settle(&case, &subject, false, given, got).await;
}

const ORDERS: &[&[Act]] = &[
    &[Act::Expire],
    &[Act::Give, Act::Expire],
    &[Act::Expire, Act::Give],
    &[Act::Cancel, Act::Expire],
    &[Act::Expire, Act::Cancel],
    &[Act::Give, Act::Cancel, Act::Expire],
    &[Act::Give, Act::Expire, Act::Cancel],
    &[Act::Cancel, Act::Give, Act::Expire],
    &[Act::Expire, Act::Give, Act::Cancel],
    &[Act::Cancel, Act::Expire, Act::Give],
    &[Act::Expire, Act::Cancel, Act::Give],
];

async fn walk(row: &Row, is_kind: bool) {
    for by_drop in [false, true] {
        for stage in 0..row.stages {
            by_turns(row, by_drop, stage, None, false).await;
            if row.gives {
                by_turns(row, by_drop, stage, None, true).await;
                for gap in 0..4 {
                    by_turns(row, by_drop, stage, Some(gap), false).await;
                }
            }
        }
    }
    for acts in ORDERS.iter().filter(|acts| row.gives || !acts.contains(&Act::Give)) {
        at_once(row, acts, is_kind).await;
    }
}

/// All of them, so that all that fail are known.
fn each_row(run: impl Fn(&'static Row)) {
    let fails = |row: &&'static Row| catch_unwind(AssertUnwindSafe(|| run(row))).is_err();
    let failed: Vec<&str> = ROWS.iter().filter(fails).map(|row| row.name).collect();
    assert!(failed.is_empty(), "what these rows say is above: {failed:?}");
}

#[test]
fn every_wait_at_every_stage_in_a_kind_kernel() {
    each_row(|row| super::in_time(|| testing::run_virtual(walk(row, true))));
}

#[test]
fn every_wait_at_every_stage_in_hostile_kernels() {
    // What takes nothing away, and everything else.
    let faults = Faults::all() - Faults::RESET - Faults::EXHAUSTED;
    let factor = env::var("RINGIO_WORLDS").map_or(1, |text| text.parse().expect("RINGIO_WORLDS is a decimal number"));
    let first = if factor > 1 { seed() } else { 0 };
    each_row(|row| {
        for number in 0..row.worlds * factor {
            let seed = first.wrapping_add(number);
            let faults = if row.bulky { faults - Faults::SHORT } else { faults };
            super::in_time(move || Sim::new(seed).faults(faults).shuffle_tasks().run(walk(row, false)));
        }
    });
}
