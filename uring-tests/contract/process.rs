//! Contract 9, PR4 to PR6 and PR10 to PR13: the end of children, signals to them, and starts that are cancelled.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Wake},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        stat::fstat,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use ringio::{
    CreateSubprocess, Descriptor, Process, ProcessLookupError, ReportKind, Signal, Stdio, TcpListener, TcpStream,
    create_subprocess_exec, create_subprocess_shell, create_task, current_task, sleep, wait_for,
};

use super::{Reports, in_time, is_cancel, on_ring, turns};
use crate::support::{
    alone,
    process::{assert_descriptors, descriptors},
    until,
};

/// A shell with its output in a pipe.
pub(super) fn shell(script: &str) -> CreateSubprocess {
    create_subprocess_shell(script).stdout(Stdio::Pipe)
}

/// Starts it and returns what it writes to its output, as text.
pub(super) async fn output(subprocess: CreateSubprocess) -> String {
    let mut process = subprocess.stdout(Stdio::Pipe).await.unwrap();
    let (output, _) = process.communicate(None).await.unwrap();
    String::from_utf8(output.unwrap()).unwrap()
}

/// Whether the process is there, as a zombie or not.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
}

/// There is no child of ours, dead or alive.
#[track_caller]
pub(super) fn assert_childless() {
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
}

/// Waits until a line comes out of a child.
async fn line(process: &mut Process) -> String {
    let line = process.stdout.as_mut().unwrap().readline().await.unwrap();
    String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned()
}

#[test]
fn the_return_code_is_the_exit_code_or_minus_the_signal() {
    // PR4
    on_ring(async || {
        for (script, code) in
            [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", -15), ("kill -SEGV $$", -11)]
        {
            let process = create_subprocess_shell(script).await.unwrap();
            let status = process.wait().await.unwrap();
            assert_eq!((process.returncode(), status.success()), (Some(code), code == 0), "{script}");
        }
        let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).await.unwrap();
        assert_eq!(cat.returncode(), None);
        drop(cat.stdin.take());
        cat.wait().await.unwrap();
        assert_eq!(cat.returncode(), Some(0));
        let mut shell = shell("echo $$").await.unwrap();
        assert_eq!(line(&mut shell).await, shell.pid().to_string());
        shell.wait().await.unwrap();
    });
}

#[test]
fn any_number_of_waits_get_the_same_status_and_a_cancelled_one_harms_none() {
    // PR5
    on_ring(async || {
        let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).await.unwrap();
        let stdin = cat.stdin.take();
        let cat = std::rc::Rc::new(cat);
        let waits: Vec<_> = (0..5)
            .map(|_| {
                let cat = cat.clone();
                create_task(async move { cat.wait().await })
            })
            .collect();
        turns(3).await;
        assert!(waits[2].cancel());
        assert_eq!(
            wait_for(async { Ok::<_, ringio::Error>(cat.wait().await?) }, Duration::from_millis(5))
                .await
                .unwrap_err()
                .to_string(),
            ringio::TimeoutError.to_string()
        );
        drop(stdin);
        for (index, wait) in waits.into_iter().enumerate() {
            let ended = wait.await;
            if index == 2 { assert!(ended.is_err()) } else { assert!(ended.unwrap().success()) }
        }
        assert!(cat.wait().await.unwrap().success(), "and later");
    });
}

#[test]
fn wait_returns_at_the_childs_end_though_a_grandchild_holds_its_pipe() {
    // PR5; flaw 15 (gh-119710)
    on_ring(async || {
        let mut process = shell("sleep 1000 & echo $!; exit 4").start_new_session(true).await.unwrap();
        let status = wait_for(async { Ok::<_, ringio::Error>(process.wait().await?) }, super::HANG / 2).await.unwrap();
        assert_eq!(status.code(), Some(4));
        let grandchild = line(&mut process).await.parse().unwrap();
        assert!(exists(grandchild) && !is_zombie(grandchild));
        // PR13: the group is reached though its leader is gone.
        process.kill_group().unwrap();
        assert_eq!(process.stdout.as_mut().unwrap().read(1).await.unwrap(), "", "nobody holds the pipe any more");
    });
}

#[test]
fn signals_reach_a_child_and_never_one_that_has_ended() {
    // PR6
    on_ring(async || {
        let mut trapping =
            shell("trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.01; done").await.unwrap();
        assert_eq!(line(&mut trapping).await, "ready");
        trapping.terminate().unwrap();
        assert_eq!(line(&mut trapping).await, "caught");
        assert_eq!(trapping.wait().await.unwrap().code(), Some(5));
        for refused in
            [trapping.kill(), trapping.terminate(), trapping.send_signal(Signal::USR1), trapping.send_signal(0)]
        {
            let error = refused.unwrap_err();
            assert!(error.kind() == ErrorKind::NotFound && error.get_ref().unwrap().is::<ProcessLookupError>());
        }
        let stopped = create_subprocess_shell("kill -STOP $$; exit 6").await.unwrap();
        until("it has stopped", || {
            std::fs::read_to_string(format!("/proc/{}/stat", stopped.pid())).is_ok_and(|stat| stat.contains(") T "))
        })
        .await;
        assert_eq!(stopped.returncode(), None, "to stop is not to end");
        stopped.send_signal(Signal::CONT).unwrap();
        assert_eq!(stopped.wait().await.unwrap().code(), Some(6));
        let killed = create_subprocess_exec("sleep").arg("1000").await.unwrap();
        assert_eq!(killed.send_signal(1234).unwrap_err().kind(), ErrorKind::InvalidInput);
        killed.kill().unwrap();
        killed.kill().unwrap();
        killed.wait().await.unwrap();
        assert_eq!(killed.returncode(), Some(-9));
        assert_eq!(killed.kill_group().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_signal_to_a_child_that_has_just_ended_is_no_error() {
    // PR6: the race window (sp::test_subprocess_send_signal_race).
    on_ring(async || {
        let process = create_subprocess_exec("true").await.unwrap();
        while !is_zombie(process.pid()) {
            std::thread::yield_now();
        }
        // The loop has not turned, so nobody was told.
        assert_eq!(process.returncode(), None);
        process.kill().unwrap();
        assert_eq!(process.wait().await.unwrap().code(), Some(0));
    });
}

/// What a child does between its birth and its program: tells its pid, and waits to be let go.
#[derive(Clone, Default)]
struct Gate {
    pid: Arc<AtomicU32>,
}

impl Gate {
    fn close(subprocess: CreateSubprocess) -> (CreateSubprocess, Gate, io::PipeWriter) {
        let gate = Gate::default();
        let (mut wait, open) = io::pipe().unwrap();
        let pid = gate.pid.clone();
        // SAFETY: an atomic, and a plain read; the memory is shared, which is what tells the pid.
        let subprocess = unsafe {
            subprocess.pre_exec(move || {
                pid.store(std::process::id(), Ordering::SeqCst);
                wait.read_exact(&mut [0])
            })
        };
        (subprocess, gate, open)
    }

    async fn reached(&self) -> u32 {
        until("the child is there", || self.pid.load(Ordering::SeqCst) != 0).await;
        self.pid.load(Ordering::SeqCst)
    }
}

#[test]
fn the_loop_goes_on_while_a_child_is_started() {
    // PR13
    on_ring(async || {
        let (subprocess, gate, mut open) = Gate::close(create_subprocess_exec("true"));
        let starting = create_task(subprocess.into_future());
        gate.reached().await;
        for _ in 0..10 {
            sleep(Duration::from_millis(1)).await.unwrap();
        }
        assert!(shell("exit 0").await.unwrap().wait().await.unwrap().success(), "others are started meanwhile");
        assert!(!starting.done());
        open.write_all(&[1]).unwrap();
        assert!(starting.await.unwrap().wait().await.unwrap().success());
    });
}

#[test]
fn a_start_cancelled_in_the_middle_ends_when_the_child_is_reaped() {
    // PR10; flaw 15 (gh-103847)
    alone(&a_start_cancelled_in_the_middle_ends_when_the_child_is_reaped, || {
        ringio::run(async {
            let before = descriptors();
            for drop_it in [false, true] {
                let piped = create_subprocess_exec("sleep").arg("1000").stdin(Stdio::Pipe).stdout(Stdio::Pipe);
                let (subprocess, gate, mut open) = Gate::close(piped);
                let mut starting = subprocess.into_future();
                assert!(futures::poll!(&mut starting).is_pending());
                let pid = gate.reached().await;
                if drop_it {
                    drop(starting);
                    open.write_all(&[1]).unwrap();
                    until("it is reaped", || !exists(pid)).await;
                } else {
                    let task = create_task(starting);
                    turns(2).await;
                    task.cancel();
                    turns(2).await;
                    assert!(!task.done(), "there still is a child");
                    open.write_all(&[1]).unwrap();
                    assert!(is_cancel(&task.await.unwrap_err()));
                    assert!(!exists(pid), "killed and reaped, then cancelled");
                }
                assert_childless();
                drop(open);
                assert_descriptors(&before[..]);
            }
        });
    });
}

#[test]
fn a_start_cancelled_in_the_queue_never_begins() {
    // PR10
    on_ring(async || {
        let mut gates = Vec::new();
        for _ in 0..4 {
            let (subprocess, gate, open) = Gate::close(create_subprocess_exec("true"));
            let task = create_task(subprocess.into_future());
            gate.reached().await;
            gates.push((task, open));
        }
        // Every thread that starts children is busy.
        let (subprocess, gate, _open) = Gate::close(create_subprocess_exec("true"));
        let queued = create_task(subprocess.into_future());
        let dropped = create_task(create_subprocess_exec("true").into_future());
        turns(3).await;
        queued.cancel();
        assert!(is_cancel(&queued.await.unwrap_err()));
        dropped.cancel();
        assert!(dropped.await.is_err());
        for (task, mut open) in gates {
            open.write_all(&[1]).unwrap();
            assert!(task.await.unwrap().wait().await.unwrap().success());
        }
        assert_eq!(gate.pid.load(Ordering::SeqCst), 0);
    });
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_child_that_is_there_before_the_cancel_is_handed_out() {
    // C10: the cancel is left for the next wait.
    on_ring(async || {
        let task = create_task(async {
            let mut starting = create_subprocess_exec("true").into_future();
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            let waker = flag.clone().into();
            assert!(starting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            while !flag.0.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            current_task().unwrap().cancel();
            let process = starting.await.expect("it was there first");
            assert!(process.wait().await.is_err(), "and here it is");
            assert!(process.wait().await.unwrap().success());
            io::Result::Ok(())
        });
        task.await.unwrap();
    });
    on_ring(async || {
        // A start that fails after it was cancelled says why it failed.
        let (subprocess, gate, mut open) = Gate::close(create_subprocess_exec("/no/such/program"));
        let task = create_task(subprocess.into_future());
        gate.reached().await;
        task.cancel();
        turns(2).await;
        open.write_all(&[1]).unwrap();
        assert_eq!(task.await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_child_that_nobody_waits_for_is_reaped() {
    // PR11
    on_ring(async || {
        let process = create_subprocess_exec("true").await.unwrap();
        until("it is reaped", || !exists(process.pid())).await;
        assert_eq!(process.returncode(), Some(0));
    });
}

#[test]
fn a_status_that_somebody_else_took_is_still_told() {
    // PR11: by PIDFD_GET_INFO; 255 and a report before Linux 6.15.
    alone(&a_status_that_somebody_else_took_is_still_told, || {
        let reports = Reports::default();
        reports.runner().run(async {
            let process = create_subprocess_shell("exit 7").await.unwrap();
            waitpid(Pid::from_raw(process.pid() as i32), None).unwrap();
            let code = process.wait().await.unwrap().code();
            match reports.kinds()[..] {
                [] => assert_eq!(code, Some(7)),
                [ReportKind::ChildStatusLost] => assert_eq!(code, Some(255)),
                _ => panic!("{:?}", reports.texts()),
            }
            assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
fn sigchld_ignored_by_the_host_changes_nothing() {
    // PR11; kernel pitfall 43
    alone(&sigchld_ignored_by_the_host_changes_nothing, || {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // SAFETY: no handler runs.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        let reports = Reports::default();
        reports.runner().run(async {
            for code in 0..50 {
                let process = create_subprocess_shell(format!("exit {code}")).await.unwrap();
                let told = process.wait().await.unwrap().code();
                assert!(told == Some(code) || (told == Some(255) && !reports.kinds().is_empty()), "{told:?}");
            }
            // And one that fails to start.
            assert_eq!(create_subprocess_exec("/none").await.unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
fn dropping_a_running_process_kills_reaps_and_reports_it() {
    // PR12, D5
    in_time(|| {
        let reports = Reports::default();
        reports.runner().run(async {
            let process = create_subprocess_exec("sleep").arg("1000").await.unwrap();
            let pid = process.pid();
            drop(process);
            until("it is reaped", || !exists(pid)).await;
            assert_eq!(reports.kinds(), [ReportKind::ChildKilled]);
            assert!(reports.texts()[0].contains("sleep"), "{:?}", reports.texts());
            // One that has ended is nobody's business.
            let ended = create_subprocess_exec("true").await.unwrap();
            ended.wait().await.unwrap();
            drop(ended);
            assert_eq!(reports.kinds().len(), 1);
            // With its group, if it leads one.
            let mut leader = shell("sleep 1000 & echo ready; wait").start_new_session(true).await.unwrap();
            assert_eq!(line(&mut leader).await, "ready");
            let mut stdout = leader.stdout.take().unwrap();
            drop(leader);
            assert_eq!(stdout.read(1).await.unwrap(), "", "its child is dead, too");
        });
    });
}

#[test]
fn a_detached_child_goes_on_and_is_reaped_all_the_same() {
    // PR12: detach() opts out.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let (pid, stdin) = runner.run(async {
            let mut process = create_subprocess_exec("cat").stdin(Stdio::Pipe).await.unwrap();
            let (pid, stdin) = (process.pid(), process.stdin.take());
            process.detach();
            turns(3).await;
            assert!(exists(pid) && !is_zombie(pid));
            (pid, stdin)
        });
        runner.run(async {
            drop(stdin);
            until("it is reaped", || !exists(pid)).await;
        });
        assert_eq!(reports.kinds(), []);
    });
}

#[test]
fn the_end_of_the_runtime_kills_and_reaps_but_leaves_the_detached() {
    // PR11, PR12: zero zombies after Runner.close.
    alone(&the_end_of_the_runtime_kills_and_reaps_but_leaves_the_detached, || {
        let reports = Reports::default();
        let mut runner = reports.runner();
        let (kept, detached, mut open) = runner.run(async {
            let (wait, open) = io::pipe().unwrap();
            let kept = create_subprocess_exec("sleep").arg("1000").await.unwrap();
            let detached = create_subprocess_exec("cat").stdin(wait).await.unwrap();
            let pid = detached.pid();
            detached.detach();
            // One in a task that is cancelled, one whose start is under way.
            create_task(async {
                let process = create_subprocess_exec("sleep").arg("1000").await?;
                process.wait().await?;
                io::Result::Ok(())
            });
            sleep(Duration::from_millis(1)).await.unwrap();
            drop(create_task(create_subprocess_exec("sleep").arg("1000").into_future()));
            turns(1).await;
            (kept, pid, open)
        });
        runner.close();
        assert_eq!(kept.returncode(), Some(-9), "{:?}", reports.texts());
        assert!(!exists(kept.pid()) && exists(detached));
        drop(kept);
        open.write_all(b"x").unwrap();
        drop(open);
        while !is_zombie(detached) {
            std::thread::yield_now();
        }
        // Whoever starts the next child reaps it.
        ringio::run(async {
            create_subprocess_exec("true").await.unwrap().wait().await.unwrap();
            until("the orphan is reaped", || !exists(detached)).await;
        });
        assert_childless();
    });
}

static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_start_hands_no_ring_down_and_runs_no_handler_of_fork() {
    // L12
    alone(&a_start_hands_no_ring_down_and_runs_no_handler_of_fork, || {
        // SAFETY: the handlers count, and do nothing else.
        let refused = unsafe { libc::pthread_atfork(Some(count_fork), Some(count_fork), Some(count_fork)) };
        assert_eq!(refused, 0);
        ringio::run(async {
            // Sockets, a pipe and operations of ours, beside the ring.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let accepting = create_task(async move { listener.accept().await.map(drop) });
            let (reader, mut writer) = io::pipe().unwrap();
            let reader = Descriptor::new(reader.into());
            let reading = create_task(async move { reader.read(vec![0; 8]).await.0 });
            turns(2).await;
            let pipe = format!("pipe:[{}]", fstat(&writer).unwrap().st_ino);
            // With and without the child closing what it was handed.
            for close_fds in [true, false] {
                let list = create_subprocess_exec("ls").args(["-l", "/proc/self/fd"]).close_fds(close_fds);
                let mut list = list.stdin(Stdio::DevNull).stdout(Stdio::Pipe).stderr(Stdio::DevNull).await.unwrap();
                let (listed, _) = list.communicate(None).await.unwrap();
                let listed = String::from_utf8(listed.unwrap()).unwrap();
                assert!(listed.contains(" 0 -> /dev/null") && listed.contains(" 1 -> pipe:"), "{listed}");
                for ours in ["anon_inode:", "socket:", &pipe] {
                    assert!(!listed.contains(ours), "inherited: {listed}");
                }
            }
            // The ring is as it was.
            writer.write_all(b"on").unwrap();
            assert_eq!(reading.await.unwrap(), 2);
            drop(TcpStream::connect(address).await.unwrap());
            accepting.await.unwrap();
        });
        assert_eq!(FORKS.load(Ordering::SeqCst), 0);
        // They do count: before the fork, and after it in either process.
        // SAFETY: the child ends at once.
        match unsafe { fork() }.unwrap() {
            // SAFETY: ends this process and nothing else.
            ForkResult::Child => unsafe { libc::_exit(FORKS.load(Ordering::SeqCst) as i32) },
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 2));
                assert_eq!(FORKS.load(Ordering::SeqCst), 2);
            }
        }
    });
}
