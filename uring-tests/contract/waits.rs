//! Contract 11: what a task waits for is named, whatever it is, in snapshots, dumps and call stacks alike.

use std::future::pending;

use futures::stream::{FuturesUnordered, StreamExt};
use ringio::{
    AnyTask, Barrier, BoundedSemaphore, CancelledError, Condition, Event, LifoQueue, Lock, LoopHandle, Mailbox, Mutex,
    PriorityQueue, Queue, Semaphore, Task, cancellable, capture_call_graph, create_task, dump_tasks, gather,
    run_coroutine_threadsafe, shield, start_server, to_thread,
};

use super::{
    forever,
    inspection::{named, seen_from_elsewhere},
    on_ring, turns,
};

/// A task of that name, which begins the wait.
fn task<R>(name: &str, wait: impl Future<Output = R> + 'static) -> AnyTask {
    let body = async {
        wait.await;
        Ok::<_, CancelledError>(())
    };
    Task::builder().name(name).spawn(body).to_any()
}

/// What these tasks wait for, each said alike wherever it is said. They are cancelled then.
async fn said_of(tasks: &[AnyTask]) -> Vec<String> {
    turns(3).await;
    let seen = seen_from_elsewhere().await;
    let mut dump = Vec::new();
    dump_tasks(&mut dump).unwrap();
    let dump = String::from_utf8(dump).unwrap();
    let mut said = Vec::new();
    for task in tasks {
        let waits = named(&seen, &task.name()).waits_for.join("; ");
        let line = dump.lines().find(|line| line.starts_with(&format!("{} (id ", task.name()))).unwrap();
        assert!(line.contains(&format!("spawned at {}:", file!())), "{line}");
        assert!(line.ends_with(&format!("): waits for {waits}")), "{line}: {waits}");
        let stack = capture_call_graph(task.clone(), None).unwrap().call_stack;
        assert_eq!(stack.last().map(|frame| &frame.what), Some(&waits));
        said.push(waits);
    }
    for task in tasks {
        task.cancel();
    }
    turns(3).await;
    said
}

/// Without the places where things were made, which are here.
fn placeless(said: &[String]) -> Vec<String> {
    let without = |text: &String| {
        let Some((call, place)) = text.split_once(" (made at ") else { return text.clone() };
        let rest = place.strip_prefix(file!()).unwrap_or_else(|| panic!("{text}: not where it was made"));
        let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
        format!("{call} ({rest}")
    };
    said.iter().map(without).collect()
}

#[test]
fn locks_and_what_is_like_them() {
    on_ring(async || {
        let lock = Lock::new();
        let _held = lock.acquire().await.unwrap();
        let acquire = || {
            let lock = lock.clone();
            async move { lock.acquire().await.map(drop) }
        };
        let (semaphore, bounded) = (Semaphore::new(0), BoundedSemaphore::new(0));
        let (event, barrier) = (Event::new(), Barrier::new(2).unwrap());
        let mutex = std::rc::Rc::new(Mutex::new(()));
        let kept = mutex.clone();
        let _kept = kept.acquire().await.unwrap();
        let tasks = [
            task("first", acquire()),
            task("second", acquire()),
            task("third", acquire()),
            task("mutex", async move { mutex.acquire().await.map(drop) }),
            task("semaphore", async move { semaphore.acquire().await.map(drop) }),
            task("bounded", async move { bounded.acquire().await.map(drop) }),
            task("event", async move { event.wait().await }),
            task("barrier", async move { barrier.wait().await }),
        ];
        let said = placeless(&said_of(&tasks).await);
        let expected = [
            "Lock.acquire ()",
            "Lock.acquire (, 1 before it)",
            "Lock.acquire (, 2 before it)",
            "Mutex.acquire ()",
            "Semaphore.acquire ()",
            "BoundedSemaphore.acquire ()",
            "Event.wait ()",
            "Barrier.wait ()",
        ];
        assert_eq!(said, expected);
        assert_eq!(lock.statistics().waiting, 0);
    });
}

#[test]
fn the_place_is_where_the_object_was_made() {
    on_ring(async || {
        let (line, event) = (line!(), Event::default());
        let said = said_of(&[task("event", async move { event.wait().await })]).await;
        assert!(said[0].starts_with(&format!("Event.wait (made at {}:{line}:", file!())), "{said:?}");
    });
}

#[test]
fn conditions_before_and_after_the_notification() {
    on_ring(async || {
        let condition = Condition::new();
        let waiting = |condition: Condition| async move { condition.acquire().await?.wait().await };
        let tasks = [task("one", waiting(condition.clone())), task("two", waiting(condition.clone()))];
        turns(3).await;
        let guard = condition.acquire().await.unwrap();
        guard.notify(1);
        let said = placeless(&said_of(&tasks).await);
        // The lock is held: the one that was notified stands in its line, and no cancel ends that.
        assert_eq!(said, ["Condition.acquire ()", "Condition.wait ()"]);
        drop(guard);
    });
}

#[test]
fn all_three_waits_for_queues() {
    on_ring(async || {
        let (empty, full) = (Queue::<u8>::unbounded(), Queue::new(1));
        let (lifo, smallest) = (LifoQueue::<u8>::new(1), PriorityQueue::<u8>::unbounded());
        full.put_nowait(1).unwrap();
        let (put, join, items) = (full.clone(), full.clone(), empty.clone());
        let tasks = [
            task("get", async move { empty.get().await }),
            task("items", async move { items.items().next().await }),
            task("put", async move { put.put(2).await }),
            task("join", async move { join.join().await }),
            task("lifo", async move { lifo.get().await }),
            task("smallest", async move { smallest.get().await }),
        ];
        let said = placeless(&said_of(&tasks).await);
        let expected = [
            "Queue.get ()",
            "Queue.get (, 1 before it)",
            "Queue.put ()",
            "Queue.join ()",
            "LifoQueue.get ()",
            "PriorityQueue.get ()",
        ];
        assert_eq!(said, expected);
    });
}

#[test]
fn what_crosses_threads() {
    on_ring(async || {
        let (mut empty, full) = (Mailbox::<u8>::unbounded(), Mailbox::new(1));
        let (_open, sender) = (empty.sender(), full.sender());
        sender.put_nowait(1).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let handle = LoopHandle::current().unwrap();
        let tasks = [
            task("get", async move { empty.get().await }),
            task("put", async move { sender.put(2).await }),
            task("thread", to_thread(move || wait.recv())),
            task("loop", async move { run_coroutine_threadsafe(forever, &handle).await }),
        ];
        let said = said_of(&tasks).await;
        assert_eq!(said, ["Mailbox.get", "MailboxSender.put", "to_thread", "ThreadsafeTask"]);
        drop((go, full));
        // The notes went with the waits.
        let seen = seen_from_elsewhere().await;
        let words = ["Mailbox", "to_thread", "ThreadsafeTask"];
        let noted = |wait: &&String| words.iter().any(|word| wait.starts_with(word));
        let left: Vec<&String> = seen.iter().flat_map(|task| &task.waits_for).filter(noted).collect();
        assert_eq!(left, ["to_thread"], "of this very asking");
    });
}

#[test]
fn futures_of_others_and_servers() {
    on_ring(async || {
        let server = std::rc::Rc::new(start_server(async |_, _| std::io::Result::Ok(()), "127.0.0.1:0").await.unwrap());
        let (serves, closes) = (server.clone(), server.clone());
        let tasks = [
            task("foreign", cancellable(pending::<()>())),
            task("closes", async move { closes.wait_closed().await }),
            task("serves", async move { serves.serve_forever().await }),
        ];
        let said = said_of(&tasks).await;
        assert_eq!(said, ["cancellable", "Server.wait_closed", "Server.serve_forever"]);
        let (end, ended) = futures::channel::oneshot::channel::<()>();
        task("unknown", ended);
        turns(2).await;
        let mut dump = Vec::new();
        dump_tasks(&mut dump).unwrap();
        let dump = String::from_utf8(dump).unwrap();
        assert!(dump.contains("waits for something that is not of this crate"), "{dump}");
        drop(end);
    });
}

#[test]
fn waits_in_parts_of_a_task() {
    // IN3: such as are polled with wakers of their own; still it is the task that waits.
    on_ring(async || {
        let (lock, inner) = (Lock::new(), create_task(forever()));
        let known = inner.to_any();
        let _held = lock.acquire().await.unwrap();
        let waits = lock.clone();
        let all = task("all", async move {
            let parts = FuturesUnordered::new();
            parts.push(futures::FutureExt::boxed_local(async move { waits.acquire().await.map(drop) }));
            parts.push(Box::pin(forever()));
            parts.push(Box::pin(inner));
            parts.push(Box::pin(async { gather([forever()]).await.map(drop) }));
            parts.push(Box::pin(shield(create_task(forever()))));
            parts.collect::<Vec<_>>().await
        });
        turns(3).await;
        let seen = seen_from_elsewhere().await;
        let waits = &named(&seen, "all").waits_for;
        let sleeps = waits.iter().filter(|wait| wait.starts_with("sleep 3")).count();
        let lines = waits.iter().filter(|wait| wait.starts_with("Lock.acquire (made at ")).count();
        let tasks = waits.iter().filter(|wait| wait.starts_with("task ")).count();
        assert_eq!((waits.len(), sleeps, lines, tasks), (5, 1, 1, 3), "{waits:?}");
        let graph = capture_call_graph(known.clone(), None).unwrap();
        assert_eq!(graph.awaited_by.len(), 1);
        assert_eq!(graph.awaited_by[0].task, all);
        known.cancel();
        all.cancel();
        turns(5).await;
    });
}
