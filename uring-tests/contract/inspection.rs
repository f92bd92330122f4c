//! Contract 11: tasks seen as a whole, and from other threads.

use std::{io, thread, time::Duration};

use ringio::{
    AnyTask, CancelledError, FrameLimits, LoopHandle, ReportKind, Task, TaskGroup, TaskSnapshot, TaskState,
    ThreadsafeError, all_tasks, as_completed, capture_call_graph, create_task, gather, to_thread,
};

use super::{Reports, busy_until, forever, in_time, on_ring, turns};

/// Asked from another thread.
pub(crate) async fn seen_from_elsewhere() -> Vec<TaskSnapshot> {
    let handle = LoopHandle::current().unwrap();
    to_thread(move || handle.all_tasks().result(None)).await.unwrap().unwrap()
}

pub(crate) fn named<'a>(tasks: &'a [TaskSnapshot], name: &str) -> &'a TaskSnapshot {
    tasks.iter().find(|task| task.name == name).unwrap_or_else(|| panic!("no {name} in {tasks:?}"))
}

#[test]
fn tasks_of_a_loop_are_seen_from_other_threads() {
    // CT2: ids, names and states, in the order in which the tasks were made; none that has ended, nor the asking itself.
    on_ring(async || {
        let over = Task::builder().name("over").spawn(async { Ok::<_, CancelledError>(()) });
        over.wait_done().await.unwrap();
        let sleeps = Task::builder().name("sleeps").spawn(forever());
        let stays = Task::builder().name("stays").spawn(async {
            let _ = forever().await;
            forever().await
        });
        turns(2).await;
        stays.cancel();
        let (known, stays) = (sleeps.to_any(), stays.to_any());
        Task::builder().name("awaits").spawn(sleeps);
        turns(2).await;
        let here: Vec<u64> = all_tasks().iter().map(AnyTask::id).collect();
        let seen = seen_from_elsewhere().await;
        assert_eq!(seen.iter().map(|task| task.id).collect::<Vec<_>>(), here);
        let sleeps = named(&seen, "sleeps");
        assert_eq!((sleeps.id, sleeps.state, sleeps.spawned_at.file()), (known.id(), TaskState::Waiting, file!()));
        assert_eq!(sleeps.awaited_by, [named(&seen, "awaits").id]);
        assert!(sleeps.waits_for.len() == 1 && sleeps.waits_for[0].starts_with("sleep 3"), "{sleeps:?}");
        assert_eq!(named(&seen, "awaits").waits_for, [format!("task {}", known.id())]);
        assert_eq!(named(&seen, "stays").state, TaskState::Cancelling);
        stays.cancel();
    });
}

#[test]
fn tasks_of_a_loop_that_has_ended_are_none() {
    in_time(|| {
        let mut runner = ringio::Runner::new().unwrap();
        let handle = runner.handle();
        runner.close();
        let asked =
            thread::spawn(move || handle.all_tasks().result(Duration::from_secs(20)).map(|_| ())).join().unwrap();
        assert!(matches!(asked, Err(ThreadsafeError::Task(CancelledError))), "{asked:?}");
    });
}

#[test]
fn children_of_gathers_and_groups_know_who_waits() {
    // IN3: of children that were made for the wait nothing is noted in themselves; it goes with the wait.
    on_ring(async || {
        let gathers = Task::builder().name("gathers").spawn(async { gather([forever(), forever()]).await.map(drop) });
        let both = Task::builder().name("both").spawn(async { ringio::gather!(forever(), forever()).await.map(drop) });
        let takes = Task::builder().name("takes").spawn(async {
            let mut completed = as_completed([forever(), forever()]);
            let _ = completed.next().await;
            Ok::<_, CancelledError>(())
        });
        let groups = Task::builder().name("groups").spawn(async {
            TaskGroup::<CancelledError>::scope(async |group| {
                group.create_task(forever());
                group.create_task(forever());
                Ok(())
            })
            .await
            .map_err(|_| CancelledError)
        });
        turns(3).await;
        let seen = seen_from_elsewhere().await;
        for waiting in [gathers.to_any(), both.to_any(), takes.to_any(), groups.to_any()] {
            let children: Vec<&TaskSnapshot> = seen.iter().filter(|task| task.awaited_by == [waiting.id()]).collect();
            assert_eq!(children.len(), 2, "{}: {seen:?}", waiting.name());
            let names: Vec<String> = children.iter().map(|child| format!("task {}", child.id)).collect();
            assert_eq!(named(&seen, &waiting.name()).waits_for, names);
            for child in all_tasks().iter().filter(|task| children.iter().any(|child| child.id == task.id())) {
                let graph = capture_call_graph(child.clone(), None).unwrap();
                assert_eq!(graph.awaited_by.len(), 1);
                assert_eq!(graph.awaited_by[0].task, waiting);
            }
        }
        takes.cancel();
        turns(2).await;
        let seen = seen_from_elsewhere().await;
        let sleeps = |task: &&TaskSnapshot| task.waits_for.iter().all(|wait| wait.starts_with("sleep "));
        assert_eq!(seen.iter().filter(|task| task.awaited_by.is_empty()).filter(sleeps).count(), 2, "{seen:?}");
        for waiting in [gathers.to_any(), both.to_any(), groups.to_any()] {
            waiting.cancel();
            waiting.wait_done().await.unwrap();
        }
    });
}

#[test]
fn wait_for_very_many_names_some() {
    on_ring(async || {
        let gathers =
            Task::builder().name("gathers").spawn(async { gather((0..100).map(|_| forever())).await.map(drop) });
        turns(2).await;
        let seen = seen_from_elsewhere().await;
        let waits = &named(&seen, "gathers").waits_for;
        assert_eq!((waits.len(), waits.last().unwrap().as_str()), (17, "84 more tasks"));
        gathers.cancel();
        gathers.wait_done().await.unwrap();
    });
}

#[test]
fn depth_leaves_out_lines_of_the_task_that_asks_alone() {
    // IN2
    on_ring(async || {
        let inner = create_task(async {
            let own = |limits: FrameLimits| capture_call_graph(None, limits).unwrap();
            assert_eq!(own(FrameLimits::new()).call_stack.len(), 1);
            let skipped = own(FrameLimits::new().depth(1));
            assert_eq!((skipped.call_stack.len(), skipped.awaited_by.len()), (0, 1));
            assert!(!skipped.awaited_by[0].call_stack.is_empty(), "it is another one's");
            assert_eq!(own(FrameLimits::new().depth(9).limit(1)).call_stack.len(), 0);
            Ok::<_, CancelledError>(())
        });
        inner.await.unwrap();
    });
}

#[test]
fn step_that_stalls_the_loop_has_all_tasks_listed() {
    let stall = Duration::from_millis(20);
    in_time(move || {
        let reports = Reports::default();
        let mut runner = reports.builder().debug(false).dump_on_stall(stall).build().unwrap();
        runner.run(async {
            Task::builder().name("sleeps").spawn(forever());
            turns(2).await;
            let stalls = Task::builder().name("stalls").spawn(async move {
                busy_until(std::time::Instant::now() + 2 * stall);
                Ok::<_, io::Error>(())
            });
            stalls.await.unwrap();
        });
        runner.close();
        let texts = reports.texts();
        let kinds = reports.kinds();
        let at = kinds.iter().position(|kind| *kind == ReportKind::Stall).expect("it is reported");
        assert!(texts[at].contains("stalls") && texts[at].contains("\nsleeps (id "), "{texts:?}");
        assert!(!kinds.contains(&ReportKind::SlowStep), "that is for debug mode: {texts:?}");
    });
}
