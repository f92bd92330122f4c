//! Contract 2, RUN9 and RUN10: Ctrl-C, in processes of their own.
//!
//! A scenario runs in this test binary again, named by a variable of the environment, and tells by lines on its output how
//! far it has come. The handler wants a process's first thread, where the harness runs no test: so the scenario's process
//! forks itself (`daemon`), which makes the thread that does so the first one of the new process, and we adopt that
//! (`PR_SET_CHILD_SUBREAPER`) to see how it ends.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{ChildStdout, Command, Stdio},
};

use nix::{
    sys::{
        prctl::set_child_subreaper,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, alarm, daemon, getpid, gettid},
};
use ringio::{CancelledError, Runner, current_task};

use super::{forever, in_time, misuse, signals, turns};
use crate::support::signals::default_sigint;

/// How long a scenario may take.
const SECONDS_MAX: u32 = 20;

const VARIABLE: &str = "RINGIO_CONTRACT_SCENARIO";

/// A child process about to be started.
pub(super) struct Scenario(Command);

impl Scenario {
    pub(super) fn new(name: &str) -> Scenario {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["contract::child::scenario", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(VARIABLE, name).stdout(Stdio::piped()).stderr(Stdio::inherit()).stdin(Stdio::null());
        Scenario(command)
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Scenario {
        self.0.env(name, value);
        self
    }

    pub(super) fn start(mut self) -> Started {
        set_child_subreaper(true).unwrap();
        let mut child = self.0.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let pid = await_line(&mut output, "pid ").parse().unwrap();
        // Once its parent is gone it is ours.
        assert!(child.wait().unwrap().success());
        Started { pid: Pid::from_raw(pid), output }
    }
}

/// Waits for a line that begins with `begin`; returns the rest of it.
fn await_line(output: &mut BufReader<ChildStdout>, begin: &str) -> String {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        assert_ne!(output.read_line(&mut seen).unwrap(), 0, "it ended without {begin:?}: {seen}");
        if let Some(rest) = seen[start..].strip_prefix(begin) {
            return rest.trim_end().to_owned();
        }
    }
}

pub(super) struct Started {
    pid: Pid,
    output: BufReader<ChildStdout>,
}

impl Started {
    fn await_word(&mut self, word: &str) {
        assert_eq!(await_line(&mut self.output, word), "");
    }

    fn interrupt(&self) {
        kill(self.pid, Signal::SIGINT).unwrap();
    }

    /// What else it said, and how it ended: its code, or the number of the signal that killed it.
    pub(super) fn finish(mut self) -> (String, Result<i32, i32>) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = waitpid(self.pid, None).unwrap();
        let ended = if let WaitStatus::Signaled(_, signal, _) = status { Err(signal as i32) } else { Ok(code(status)) };
        (rest, ended)
    }
}

fn code(status: WaitStatus) -> i32 {
    let WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
    code
}

/// The entry of the child processes; nothing in the parent.
#[test]
fn scenario() {
    let Ok(name) = env::var(VARIABLE) else { return };
    daemon(true, true).unwrap();
    assert_eq!(getpid(), gettid(), "this is the first thread");
    // Nobody ends it when its test fails: the clock does.
    alarm::set(SECONDS_MAX);
    default_sigint();
    println!("\npid {}", getpid());
    match name.as_str() {
        "cleans_up" => cleans_up(),
        "busy" => busy(),
        "cancelled_main" => cancelled_main(),
        "not_ours" => not_ours(),
        "switched_off" => switched_off(),
        "other_thread" => other_thread(),
        "restored" => restored(),
        "twice" => twice(),
        "settings" => misuse::settings(),
        "interrupt_stream" => signals::interrupt_stream(),
        other => panic!("there is no scenario {other}"),
    }
    // The harness's own thread is not in this process: it would wait for ever.
    std::process::exit(0);
}

fn say(word: &str) {
    println!("\n{word}");
}

/// Waits for a cancel, after having said so.
async fn wait_for_ctrl_c() -> Result<(), CancelledError> {
    say("ready");
    forever().await
}

fn cleans_up() {
    let code = ringio::run(async {
        let ended = wait_for_ctrl_c().await;
        assert_eq!((ended, current_task().unwrap().cancelling()), (Err(CancelledError), 1));
        turns(10).await;
        say("cleaned");
        7
    });
    std::process::exit(code);
}

#[test]
fn first_ctrl_c_cancels_main_which_cleans_up_and_ends_with_its_own_code() {
    // RUN9, RUN10
    in_time(|| {
        let mut child = Scenario::new("cleans_up").start();
        child.await_word("ready");
        child.interrupt();
        child.await_word("cleaned");
        assert_eq!(child.finish().1, Ok(7));
    });
}

fn busy() {
    ringio::run(async {
        let _ = wait_for_ctrl_c().await;
        say("busy");
        loop {
            std::hint::spin_loop();
        }
    })
}

#[test]
fn second_ctrl_c_kills_even_a_busy_loop() {
    // RUN10: by the signal itself, as the shell expects it.
    in_time(|| {
        let mut child = Scenario::new("busy").start();
        child.await_word("ready");
        child.interrupt();
        child.await_word("busy");
        child.interrupt();
        assert_eq!(child.finish().1, Err(2));
    });
}

fn cancelled_main() {
    let ended = ringio::run(wait_for_ctrl_c());
    assert_eq!(ended, Err(CancelledError));
    say("returned");
    std::process::exit(3);
}

#[test]
fn run_returns_the_cancel_that_main_hands_on() {
    // RUN9
    in_time(|| {
        let mut child = Scenario::new("cancelled_main").start();
        child.await_word("ready");
        child.interrupt();
        child.await_word("returned");
        assert_eq!(child.finish().1, Ok(3));
    });
}

fn not_ours() {
    use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
    // Somebody else takes the signal: it is blocked, and waited for on a thread of its own.
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None).unwrap();
    let (send, receive) = futures::channel::oneshot::channel();
    let thread = std::thread::spawn(move || {
        assert_eq!(set.wait().unwrap(), Signal::SIGINT);
        send.send(()).unwrap();
    });
    ringio::run(async {
        say("ready");
        receive.await.unwrap();
        assert_eq!(current_task().unwrap().cancelling(), 0);
    });
    thread.join().unwrap();
    say("mine");
    std::process::exit(5);
}

#[test]
fn a_signal_that_the_program_takes_itself_does_not_reach_main() {
    // RUN9
    in_time(|| {
        let mut child = Scenario::new("not_ours").start();
        child.await_word("ready");
        child.interrupt();
        child.await_word("mine");
        assert_eq!(child.finish().1, Ok(5));
    });
}

fn switched_off() {
    let mut runner = Runner::builder().handle_ctrl_c(false).build().unwrap();
    let _ = runner.run(wait_for_ctrl_c());
    std::process::exit(9);
}

fn other_thread() {
    let _ = std::thread::spawn(|| ringio::run(wait_for_ctrl_c())).join();
    std::process::exit(9);
}

fn restored() {
    ringio::run(turns(2));
    say("ready");
    loop {
        std::thread::park();
    }
}

#[test]
fn where_the_handler_is_not_installed_ctrl_c_kills() {
    // RUN9: switched off, not on the first thread, and after run has returned.
    in_time(|| {
        for scenario in ["switched_off", "other_thread", "restored"] {
            let mut child = Scenario::new(scenario).start();
            child.await_word("ready");
            child.interrupt();
            assert_eq!(child.finish().1, Err(2), "{scenario}");
        }
    });
}

fn twice() {
    let mut runner = Runner::new().unwrap();
    for _ in 0..2 {
        assert_eq!(runner.run(wait_for_ctrl_c()), Err(CancelledError));
        say("again");
    }
    std::process::exit(4);
}

#[test]
fn each_run_counts_its_own_ctrl_c() {
    // RUN9: the second run of a Runner is cancelled by its first one, not killed.
    in_time(|| {
        let mut child = Scenario::new("twice").start();
        for _ in 0..2 {
            child.await_word("ready");
            child.interrupt();
            child.await_word("again");
        }
        assert_eq!(child.finish().1, Ok(4));
    });
}
