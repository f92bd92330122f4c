//! The simulated world itself: its time, its order, its deadlock, and that it sees what it has to see.

use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use ringio::{
    BufResult, CancelledError, TcpListener, TcpStream, UnixDatagram, create_task, internals, sleep,
    testing::{self, Faults, Sim, run_virtual},
    timeout, wait_for, yield_now,
};

fn kind(seed: u64) -> Sim {
    Sim::new(seed).faults(Faults::empty())
}

/// What a failed run says.
fn failure(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("this run fails");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().map(|text| (*text).to_owned()).expect("a text"),
    }
}

#[test]
fn virtual_time_jumps_to_the_next_timer_exactly() {
    run_virtual(async {
        let long = create_task(async {
            sleep(Duration::from_secs(7)).await?;
            Ok::<_, CancelledError>(testing::elapsed())
        });
        sleep(Duration::from_secs(3)).await.unwrap();
        assert_eq!(testing::elapsed(), Duration::from_secs(3));
        assert_eq!(long.await.unwrap(), Duration::from_secs(7));
        let waited = timeout(Duration::from_secs(100), async |_| {
            sleep(Duration::from_secs(1000)).await?;
            io::Result::Ok(())
        })
        .await;
        assert!(waited.is_err());
        assert_eq!(testing::elapsed(), Duration::from_secs(107));
    });
}

#[test]
fn a_connection_carries_bytes_and_its_end() {
    kind(1).run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        client.write_all(b"ping".to_vec()).await.0.unwrap();
        client.write_eof().unwrap();
        let BufResult(count, buffer) = server.read(vec![0; 16]).await;
        assert_eq!((count.unwrap(), &buffer[..4]), (4, &b"ping"[..]));
        assert_eq!(server.read(vec![0; 16]).await.0.unwrap(), 0);
        server.write_all(b"pong".to_vec()).await.0.unwrap();
        assert_eq!(client.read(vec![0; 16]).await.0.unwrap(), 4);
        client.close().await.unwrap();
        server.close().await.unwrap();
        assert_eq!(testing::elapsed(), Duration::ZERO);
    });
}

#[test]
fn nothing_left_to_happen_is_a_deadlock_that_names_who_waits() {
    let text = failure(|| {
        kind(0).run(async {
            let (reader, _writer) = testing::pipe().unwrap();
            let task = ringio::Task::builder().name("the reader").spawn(async move {
                reader.read(vec![0; 4]).await.0?;
                io::Result::Ok(())
            });
            task.await.unwrap();
        });
    });
    for part in ["Deadlock", "the reader", "receive on pipe #1", "uring-tests/gauntlet/world.rs"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let text = failure(|| {
        kind(0).turns_max(5000).run(async {
            loop {
                let _ = yield_now().await;
            }
        });
    });
    assert!(text.contains("no end after 5000 turns"), "{text}");
}

#[test]
fn a_wake_from_another_thread_is_waited_for() {
    let (sender, receiver) = futures::channel::oneshot::channel();
    let thread = std::thread::spawn(move || sender.send(42).unwrap());
    assert_eq!(kind(0).run(receiver), Ok(42));
    thread.join().unwrap();
}

#[test]
fn tasks_that_nobody_sees_run_here_too() {
    // T6: done callbacks are called by such a task.
    let called = Rc::new(RefCell::new(Vec::new()));
    let log = called.clone();
    run_virtual(async move {
        let task = create_task(async { Ok::<_, CancelledError>(()) });
        task.add_done_callback(move |done| log.borrow_mut().push(done.done()));
        sleep(Duration::from_millis(1)).await
    })
    .unwrap();
    assert_eq!(*called.borrow(), [true]);
}

fn order_of_tasks(sim: Sim) -> Vec<usize> {
    let order = Rc::new(RefCell::new(Vec::new()));
    sim.run(async {
        for number in 0..10 {
            let order = order.clone();
            create_task(async move { order.borrow_mut().push(number) });
        }
        testing::turns(2).await.unwrap();
    });
    order.take()
}

#[test]
fn tasks_run_in_their_order_unless_the_seed_may_choose() {
    assert_eq!(order_of_tasks(kind(5)), (0..10).collect::<Vec<_>>());
    let shuffled = order_of_tasks(kind(5).shuffle_tasks());
    assert_ne!(shuffled, (0..10).collect::<Vec<_>>());
    assert_eq!(order_of_tasks(kind(5).shuffle_tasks()), shuffled);
    assert_ne!(order_of_tasks(kind(6).shuffle_tasks()), shuffled);
}

#[test]
fn all_operations_and_buffers_are_back_at_rest() {
    kind(3).run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        drop((client, accepted));
        listener.close().await.unwrap();
        sleep(Duration::from_secs(2)).await.unwrap();
        assert_eq!(internals::counts().operations, 0);
    });
}

#[test]
fn what_comes_while_a_close_lingers_leaves_the_pool_at_once() {
    // kernel pitfall 27: a socket that is being closed may linger for a second; the buffers are everybody's
    let small = |builder: ringio::RunnerBuilder| builder.buffer_pool(4, 256);
    kind(3).runner(small).run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut reader, mut writer) = ringio::open_connection(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        far.write_all(b"read, unread".to_vec()).await.0.unwrap();
        assert_eq!(reader.readexactly(4).await.unwrap(), "read");
        writer.close();
        for _ in 0..3 {
            far.write_all(vec![b'x'; 1000]).await.0.unwrap();
            sleep(Duration::from_millis(10)).await.unwrap();
            let counts = internals::counts();
            assert_eq!(counts.buffers_home, counts.buffers, "it keeps buffers of the pool");
            assert!(counts.operations > 0, "it lingers still");
        }
        writer.wait_closed().await.unwrap();
        assert!(testing::elapsed() > Duration::from_millis(900), "it lingered for {:?}", testing::elapsed());
    });
}

#[test]
fn closing_ends_what_was_told_to_come_back() {
    // The accept, or the receive, that the close cancels answers "not now" instead: a poll in its place would never end.
    // Where operations take their time, the cancel comes first.
    let faults = Faults::NOT_READY | Faults::PROFILE | Faults::DELAY | Faults::CANCEL | Faults::ENTER;
    for seed in 0..200 {
        Sim::new(seed).faults(faults).run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            for patience in [0, 1, 1000] {
                let patience = Duration::from_micros(patience);
                assert!(wait_for(listener.accept(), patience).await.is_err());
                assert!(wait_for(server.read(vec![0; 4]), patience).await.0.is_err());
            }
            listener.close().await.unwrap();
            server.close().await.unwrap();
            drop(client);
        });
    }
}

#[test]
fn who_waits_for_what_was_sent_is_told_of_it() {
    // SW3: whether the wait begins before the kernel has the bytes, or after it has refused to take them.
    for seed in 0..100 {
        Sim::new(seed).faults(Faults::ENTER).run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (_reader, mut writer) = ringio::open_connection(address).await.unwrap();
            let _peer = listener.accept().await.unwrap();
            for round in 0..20 {
                writer.write(b"word").unwrap();
                for _ in 0..round % 3 {
                    yield_now().await.unwrap();
                }
                writer.flush().await.unwrap();
            }
        });
    }
}

#[test]
fn an_operation_that_a_signal_interrupts_starts_again() {
    // C10: nobody cancelled it, so nobody hears of it.
    let mut interrupted = 0;
    for seed in 0..100 {
        Sim::new(seed).faults(Faults::INTERRUPT | Faults::PROFILE).run(async {
            let (reader, writer) = testing::pipe().unwrap();
            let reading = create_task(async move {
                reader.readable().await?;
                reader.read(vec![0; 4]).await.0
            });
            let (here, there) = UnixDatagram::pair().unwrap();
            let receiving = create_task(async move { there.recv().await });
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serving = create_task(async move {
                let (mut stream, _) = listener.accept().await?;
                stream.read(vec![0; 4]).await.0
            });
            let mut stream = TcpStream::connect(address).await.unwrap();
            sleep(Duration::from_secs(1)).await.unwrap();
            interrupted += testing::trace().iter().filter(|line| line.ends_with(" -4 0x0")).count();
            assert_eq!(writer.write("ping").await.0.unwrap(), 4);
            assert_eq!(reading.await.unwrap(), 4);
            here.send("ping").await.0.unwrap();
            assert_eq!(receiving.await.unwrap().0, "ping");
            stream.write_all("ping").await.0.unwrap();
            assert_eq!(serving.await.unwrap(), 4);
        });
    }
    assert!(interrupted > 30, "{interrupted} interrupted operations test nothing");
}

/// The times, in microseconds, of the events of a trace that end in one of these.
fn times(trace: &[String], ends: &[&str]) -> Vec<(u64, bool)> {
    let time = |line: &String| line.trim_start().split(' ').next().and_then(|word| word.parse().ok()).expect("a time");
    trace.iter().filter_map(|line| Some((time(line), ends.iter().position(|end| line.ends_with(end))? == 0))).collect()
}

#[test]
fn a_listener_without_descriptors_asks_again_only_after_its_pause() {
    // SV8: 100 ms at first, and longer and longer while it goes on.
    let mut bursts = 0;
    for seed in 0..60 {
        Sim::new(seed).faults(Faults::EXHAUSTED | Faults::PROFILE).run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..20 {
                let client = TcpStream::connect(address).await.unwrap();
                let accepted = listener.accept().await.unwrap();
                drop((client, accepted));
            }
            let events = times(&testing::trace(), &["accept", "-24 0x0"]);
            for pair in events.windows(2).filter(|pair| !pair[0].1) {
                bursts += 1;
                let ((failed, _), (next, is_accept)) = (pair[0], pair[1]);
                assert!(is_accept && next - failed >= 100_000, "asked again after {} us", next - failed);
            }
        });
    }
    assert!(bursts > 20, "{bursts} failures test nothing");
}
