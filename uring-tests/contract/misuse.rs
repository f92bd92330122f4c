//! Contract 10, X3: misuse is answered clearly.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use ringio::{
    CancelledError, LoopHandle, TaskGroup, TcpListener, TcpStream, create_task, open_connection, start_server, timeout,
    timeout_at,
};

use super::{child, in_time, on_ring, pairs, panic_text, turns};

const OUTSIDE: &str = "no ringio runtime runs on this thread";

#[test]
fn outside_of_a_runtime_it_says_so() {
    in_time(|| {
        let calls: [(&str, fn()); 7] = [
            ("create_task", || drop(create_task(async {}))),
            ("builder", || drop(ringio::Task::builder().name("x").spawn(async {}))),
            ("bind", || drop(TcpListener::bind("127.0.0.1:0"))),
            ("timeout", || drop(timeout(Duration::ZERO, async |_| io::Result::Ok(())))),
            ("wait_for", || drop(ringio::wait_for(async { io::Result::Ok(()) }, Duration::from_secs(1)))),
            ("from_fd", || drop(TcpStream::from_fd(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()))),
            ("descriptor", || drop(ringio::Descriptor::new(io::pipe().unwrap().0.into()))),
        ];
        for (name, call) in calls {
            if name == "from_fd" {
                continue; // refused for another reason first; below
            }
            let text = panic_text(call);
            assert!(text.contains(OUTSIDE) && text.contains("ringio::run"), "{name}: {text}");
        }
    });
}

#[test]
fn delay_that_is_not_a_number_is_an_error() {
    // SL1: ValueError there; what is less than nothing is one turn, what is huge is for ever.
    on_ring(async || {
        assert_eq!(ringio::sleep_secs(f64::NAN).await, Err(ringio::SleepError::NotANumber));
        let error = io::Error::from(ringio::SleepError::NotANumber);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        for seconds in [0.0, -0.0, -1.0, f64::NEG_INFINITY, f64::MIN_POSITIVE, 0.001] {
            ringio::sleep_secs(seconds).await.unwrap();
        }
        for seconds in [f64::INFINITY, f64::MAX, 1e300] {
            let slept =
                ringio::wait_for(async { Ok::<_, io::Error>(ringio::sleep_secs(seconds).await?) }, Duration::ZERO);
            assert_eq!(slept.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            let task = create_task(ringio::sleep_secs(seconds));
            turns(2).await;
            task.cancel();
            assert_eq!(task.await, Err(ringio::SleepError::Cancelled(CancelledError)));
        }
    });
}

#[test]
fn awaited_outside_of_a_runtime_it_says_so() {
    in_time(|| {
        use futures::executor::block_on;
        let texts = [
            panic_text(|| assert!(block_on(ringio::sleep(Duration::from_secs(1))).is_ok())),
            panic_text(|| drop(block_on(TcpStream::connect("127.0.0.1:1")))),
            panic_text(|| drop(block_on(async { open_connection("127.0.0.1:1").await }))),
        ];
        for text in texts {
            assert!(text.contains(OUTSIDE), "{text}");
        }
        // Limits are checked and tasks looked for without a runtime.
        assert!(ringio::current_task().is_none() && ringio::all_tasks().is_empty());
    });
}

#[test]
fn a_name_to_sleep_on_the_other_side_of_a_run_is_found_there() {
    // A future made outside and awaited inside is fine where nothing starts with the call.
    in_time(|| {
        let sleep = ringio::sleep(Duration::from_millis(1));
        assert_eq!(ringio::run(sleep), Ok(()));
        let open = open_connection("127.0.0.1:notaport");
        assert_eq!(ringio::run(async { open.await.unwrap_err().kind() }), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn address_in_use_is_named() {
    on_ring(async || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        let error = start_server(async |_, _| {}, address).await.unwrap_err();
        assert!(
            error.kind() == io::ErrorKind::AddrInUse && error.to_string().contains(&address.to_string()),
            "{error}"
        );
        first.close().await.unwrap();
        TcpListener::bind(address).unwrap();
    });
}

#[test]
fn somebody_elses_address_is_named() {
    on_ring(async || {
        let error = TcpListener::bind("192.0.2.1:0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    });
}

#[test]
fn port_zero_is_a_port_of_the_systems_choice() {
    on_ring(async || {
        let ports: Vec<u16> = (0..2)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap())
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert!(ports.iter().all(|port| *port != 0));
        let server = start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        assert_ne!(pairs::address(&server).port(), 0);
    });
}

#[test]
fn malformed_addresses_are_quoted() {
    on_ring(async || {
        for text in ["", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "127.0.0.1:http", "[::1:80"] {
            let errors = [
                TcpListener::bind(text).unwrap_err(),
                TcpStream::connect(text).await.unwrap_err(),
                open_connection(text).await.unwrap_err(),
                start_server(async |_, _| {}, text).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}: {error}");
                assert!(error.to_string().contains(text), "{text:?}: {error}");
            }
        }
    });
}

#[test]
fn no_address_at_all_is_an_error() {
    on_ring(async || {
        let none: Vec<SocketAddr> = Vec::new();
        assert_eq!(TcpListener::bind(none.clone()).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(open_connection(none).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn bind_refuses_a_name() {
    on_ring(async || {
        let error = TcpListener::bind("localhost:0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("localhost") && error.to_string().contains("name"), "{error}");
        // start_server may wait, so it looks the name up.
        let server = start_server(async |_, _| {}, "localhost:0").await.unwrap();
        assert!(!server.sockets().is_empty());
    });
}

#[test]
fn refused_connection_names_every_address() {
    on_ring(async || {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        turns(3).await;
        let error = TcpStream::connect(vec![address, address]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string().matches(&address.to_string()).count(), 2, "{error}");
    });
}

#[test]
fn descriptor_that_is_no_stream_socket_is_named() {
    on_ring(async || {
        let datagram: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let pipe: OwnedFd = io::pipe().unwrap().0.into();
        for fd in [datagram, pipe] {
            use std::os::fd::AsRawFd;
            let number = fd.as_raw_fd().to_string();
            let errors =
                [TcpStream::from_fd(fd.try_clone().unwrap()).unwrap_err(), TcpListener::from_fd(fd).unwrap_err()];
            for error in &errors {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert!(error.to_string().contains("descriptor "), "{error}");
            }
            assert!(errors[1].to_string().contains(&number), "{}", errors[1]);
        }
    });
}

#[test]
fn limit_of_zero_is_refused() {
    // OC6
    on_ring(async || {
        let server = start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        let error = open_connection(pairs::address(&server)).limit(0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("limit"), "{error}");
        let error = start_server(async |_, _| {}, "127.0.0.1:0").limit(0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn writes_at_the_wrong_time_are_refused() {
    // SW1, SW4
    on_ring(async || {
        let ((_reader, mut writer), _far) = pairs::streams(64).await;
        let error = writer.wait_closed().await.unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains("close()"), "{error}");
        writer.write_eof().unwrap();
        writer.write_eof().unwrap();
        let error = writer.write(b"late").unwrap_err();
        assert!(error.to_string().contains("write_eof"), "{error}");
        assert!(writer.write_owned("late").is_err());
        writer.close();
        writer.close();
        assert!(writer.is_closing());
        for error in [writer.write(b"late").unwrap_err(), writer.write_owned("late").unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
        }
        writer.wait_closed().await.unwrap();
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn closed_listener_says_so() {
    on_ring(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let waiting = listener.clone();
        let accept = create_task(async move { waiting.accept().await.map(drop) });
        turns(1).await;
        listener.close().await.unwrap();
        listener.close().await.unwrap();
        for error in [accept.await.unwrap_err(), listener.accept().await.map(drop).unwrap_err()] {
            assert!(error.kind() == io::ErrorKind::NotConnected && error.to_string().contains("closed"), "{error}");
        }
        assert!(listener.local_addr().is_err());
    });
}

#[test]
fn closed_server_does_not_serve() {
    // SV5
    on_ring(async || {
        let server = start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        let serving = server.clone();
        let serve = create_task(async move { serving.serve_forever().await });
        turns(1).await;
        let error = server.serve_forever().await.unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
        server.close();
        server.close();
        serve.await.unwrap();
        let error = server.serve_forever().await.unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
        assert!(!server.is_serving() && server.sockets().is_empty());
    });
}

#[test]
fn runner_dropped_inside_a_task_says_so() {
    // RUN2: nothing can be waited for there.
    in_time(|| {
        ringio::run(async {
            let inner = ringio::Runner::new().unwrap();
            let text = panic_text(|| drop(inner));
            assert!(text.contains("cannot be closed while another runtime runs"), "{text}");
            turns(1).await;
        });
    });
}

#[test]
fn builder_refuses_impossible_pools() {
    for (count, size) in [(3, 4096), (0, 4096), (16, 32), (16, 2 << 20)] {
        let text = panic_text(|| drop(ringio::Runner::builder().buffer_pool(count, size)));
        assert!(text.contains("buffer_pool"), "{text}");
    }
}

#[test]
fn unknown_settings_in_the_environment_are_named() {
    for (name, allowed) in [("RINGIO_DRIVER", "io_uring"), ("RINGIO_PROFILE", "base, multi or full")] {
        let child = child::Scenario::new("settings").env(name, "nonsense").start();
        let (lines, ended) = child.finish();
        assert_eq!(ended, Ok(0), "{lines}");
        for word in [name, "nonsense", allowed] {
            assert!(lines.contains(word), "{word} is missing in {lines}");
        }
    }
}

/// Runs in a process with an unknown value in the environment.
pub(super) fn settings() {
    let error = ringio::Runner::new().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    println!("{error}");
    assert!(ringio::driver_report().is_err());
    let text = panic_text(|| ringio::run(async {}));
    assert!(text.contains("nonsense"), "{text}");
}

#[test]
fn scopes_outside_of_a_task_say_so() {
    // TG12, TO6: without a runtime, and in a callback, which is no task. That they are entered once is the compiler's
    // business: `ui/a_scope_is_entered_once.rs`.
    async fn group() {
        let _ = TaskGroup::scope(async |_: &TaskGroup<io::Error>| Ok(())).await;
    }
    async fn limited(when: Option<Instant>) {
        let _ = timeout_at(when, async |_| io::Result::Ok(())).await;
    }
    fn texts() -> [String; 3] {
        use futures::executor::block_on;
        [
            panic_text(|| block_on(group())),
            panic_text(|| block_on(limited(None))),
            panic_text(|| drop(block_on(timeout(None, async |_| io::Result::Ok(()))))),
        ]
    }
    fn assert_told([group, limit, other]: [String; 3]) {
        assert!(group.contains("a task group was opened outside of a ringio task"), "{group}");
        for text in [limit, other] {
            assert!(text.contains("a timeout was awaited outside of a ringio task"), "{text}");
        }
    }
    in_time(|| {
        assert_told(texts());
        let limit = panic_text(|| drop(timeout(LONG, async |_| io::Result::Ok(()))));
        assert!(limit.contains(OUTSIDE), "its clock is that of the runtime: {limit}");
        let (tell, told) = std::sync::mpsc::channel();
        ringio::run(async move {
            let handle = LoopHandle::current().unwrap();
            handle.call_soon(move || tell.send(texts()).unwrap()).unwrap();
            let task = create_task(turns(1));
            task.add_done_callback(|_| assert_told(texts()));
            task.await.unwrap();
            turns(3).await;
        });
        assert_told(told.recv().unwrap());
    });
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_belongs_to_a_loop_refuses_other_threads() {
    // DB3: in every mode. Objects of a loop do not get there at all: `ui/tasks_stay_on_their_thread.rs`.
    in_time(|| {
        for debug in [false, true] {
            let mut runner = ringio::Runner::builder().debug(debug).build().unwrap();
            runner.run(async {
                let texts = ringio::to_thread(|| {
                    assert!(ringio::current_task().is_none() && ringio::all_tasks().is_empty());
                    assert!(LoopHandle::current().is_none());
                    let calls: [fn(); 6] = [
                        || drop(create_task(async {})),
                        || drop(ringio::Task::builder().eager(true).spawn(async {})),
                        || drop(TcpListener::bind("127.0.0.1:0")),
                        || drop(ringio::signals([ringio::Signal::USR1])),
                        || ringio::at_close(async {}),
                        || drop(timeout(LONG, async |_| io::Result::Ok(()))),
                    ];
                    calls.map(|call| panic_text(call))
                });
                for text in texts.await.unwrap() {
                    assert!(text.contains(OUTSIDE) && text.contains("LoopHandle::call_soon"), "{text}");
                }
                // That is the way.
                let handle = LoopHandle::current().unwrap();
                let made = ringio::to_thread(move || {
                    ringio::run_coroutine_threadsafe(|| create_task(async { Ok::<_, CancelledError>(5) }), &handle)
                        .result(None)
                });
                assert_eq!(made.await.unwrap().unwrap(), 5);
            });
        }
    });
}
