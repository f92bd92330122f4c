//! The examples of subprocesses run, and print what asyncio's documentation says; the supervisor does what it promises.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::in_time;

/// Builds the examples once and gives one of them as a command.
fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // Beside `deps`, where this binary is.
        let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "ringio", "--features", "internals", "--target-dir"]);
        build.arg(folder.parent().unwrap()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        build.args(["--example", "subprocess_datetime", "--example", "subprocess_shell", "--example", "supervisor"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the examples build");
        folder.join("examples")
    });
    let mut command = Command::new(folder.join(name));
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn the_datetime_example_prints_the_time() {
    let output = example("subprocess_datetime").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let date = text.strip_prefix("Current date: ").and_then(|text| text.strip_suffix('\n')).expect(&text);
    let shape: String = date.chars().map(|digit| if digit.is_ascii_digit() { '9' } else { digit }).collect();
    assert_eq!(shape, "9999-99-99 99:99:99");
}

#[test]
fn the_shell_example_prints_what_asyncio_prints() {
    let output = example("subprocess_shell").output().unwrap();
    assert!(output.status.success());
    // The code is GNU's; asyncio's documentation shows another system's.
    let failed = "['ls /zzz' exited with 2]\n[stderr]\nls: cannot access '/zzz': No such file or directory\n\n";
    let hello = "['sleep 0.1; echo 'hello'' exited with 0]\n[stdout]\nhello\n\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{failed}{failed}{hello}"));
}

/// A supervisor under way, and what it has said.
struct Supervisor {
    child: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Supervisor {
    fn start(workers: &str, command: &str) -> Supervisor {
        let mut child = example("supervisor").args(["1000", workers, command]).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Supervisor { child, output, said: String::new() }
    }

    fn await_lines(&mut self, text: &str, count: usize) {
        while self.said.matches(text).count() < count {
            assert_ne!(self.output.read_line(&mut self.said).unwrap(), 0, "{}", self.said);
        }
    }

    /// Asks it to end; everything it has said.
    fn stop(mut self, signal: Signal) -> String {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.output.read_to_string(&mut self.said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.said);
        assert!(self.said.ends_with("all workers are gone\n"), "{}", self.said);
        self.said
    }
}

#[test]
fn the_supervisor_restarts_with_back_off() {
    in_time(|| {
        let mut supervisor = Supervisor::start("1", "exit 3");
        supervisor.await_lines("worker 1 started", 4);
        let said = supervisor.stop(Signal::SIGTERM);
        for again in ["100ms", "200ms", "400ms"] {
            assert!(said.contains(&format!("worker 1 ended with Some(3); again in {again}\n")), "{said}");
        }
    });
}

#[test]
fn the_supervisor_drains_what_listens_and_kills_what_does_not() {
    in_time(|| {
        // They say that they are ready through the supervisor's own output.
        let ready = |script: &str| format!("{script}; echo up; while :; do sleep 0.01; done");
        let mut polite = Supervisor::start("3", &ready("trap 'exit 0' TERM"));
        polite.await_lines("up\n", 3);
        polite.await_lines("started\n", 3);
        let said = polite.stop(Signal::SIGINT);
        assert!(said.contains("SIGINT: draining\n"), "{said}");
        assert_eq!(said.matches("drained: Some(0)").count(), 3, "{said}");
        let mut stubborn = Supervisor::start("2", &ready("trap '' TERM"));
        stubborn.await_lines("up\n", 2);
        stubborn.await_lines("started\n", 2);
        let said = stubborn.stop(Signal::SIGTERM);
        assert_eq!(said.matches("killed: Some(-9)").count(), 2, "{said}");
        // Nobody holds its output any more, or it would not have ended: the whole groups are gone.
    });
}
