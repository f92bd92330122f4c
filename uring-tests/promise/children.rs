//! Children under every hardship: no zombie, no descriptor and no thread is left, whatever is cancelled or dropped when.
//!
//! `RINGIO_CHILDREN` says how many the storm starts (300); `ci/soak` starts 10,000.

use std::{
    cell::Cell,
    env,
    io::{self, ErrorKind},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        wait::{WaitPidFlag, waitpid},
    },
};
use ringio::{
    CancelledError, CreateSubprocess, Process, Runner, Stdio, create_subprocess_exec, create_subprocess_shell,
    create_task, wait_for,
};

use super::stages::{Stage, drop_at};
use crate::support::{
    PATIENCE, Rng, alone,
    process::{assert_descriptors, descriptors, threads},
    settled, until,
};

/// How many children are under way at once.
const WIDTH: usize = 20;

fn children() -> usize {
    env::var("RINGIO_CHILDREN").map_or(300, |text| text.parse().expect("RINGIO_CHILDREN is a decimal number"))
}

fn quiet() -> Runner {
    // What is dropped while it runs is reported: here that is the point.
    Runner::builder().handle_ctrl_c(false).error_handler(|_| ()).build().expect("a runtime")
}

/// There is no child of ours, dead or alive.
#[track_caller]
fn assert_childless() {
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
}

fn piped(subprocess: CreateSubprocess) -> CreateSubprocess {
    subprocess.stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe)
}

/// How long children and grandchildren of this process sleep: for ever, and told apart from those of others.
fn sleepy() -> String {
    format!("1000.{}", std::process::id())
}

/// How many of them are there.
fn sleepers() -> usize {
    let needle = format!("sleep\0{}\0", sleepy());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("cmdline")));
    processes.filter(|path| std::fs::read(path).is_ok_and(|line| line == needle.as_bytes())).count()
}

/// One of many kinds of children.
fn any_child(chance: &mut Rng) -> CreateSubprocess {
    match chance.below(8) {
        0 => create_subprocess_exec("true"),
        1 => piped(create_subprocess_exec("cat")),
        2 => piped(create_subprocess_shell(format!("trap '' TERM; echo stubborn; exec sleep {}", sleepy()))),
        3 => piped(create_subprocess_shell("head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2")),
        4 => piped(create_subprocess_shell(format!("sleep {} & exit 0", sleepy()))).start_new_session(true),
        5 => create_subprocess_shell("kill -SEGV $$"),
        6 => piped(create_subprocess_exec("/no/such/program")),
        _ => piped(create_subprocess_exec("sleep")).arg(sleepy()),
    }
}

/// Ends what does not end soon, by a drop or by a timeout; `None` then, and for any error.
async fn hasty<T>(seeds: &Rc<Cell<u64>>, future: impl Future<Output = io::Result<T>>) -> Option<T> {
    let mut chance = Rng::from(seeds);
    match chance.below(3) {
        0 => drop_at(Stage { before: chance.below(6), after: 0 }, || (), future).await?.ok(),
        1 => wait_for(future, chance.micros(1000)).await.ok(),
        _ => wait_for(future, chance.micros(20_000)).await.ok(),
    }
}

/// Whatever may be done with a child, in any order; then it is dropped, killed or left to itself.
async fn misuse(seeds: Rc<Cell<u64>>) -> Result<(), CancelledError> {
    let mut chance = Rng::from(&seeds);
    let Some(mut process) = hasty(&seeds, any_child(&mut chance).into_future()).await else { return Ok(()) };
    for _ in 0..chance.below(4) {
        match chance.below(6) {
            0 => drop(hasty(&seeds, async { Ok(process.wait().await?) }).await),
            1 => drop(hasty(&seeds, process.communicate(None)).await),
            2 => drop(hasty(&seeds, process.communicate(Some(&[7; 100_000]))).await),
            3 => drop(process.terminate()),
            4 => drop(process.kill()),
            _ => drop((process.stdout.take(), process.stdin.take())),
        }
    }
    if process.kill_group().is_err() && chance.below(2) == 0 {
        let _ = process.kill();
        process.wait().await?;
    }
    Ok(())
}

#[test]
fn a_storm_of_children_leaves_nothing_behind() {
    // PR10, PR11, PR12; kernel pitfall 45; lessons rows 7 and 30
    alone(&a_storm_of_children_leaves_nothing_behind, || {
        let mut rng = Rng::new("a_storm_of_children");
        let (before, threads_before) = (descriptors(), threads());
        let mut runner = quiet();
        let seeds = Rc::new(Cell::new(rng.next()));
        runner.run(async {
            let mut left = children();
            while left > 0 {
                let count = left.min(WIDTH);
                left -= count;
                let tasks: Vec<_> = (0..count).map(|_| create_task(misuse(seeds.clone()))).collect();
                if rng.below(3) == 0 {
                    ringio::sleep(rng.micros(5000)).await.unwrap();
                    for task in &tasks {
                        task.cancel();
                    }
                }
                for task in tasks {
                    let _ = task.await;
                }
            }
            until("no grandchild is left", || sleepers() == 0).await;
            until("no child is left", || waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD)).await;
            settled().await;
        });
        runner.close();
        assert_descriptors(&before);
        assert_eq!(threads(), threads_before);
    });
}

#[test]
fn a_runtime_that_ends_at_any_moment_leaves_no_child() {
    // PR11: "reaping goes on at Runner close"
    alone(&a_runtime_that_ends_at_any_moment_leaves_no_child, || {
        let mut rng = Rng::new("a_runtime_that_ends_at_any_moment");
        let (before, threads_before) = (descriptors(), threads());
        for _ in 0..20 {
            let mut runner = quiet();
            let kept: Vec<Process> = runner.run(async {
                for _ in 0..6 {
                    let child = piped(create_subprocess_exec("sleep")).arg("1000").into_future();
                    // Started, started and forgotten, or under way.
                    drop(create_task(child));
                }
                let kept = create_subprocess_exec("sleep").arg("1000").await;
                ringio::sleep(rng.micros(3000)).await.unwrap();
                kept.into_iter().collect()
            });
            runner.close();
            assert_childless();
            assert_eq!(kept.iter().map(Process::returncode).collect::<Vec<_>>(), [Some(-9)]);
            drop(kept);
            assert_eq!(threads(), threads_before);
            assert_descriptors(&before);
        }
    });
}

#[test]
fn a_child_that_ignores_term_is_killed_after_its_grace() {
    alone(&a_child_that_ignores_term_is_killed_after_its_grace, || {
        quiet().run(async {
            let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
            let mut stubborn = piped(create_subprocess_shell(script)).start_new_session(true).await.unwrap();
            assert_eq!(stubborn.stdout.as_mut().unwrap().readline().await.unwrap(), "ready\n");
            stubborn.terminate().unwrap();
            let grace = wait_for(async { io::Result::Ok(stubborn.wait().await?) }, Duration::from_millis(50)).await;
            assert_eq!(grace.unwrap_err().kind(), ErrorKind::TimedOut);
            stubborn.kill_group().unwrap();
            stubborn.wait().await.unwrap();
            assert_eq!(stubborn.returncode(), Some(-9));
            drop(stubborn);
            assert_childless();
        });
    });
}

#[test]
fn descriptors_that_run_out_in_the_middle_leave_nothing() {
    // EMFILE at every step of a start: null device, three pipes, the pidfd.
    alone(&descriptors_that_run_out_in_the_middle_leave_nothing, || {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        quiet().run(async {
            create_subprocess_exec("true").await.unwrap().wait().await.unwrap();
            settled().await;
            let before = descriptors();
            let first_free = before.iter().map(|(number, _)| u64::from(*number)).max().unwrap() + 1;
            let gaps = first_free as usize - before.len();
            let mut started = 0;
            for room in 0..12 {
                let plug: Vec<_> = (0..gaps).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
                setrlimit(Resource::RLIMIT_NOFILE, first_free + room, hard).unwrap();
                let attempt = piped(create_subprocess_exec("cat")).into_future().await;
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
                match attempt {
                    Ok(mut cat) => {
                        started += 1;
                        assert_eq!(cat.communicate(Some(b"x")).await.unwrap().0.unwrap(), b"x");
                    }
                    Err(error) => {
                        let errno = error.raw_os_error().or_else(|| source_errno(&error));
                        assert_eq!(errno, Some(Errno::EMFILE as i32), "{error}");
                        assert_eq!(started, 0);
                    }
                }
                drop(plug);
                assert_childless();
                settled().await;
                assert_descriptors(&before);
            }
            assert!((1..12).contains(&started), "{started} of 12: both came about");
        });
    });
}

/// The number of the system's error behind one of ours.
fn source_errno(error: &io::Error) -> Option<i32> {
    error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}

#[test]
fn processes_that_run_out_are_an_error_that_leaves_nothing() {
    // EAGAIN from the limit of processes: for the child, and for the thread that would start it.
    alone(&processes_that_run_out_are_an_error_that_leaves_nothing, || {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("SKIPPED: only a privileged user can become one that has no other processes");
        }
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65_533)).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        let limit = |most| setrlimit(Resource::RLIMIT_NPROC, most, hard).unwrap();
        for with_thread in [true, false] {
            quiet().run(async {
                if with_thread {
                    create_subprocess_exec("true").await.unwrap().wait().await.unwrap();
                    settled().await;
                }
                let before = descriptors();
                limit(1);
                let error = piped(create_subprocess_exec("true")).await.unwrap_err();
                limit(soft);
                assert_eq!((error.kind(), source_errno(&error)), (ErrorKind::WouldBlock, Some(Errno::EAGAIN as i32)));
                assert_childless();
                assert_descriptors(&before);
                let again = create_subprocess_exec("true").await.unwrap().wait().await.unwrap();
                assert!(again.success());
            });
        }
    });
}

/// How much memory the large process has.
fn resident_bytes() -> usize {
    let mib = env::var("RINGIO_RESIDENT_MIB").map_or(256, |text| text.parse().expect("a decimal number of MiB"));
    mib << 20
}

/// The best of some starts, each from the call until the child has run its program.
async fn best_start() -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..30 {
        let begun = Instant::now();
        let process = create_subprocess_exec("true").await.unwrap();
        best = best.min(begun.elapsed());
        process.wait().await.unwrap();
    }
    best
}

#[test]
fn a_large_process_starts_children_as_fast_as_a_small_one() {
    // PR13; kernel pitfall 44: a fork would copy the tables of all that memory, 10 ms for 256 MiB.
    alone(&a_large_process_starts_children_as_fast_as_a_small_one, || {
        quiet().run(async {
            let small = best_start().await;
            let mut memory = vec![0_u8; resident_bytes()];
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            let mut large = best_start().await;
            // Others run here, too, and may take either the time.
            let limit = 3 * small.max(Duration::from_millis(1));
            for _ in 0..4 {
                if large >= limit {
                    large = best_start().await;
                }
            }
            assert!(std::hint::black_box(&memory)[0] == 1);
            assert!(large < limit, "{large:?} with {} MiB, {small:?} without", memory.len() >> 20);
        });
    });
}

#[test]
fn a_timer_runs_beside_a_thousand_starts() {
    // PR13: the loop turns while children are started. How late the timer was is printed, not judged: others run here, too.
    alone(&a_timer_runs_beside_a_thousand_starts, || {
        let starts = if env::var("RINGIO_CHILDREN").is_ok() { 1000 } else { 100 };
        let mut memory = vec![0_u8; if starts == 1000 { 2 << 30 } else { 64 << 20 }];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        quiet().run(async {
            let over = Rc::new(Cell::new(false));
            let timer = create_task(tick(over.clone()));
            for _ in 0..starts {
                create_subprocess_exec("true").await.unwrap().wait().await.unwrap();
            }
            over.set(true);
            let (ticks, latest) = timer.await.unwrap();
            assert!(std::hint::black_box(&memory)[0] == 1);
            eprintln!("{starts} starts with {} MiB: {ticks} ticks, the latest by {latest:?}", memory.len() >> 20);
            assert!(ticks > 0 && latest < PATIENCE);
        });
    });
}

/// Ticks every millisecond until it is over: how often, and how late at most.
async fn tick(over: Rc<Cell<bool>>) -> Result<(u32, Duration), CancelledError> {
    let (mut ticks, mut latest) = (0, Duration::ZERO);
    while !over.get() {
        let due = Instant::now() + Duration::from_millis(1);
        ringio::sleep(Duration::from_millis(1)).await?;
        latest = latest.max(due.elapsed());
        ticks += 1;
    }
    Ok((ticks, latest))
}
