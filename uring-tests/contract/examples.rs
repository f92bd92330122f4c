//! asyncio's example programs for tasks print the lines of its documentation.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::in_time;

/// Where cargo puts examples, which it builds once: this very profile, in this very target directory.
fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = env::current_exe().unwrap(); // target/<profile>/deps/uring-...
        let profile = own.ancestors().nth(2).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--package", "ringio", "--examples", "--features", "internals"])
            .current_dir(root);
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.join("examples")
    })
}

fn output(name: &'static str) -> String {
    let program = examples().join(name);
    in_time(move || {
        let ran = Command::new(program).output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{name}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    })
}

#[test]
fn factorial() {
    let lines = [
        "Task A: Compute factorial(2), currently i=2...",
        "Task B: Compute factorial(3), currently i=2...",
        "Task C: Compute factorial(4), currently i=2...",
        "Task A: factorial(2) = 2",
        "Task B: Compute factorial(3), currently i=3...",
        "Task C: Compute factorial(4), currently i=3...",
        "Task B: factorial(3) = 6",
        "Task C: Compute factorial(4), currently i=4...",
        "Task C: factorial(4) = 24",
        "[2, 6, 24]",
    ];
    assert_eq!(output("factorial").lines().collect::<Vec<_>>(), lines);
}

#[test]
fn eternity() {
    assert_eq!(output("eternity"), "timeout!\n");
}

#[test]
fn cancel_me() {
    let lines = [
        "cancel_me(): before sleep",
        "cancel_me(): cancel sleep",
        "cancel_me(): after sleep",
        "main(): cancel_me is cancelled now",
    ];
    assert_eq!(output("cancel_me").lines().collect::<Vec<_>>(), lines);
}

#[test]
fn display_date() {
    let output = output("display_date");
    let times: Vec<&str> = output.lines().collect();
    // Five times, one a second; a machine that is late shows fewer.
    assert!((1..=5).contains(&times.len()) && times.len() >= 4, "{times:?}");
    assert!(times.iter().all(|time| time.len() == "12:34:56.123456".len()), "{times:?}");
}

#[test]
fn say_after() {
    let output = output("say_after");
    let words: Vec<&str> = output.lines().filter(|line| !line.starts_with("finished")).collect();
    assert_eq!(words, ["hello", "world", "hello", "world", "hello", "world"]);
    let seconds =
        output.lines().filter_map(|line| line.strip_prefix("finished after ")?.split(' ').next()?.parse().ok());
    let seconds: Vec<u32> = seconds.collect();
    assert!(seconds[0] >= 3 && seconds[1] >= 5 && seconds[2] >= 7, "{output}");
}

#[test]
fn blocking_io() {
    let output = output("blocking_io");
    let lines: Vec<&str> = output.lines().filter_map(|line| line.split(" at ").next()).collect();
    assert_eq!(lines, ["started main", "start blocking_io", "blocking_io complete", "finished main"]);
    assert!(output.starts_with("started main at 0 s\n"), "{output}");
}

#[test]
fn threadsafe() {
    let lines = ["The coroutine returned: 3", "The coroutine took too long, cancelling the task..."];
    assert_eq!(output("threadsafe").lines().collect::<Vec<_>>(), lines);
}

#[test]
fn terminate_group() {
    assert_eq!(output("terminate_group"), "Task 1: start\nTask 2: start\nTask 1: done\n");
}
