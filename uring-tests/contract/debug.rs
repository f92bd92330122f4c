//! Contract 11 and 12: call graphs, and the debug mode.

use std::{
    io,
    time::{Duration, Instant},
};

use ringio::{
    CancelledError, ReportKind, Runner, StreamWriter, Task, TaskGroup, capture_call_graph, create_task, dump_tasks,
    format_call_graph, gather, internals, is_debug, open_connection_from, print_call_graph, set_debug, shield, wait,
};

use super::{Reports, busy_until, cancel::me, forever, in_time, on_ring, turns};

/// Everything is slow: what takes longer than this is said.
const SLOW: Duration = Duration::from_millis(5);

fn debugged(main: impl AsyncFnOnce() + Send + 'static) -> Vec<(ReportKind, String)> {
    in_time(move || {
        let reports = Reports::default();
        let builder = reports.builder().debug(true).slow_callback_duration(SLOW);
        let mut runner = builder.shutdown_timeout(Duration::from_millis(1)).build().unwrap();
        runner.run(main());
        runner.close();
        reports.kinds().into_iter().zip(reports.texts()).collect()
    })
}

fn count(reports: &[(ReportKind, String)], kind: ReportKind, text: &str) -> usize {
    reports.iter().filter(|(other, report)| *other == kind && report.contains(text)).count()
}

#[test]
fn debug_mode_is_off_unless_asked_for() {
    // DB1, RUN3
    assert!(!is_debug());
    on_ring(async || {
        assert!(!is_debug());
        set_debug(true);
        assert!(is_debug());
    });
    in_time(|| Runner::builder().debug(true).build().unwrap().run(async { assert!(is_debug()) }));
}

#[test]
fn slow_step_is_reported_with_its_task() {
    // DB2
    let reports = debugged(async || {
        Task::builder().name("snail").spawn(async { busy_until(Instant::now() + SLOW * 2) }).await.unwrap();
    });
    assert_eq!(count(&reports, ReportKind::SlowStep, "snail"), 1, "{reports:?}");
    let reports = Reports::default();
    reports.builder().build().unwrap().run(async { busy_until(Instant::now() + SLOW) });
    assert_eq!(reports.kinds(), [], "not without debug mode");
}

#[test]
fn writer_that_is_dropped_open_is_reported() {
    // SW8: but none that was closed or aborted, and nothing is lost.
    async fn three() {
        let ends = || std::os::unix::net::UnixStream::pair().unwrap();
        for close in [StreamWriter::close, StreamWriter::abort, |_: &mut StreamWriter| ()] {
            let (here, there) = ends();
            let (_reader, mut writer) = open_connection_from(here.into()).await.unwrap();
            let (mut far, mut far_writer) = open_connection_from(there.into()).await.unwrap();
            writer.write(b"all of it").unwrap();
            writer.flush().await.unwrap();
            close(&mut writer);
            drop(writer);
            assert_eq!(far.readexactly(9).await.unwrap(), "all of it");
            far_writer.close();
        }
    }
    let reports = debugged(async || three().await);
    assert_eq!(count(&reports, ReportKind::NeverClosed, "close()"), 1, "{reports:?}");
    let reports = Reports::default();
    reports.builder().build().unwrap().run(three());
    assert_eq!(reports.kinds(), [], "not without debug mode");
}

#[test]
fn wait_that_is_never_awaited_is_reported() {
    // DB5: but none that was begun, or that a cancel ended.
    let reports = debugged(async || {
        drop(forever());
        me().cancel();
        forever().await.unwrap_err();
        ringio::yield_now().await.unwrap();
        let _ = ringio::wait_for(async { io::Result::Ok(forever().await?) }, Duration::from_micros(1)).await;
    });
    assert_eq!(count(&reports, ReportKind::NeverAwaited, "a sleep"), 1, "{reports:?}");
}

#[test]
fn cancel_that_nobody_sees_is_reported() {
    // DB7, C14: the task waits for somebody else's future.
    let reports = debugged(async || {
        let task = Task::builder().name("deaf").spawn(std::future::pending::<()>());
        turns(1).await;
        task.cancel();
        ringio::sleep(SLOW * 3).await.unwrap();
    });
    assert_eq!(count(&reports, ReportKind::CancelUndelivered, "deaf"), 1, "{reports:?}");
}

#[test]
fn cancel_that_is_swallowed_is_reported() {
    // DB7, X1, flaw 18: but not one that was taken back.
    let reports = debugged(async || {
        let swallows = Task::builder().name("swallows").spawn(super::stubborn());
        let heeds = Task::builder().name("heeds").spawn(async {
            let _ = forever().await;
            me().uncancel();
            forever().await
        });
        turns(1).await;
        swallows.cancel();
        heeds.cancel();
        ringio::sleep(SLOW * 15).await.unwrap();
    });
    assert_eq!(count(&reports, ReportKind::CancelSwallowed, "swallows"), 1, "{reports:?}");
    assert_eq!(count(&reports, ReportKind::CancelSwallowed, "heeds"), 0, "{reports:?}");
}

#[test]
fn who_waits_for_a_task_is_known_as_long_as_it_waits() {
    // IN3: await, gather, wait, shield, a group; and the edges go with the waits.
    on_ring(async || {
        let awaiters = |task: &ringio::AnyTask| -> Vec<String> {
            let graph = capture_call_graph(task.clone(), None).unwrap();
            graph.awaited_by.iter().map(|graph| graph.task.name().to_string()).collect()
        };
        let task = create_task(forever());
        let known = task.to_any();
        let waiting = known.clone();
        Task::builder().name("waits").spawn(async move { wait([&waiting]).await.map(|_| ()) });
        Task::builder().name("shields").spawn(shield(task));
        turns(3).await;
        assert_eq!(awaiters(&known), ["waits", "shields"]);
        for task in ringio::all_tasks().iter().filter(|task| ["waits", "shields"].contains(&&*task.name())) {
            task.cancel();
        }
        turns(3).await;
        assert_eq!((awaiters(&known).len(), internals::joiners(&known)), (0, 0));
        known.cancel();
        let inner = create_task(forever());
        let known = inner.to_any();
        let gathers = Task::builder().name("gathers").spawn(async { gather([inner]).await.map(|_| ()) });
        let outer = Task::builder().name("awaits").spawn(gathers);
        turns(3).await;
        let graph = capture_call_graph(known.clone(), None).unwrap();
        assert_eq!(&*graph.awaited_by[0].awaited_by[0].task.name(), "awaits");
        outer.cancel();
        let parent = me();
        TaskGroup::scope(async |group| {
            let child = group.create_task(forever());
            assert_eq!(awaiters(&child.to_any()), [parent.name().to_string()]);
            group.cancel();
            Ok::<_, CancelledError>(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn graph_is_printed_as_asyncio_prints_it() {
    // IN1, IN2, IN4
    assert!(capture_call_graph(None, None).is_none());
    on_ring(async || {
        async fn sleeps() -> Result<(), CancelledError> {
            forever().await
        }
        let inner = Task::builder().name("inner").spawn(sleeps());
        let known = inner.to_any();
        let id = known.id();
        let outer = Task::builder().name("outer").spawn(inner);
        turns(2).await;
        let text = format_call_graph(known.clone(), None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("* Task(name='inner', id={id})"));
        assert_eq!(lines[1], "  + Call stack:");
        assert!(lines[2].starts_with("  |   File ") && lines[2].contains("sleeps"), "{text}");
        assert!(lines[3].starts_with("  |   sleep "), "{text}");
        assert_eq!(lines[4], "  + Awaited by:");
        assert_eq!(lines[5], format!("    * Task(name='outer', id={})", outer.id()));
        assert_eq!(lines[6], "      + Call stack:");
        assert!(lines.last().unwrap().ends_with("inner"), "{text}");
        let stack = |limit: isize| capture_call_graph(known.clone(), limit).unwrap().call_stack;
        assert!(stack(1)[0].what.starts_with("sleep ") && stack(-1)[0].what.contains("sleeps"));
        let none = capture_call_graph(known.clone(), 0).unwrap();
        assert_eq!((none.call_stack.len(), none.awaited_by.len()), (0, 1));
        let mut out = Vec::new();
        print_call_graph(None, None, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("* Task(name='Task-"));
    });
}

#[test]
fn tasks_that_wait_for_each_other_do_not_make_the_graph_endless() {
    // IN8
    on_ring(async || {
        let place: std::rc::Rc<std::cell::RefCell<Vec<ringio::AnyTask>>> = Default::default();
        for (index, name) in ["one", "two"].into_iter().enumerate() {
            let place = place.clone();
            let own = place.clone();
            let task = Task::builder().name(name).spawn(async move {
                turns(1).await;
                let other = own.borrow()[1 - index].clone();
                other.wait_done().await
            });
            place.borrow_mut().push(task.to_any());
        }
        turns(4).await;
        let one = place.borrow()[0].clone();
        let text = format_call_graph(one.clone(), None);
        assert_eq!(text.matches("* Task").count(), 2, "{text}");
        one.cancel();
        turns(3).await;
        place.take();
    });
}

#[test]
fn dump_says_what_everybody_waits_for() {
    on_ring(async || {
        let (reader, _writer) = super::super::support::wire::pipe();
        Task::builder().name("reads").spawn(async move { reader.read(vec![0; 8]).await.0.map(|_| ()) });
        let sleeps = Task::builder().name("sleeps").spawn(forever());
        let id = sleeps.id();
        Task::builder().name("awaits").spawn(sleeps);
        turns(3).await;
        let mut out = Vec::new();
        dump_tasks(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
        assert!(line("reads").contains("waits for read fd "), "{text}");
        assert!(line("sleeps").contains("waits for sleep 3"), "{text}");
        assert!(line("awaits").ends_with(&format!("waits for task {id}")), "{text}");
        assert!(text.contains("debug.rs"), "{text}");
    });
}
