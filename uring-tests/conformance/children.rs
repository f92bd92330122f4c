//! Child processes: a shell on Linux, a script that does the same in the simulation.

use std::{io, time::Duration};

use ringio::{
    CreateSubprocess, Process, Signal, Stdio, create_subprocess_exec, sleep,
    testing::{self, Script},
    wait_for,
};

use super::{Kernel, each_kernel};

/// A child that does what both say.
async fn child(
    kernel: Kernel,
    shell: &str,
    script: Script,
    set: impl Fn(CreateSubprocess) -> CreateSubprocess,
) -> Process {
    if kernel == Kernel::Simulated {
        testing::program("sh", move |_| script.clone());
    }
    loop {
        match set(create_subprocess_exec("sh").args(["-c", shell])).await {
            Ok(process) => return process,
            // No process is left: in a hostile world that happens.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(Duration::from_millis(1)).await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn outputs(subprocess: CreateSubprocess) -> CreateSubprocess {
    subprocess.stdout(Stdio::Pipe).stderr(Stdio::Pipe)
}

fn all_pipes(subprocess: CreateSubprocess) -> CreateSubprocess {
    outputs(subprocess).stdin(Stdio::Pipe)
}

#[test]
fn a_child_writes_and_exits() {
    // PR4, PR7
    each_kernel("a_child_writes_and_exits", async |kernel| {
        let script = Script::new().stdout("out\n").stderr("errors\n").exit(7);
        let mut process = child(kernel, "echo out; echo errors >&2; exit 7", script, outputs).await;
        let (output, errors) = process.communicate(None).await.unwrap();
        assert_eq!((output.as_deref(), errors.as_deref()), (Some(&b"out\n"[..]), Some(&b"errors\n"[..])));
        assert_eq!((process.returncode(), process.wait().await.unwrap().code()), (Some(7), Some(7)));
        assert!(process.kill().is_err(), "it is gone");
    });
}

#[test]
fn errors_may_go_where_the_output_goes() {
    each_kernel("errors_may_go_where_the_output_goes", async |kernel| {
        let script = Script::new().stdout("one\n").stderr("two\n").stdout("three\n");
        let set = |subprocess: CreateSubprocess| subprocess.stdout(Stdio::Pipe).stderr(Stdio::Stdout);
        let mut process = child(kernel, "echo one; echo two >&2; echo three", script, set).await;
        let (output, errors) = process.communicate(None).await.unwrap();
        assert_eq!((output.as_deref(), errors), (Some(&b"one\ntwo\nthree\n"[..]), None));
    });
}

#[test]
fn more_than_all_pipes_hold_goes_through_a_child_and_back() {
    // PR7
    each_kernel("more_than_all_pipes_hold_goes_through_a_child_and_back", async |kernel| {
        let input: Vec<u8> = (0..400_000).map(|index| (index % 251) as u8).collect();
        let mut process = child(kernel, "cat", Script::new().echo(), all_pipes).await;
        let (output, _) = process.communicate(Some(&input)).await.unwrap();
        assert!(output.unwrap() == input && process.returncode() == Some(0));
    });
}

#[test]
fn a_cancelled_communicate_goes_on_where_it_was() {
    // PR8
    each_kernel("a_cancelled_communicate_goes_on_where_it_was", async |kernel| {
        let script = Script::new().echo().sleep(Duration::from_millis(40)).stdout("end").exit(3);
        let mut process = child(kernel, "cat; sleep 0.04; printf end; exit 3", script, all_pipes).await;
        let mut input = Some(&b"what is given once "[..]);
        let output = loop {
            match wait_for(process.communicate(input.take()), Duration::from_millis(3)).await {
                Ok((output, _)) => break output.unwrap(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        };
        assert_eq!((&output[..], process.returncode()), (&b"what is given once end"[..], Some(3)));
    });
}

#[test]
fn a_child_that_does_not_read_is_no_error() {
    each_kernel("a_child_that_does_not_read_is_no_error", async |kernel| {
        let mut process = child(kernel, "exec <&-; exit 5", Script::new().close_stdin().exit(5), all_pipes).await;
        let (output, _) = process.communicate(Some(&vec![1; 300_000])).await.unwrap();
        assert_eq!((output.as_deref(), process.returncode()), (Some(&b""[..]), Some(5)));
    });
}

#[test]
fn signals_end_children_that_let_them() {
    // PR4, PR6
    each_kernel("signals_end_children_that_let_them", async |kernel| {
        let ready = Script::new().stdout("ready\n");
        let process = &mut child(kernel, "echo ready; exec sleep 1000", ready.clone().hang(), outputs).await;
        process.stdout.as_mut().unwrap().readline().await.unwrap();
        process.terminate().unwrap();
        process.wait().await.unwrap();
        assert_eq!(process.returncode(), Some(-15));

        let deaf = "trap '' TERM; echo ready; exec sleep 1000";
        let process = &mut child(kernel, deaf, ready.hang().ignore_term(), outputs).await;
        process.stdout.as_mut().unwrap().readline().await.unwrap();
        process.terminate().unwrap();
        assert!(wait_for(async { io::Result::Ok(process.wait().await?) }, Duration::from_millis(50)).await.is_err());
        process.kill().unwrap();
        process.wait().await.unwrap();
        assert_eq!(process.returncode(), Some(-9));

        let process = &mut child(kernel, "kill -SEGV $$", Script::new().die(Signal::from(11)), outputs).await;
        process.wait().await.unwrap();
        assert_eq!(process.returncode(), Some(-11));
    });
}

#[test]
fn a_stopped_child_is_ended_when_it_goes_on() {
    each_kernel("a_stopped_child_is_ended_when_it_goes_on", async |kernel| {
        let script = Script::new().stdout("ready\n").hang();
        let process = &mut child(kernel, "echo ready; exec sleep 1000", script, outputs).await;
        process.stdout.as_mut().unwrap().readline().await.unwrap();
        process.send_signal(Signal::STOP).unwrap();
        // Longer than a signal is on its way.
        sleep(Duration::from_millis(350)).await.unwrap();
        process.terminate().unwrap();
        assert!(wait_for(async { io::Result::Ok(process.wait().await?) }, Duration::from_millis(350)).await.is_err());
        process.send_signal(Signal::CONT).unwrap();
        process.wait().await.unwrap();
        assert_eq!(process.returncode(), Some(-15));
    });
}

#[test]
fn a_grandchild_holds_the_pipes_and_not_the_wait() {
    // PR5, flaw 15 (gh-119710)
    each_kernel("a_grandchild_holds_the_pipes_and_not_the_wait", async |kernel| {
        let late = Script::new().sleep(Duration::from_millis(40)).stdout("late\n");
        let script = Script::new().stdout("early\n").background(late).exit(3);
        let mut process = child(kernel, "echo early; (sleep 0.04; echo late) & exit 3", script, outputs).await;
        assert_eq!(process.wait().await.unwrap().code(), Some(3));
        let (output, _) = process.communicate(None).await.unwrap();
        assert_eq!(output.as_deref(), Some(&b"early\nlate\n"[..]));
    });
}

#[test]
fn a_grandchild_is_reached_by_its_group_and_by_nothing_else() {
    // PR13
    each_kernel("a_grandchild_is_reached_by_its_group_and_by_nothing_else", async |kernel| {
        let script = Script::new().background(Script::new().hang()).stdout("early\n");
        let set = |subprocess: CreateSubprocess| outputs(subprocess).start_new_session(true);
        let process = &mut child(kernel, "sleep 1000 & echo early", script, set).await;
        assert_eq!(process.wait().await.unwrap().code(), Some(0));
        assert!(process.kill().is_err(), "the child is gone");
        let mut stdout = process.stdout.take().unwrap();
        assert_eq!(stdout.readline().await.unwrap(), "early\n");
        assert!(wait_for(stdout.read(1), Duration::from_millis(50)).await.is_err(), "somebody holds the pipe");
        process.kill_group().unwrap();
        assert_eq!(stdout.read(1).await.unwrap(), "");
    });
}

#[test]
fn a_child_that_nobody_listens_to_dies_of_it() {
    each_kernel("a_child_that_nobody_listens_to_dies_of_it", async |kernel| {
        let script = Script::new().stdout(vec![0; 1_000_000]);
        let process = &mut child(kernel, "exec head -c 1000000 /dev/zero", script, outputs).await;
        drop(process.stdout.take());
        process.wait().await.unwrap();
        assert_eq!(process.returncode(), Some(-13));
    });
}

#[test]
fn a_program_that_does_not_exist_is_not_found() {
    // PR3
    each_kernel("a_program_that_does_not_exist_is_not_found", async |_| {
        let error = create_subprocess_exec("no-such-program").stdout(Stdio::Pipe).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program"), "{error}");
    });
}

#[test]
fn nothing_comes_from_nowhere_and_all_fits_there() {
    each_kernel("nothing_comes_from_nowhere_and_all_fits_there", async |kernel| {
        let script = Script::new().echo().stdout(vec![0; 200_000]).stderr("!").exit(4);
        let set =
            |subprocess: CreateSubprocess| subprocess.stdin(Stdio::DevNull).stdout(Stdio::DevNull).stderr(Stdio::Pipe);
        let text = "cat; head -c 200000 /dev/zero; printf ! >&2; exit 4";
        let mut process = child(kernel, text, script, set).await;
        let (output, errors) = process.communicate(None).await.unwrap();
        assert_eq!((output, errors.as_deref(), process.returncode()), (None, Some(&b"!"[..]), Some(4)));
    });
}
