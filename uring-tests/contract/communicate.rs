//! Contract 9, PR7 to PR9: a child's input and output.

use std::{
    io::{self, ErrorKind, Write},
    os::fd::AsRawFd,
    time::Duration,
};

use ringio::{
    CreateSubprocess, Descriptor, Process, Stdio, create_subprocess_exec, create_subprocess_shell, create_task,
    wait_for,
};

use super::{is_cancel, on_ring, turns};
use crate::support::{Rng, until};

const MEGABYTES_3: usize = 3 << 20;

fn piped(subprocess: CreateSubprocess) -> CreateSubprocess {
    subprocess.stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe)
}

#[test]
fn megabytes_go_both_ways_without_a_deadlock() {
    // PR7 († 3 MB): the pipes hold 64 KiB.
    let input = Rng::new("megabytes_go_both_ways").bytes(MEGABYTES_3);
    on_ring(async move || {
        let mut cat = piped(create_subprocess_exec("cat")).await.unwrap();
        let (output, errors) = cat.communicate(Some(&input)).await.unwrap();
        assert!(output.unwrap() == input && errors.unwrap().is_empty());
        assert_eq!(cat.returncode(), Some(0));
        // Both of its outputs flooded in turn, and the input read last.
        let script = "head -c 1000000 /dev/zero; head -c 2000000 /dev/zero >&2; head -c 1000000 /dev/zero; wc -c >&2";
        let mut flood = piped(create_subprocess_shell(script)).await.unwrap();
        let (output, errors) = flood.communicate(Some(&input)).await.unwrap();
        let errors = errors.unwrap();
        assert_eq!(output.unwrap().len(), 2_000_000);
        assert_eq!(errors[2_000_000..], *format!("{MEGABYTES_3}\n").as_bytes());
    });
}

#[test]
fn many_children_are_fed_at_once() {
    // PR7
    let input = Rng::new("many_children_are_fed_at_once").bytes(300_000);
    on_ring(async move || {
        let input = std::rc::Rc::new(input);
        let tasks: Vec<_> = (0..30)
            .map(|_| {
                let input = input.clone();
                create_task(async move {
                    let mut cat = piped(create_subprocess_exec("cat")).await?;
                    let (output, _) = cat.communicate(Some(&input)).await?;
                    assert!(output.unwrap() == **input);
                    io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn input_that_nobody_reads_is_no_error() {
    // PR7 (sp::test_communicate_ignore_broken_pipe)
    on_ring(async || {
        let input = vec![b'x'; MEGABYTES_3];
        let mut deaf = piped(create_subprocess_shell("exec <&-; echo deaf; exit 3")).await.unwrap();
        let (output, _) = deaf.communicate(Some(&input)).await.unwrap();
        assert_eq!((output.unwrap(), deaf.returncode()), (b"deaf\n".to_vec(), Some(3)));
        // One that closes all its pipes and lives on.
        let mut mute = piped(create_subprocess_shell("exec <&- >&- 2>&-; sleep 0.05; exit 4")).await.unwrap();
        assert_eq!(mute.communicate(Some(&input)).await.unwrap(), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(mute.returncode(), Some(4));
        let mut gone = piped(create_subprocess_exec("true")).await.unwrap();
        gone.wait().await.unwrap();
        assert_eq!(gone.communicate(Some(&input)).await.unwrap().0, Some(Vec::new()));
    });
}

#[test]
fn no_input_ends_the_childs_input_and_no_pipe_is_none() {
    // PR7 (sp::test_empty_input, test_devnull_*)
    on_ring(async || {
        let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).stdout(Stdio::Pipe).await.unwrap();
        assert_eq!(cat.communicate(None).await.unwrap(), (Some(Vec::new()), None));
        let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).await.unwrap();
        assert_eq!(cat.communicate(Some(b"")).await.unwrap(), (None, None));
        let mut quiet = create_subprocess_exec("cat").stdin(Stdio::DevNull).stderr(Stdio::Pipe).await.unwrap();
        assert_eq!(quiet.communicate(None).await.unwrap(), (None, Some(Vec::new())));
        // [B]: asyncio ignores it.
        let mut closed = create_subprocess_exec("true").stdin(Stdio::DevNull).await.unwrap();
        assert_eq!(closed.communicate(Some(b"x")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(closed.communicate(None).await.unwrap(), (None, None));
    });
}

#[test]
fn a_second_communicate_has_nothing_left() {
    // PR7 †
    on_ring(async || {
        let mut cat = piped(create_subprocess_exec("cat")).await.unwrap();
        assert_eq!(cat.communicate(Some(b"once")).await.unwrap().0.unwrap(), b"once");
        assert_eq!(cat.communicate(None).await.unwrap(), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(cat.communicate(Some(b"twice")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// A child that says one, waits to be let go, copies its input, and says two.
async fn interrupted() -> (Process, Descriptor, io::PipeWriter) {
    let (wait, go) = io::pipe().unwrap();
    let (reached, tell) = io::pipe().unwrap();
    let script = format!(
        "echo one; echo err >&2; echo >/dev/fd/{}; head -c1 </dev/fd/{} >/dev/null; cat; echo two",
        tell.as_raw_fd(),
        wait.as_raw_fd()
    );
    let process = piped(create_subprocess_shell(script)).pass_fds([wait.into(), std::os::fd::OwnedFd::from(tell)]);
    (process.await.unwrap(), Descriptor::new(reached.into()), go)
}

#[test]
fn a_cancelled_communicate_keeps_what_it_read_and_goes_on_feeding() {
    // PR8; flaw 22; lessons row 7
    let input = Rng::new("a_cancelled_communicate").bytes(MEGABYTES_3);
    for drop_it in [false, true] {
        let input = input.clone();
        on_ring(async move || {
            let (mut process, reached, mut go) = interrupted().await;
            let expected = [b"one\n".to_vec(), input.clone(), b"two\n".to_vec()].concat();
            let (mut process, first) = create_task(async move {
                let mut first = Box::pin(process.communicate(Some(&input)));
                assert!(futures::poll!(&mut first).is_pending());
                reached.readable().await?;
                // What it has said is read by now, by the first call.
                for _ in 0..20 {
                    assert!(futures::poll!(&mut first).is_pending());
                    turns(1).await;
                }
                let mut ended = None;
                if !drop_it {
                    ringio::current_task().unwrap().cancel();
                    ended = Some(first.as_mut().await.unwrap_err());
                }
                drop(first);
                io::Result::Ok((process, ended))
            })
            .await
            .unwrap();
            assert!(first.is_none_or(|error| is_cancel(&error)));
            assert_eq!(process.returncode(), None, "the child lives on");
            go.write_all(&[1]).unwrap();
            let (output, errors) = process.communicate(None).await.unwrap();
            assert!(output.unwrap() == expected);
            assert_eq!(errors.unwrap(), b"err\n");
            assert_eq!(process.returncode(), Some(0));
        });
    }
}

#[test]
fn a_timed_out_communicate_may_be_tried_again_and_again() {
    // PR8
    on_ring(async || {
        let script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.01; done";
        let mut process = piped(create_subprocess_shell(script)).await.unwrap();
        let mut tries = 0;
        let output = loop {
            tries += 1;
            match wait_for(process.communicate(None), Duration::from_millis(3)).await {
                Ok((output, _)) => break output.unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        };
        assert_eq!(output, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        assert!(tries > 1, "its sleeps alone take longer than one try");
    });
}

#[test]
fn output_beyond_the_limit_waits_in_the_child_and_is_all_there_after_its_end() {
    // PR9 (sp::test_pause_reading, test_read_stdout_after_process_exit)
    on_ring(async || {
        let flood = create_subprocess_exec("head").args(["-c", "1000000", "/dev/zero"]).stdout(Stdio::Pipe);
        let mut flood = flood.limit(1000).await.unwrap();
        // Nobody reads: it cannot have ended.
        until("the pipe is full", || blocked(flood.pid())).await;
        assert_eq!(flood.returncode(), None);
        let mut count = 0;
        let stdout = flood.stdout.as_mut().unwrap();
        loop {
            match stdout.read(100_000).await.unwrap().len() {
                0 => break,
                more => count += more,
            }
        }
        assert_eq!(count, 1_000_000);
        assert_eq!(flood.wait().await.unwrap().code(), Some(0));
        let mut brief = create_subprocess_shell("echo last words").stdout(Stdio::Pipe).await.unwrap();
        brief.wait().await.unwrap();
        assert_eq!(brief.stdout.as_mut().unwrap().readline().await.unwrap(), "last words\n");
        assert_eq!(brief.stdout.as_mut().unwrap().readline().await.unwrap(), "");
    });
}

/// Whether it sleeps in a write to a pipe.
fn blocked(pid: u32) -> bool {
    let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wchan.contains("pipe") || (wchan == "0" && stat.contains(") S "))
}

#[test]
fn a_dead_childs_input_is_a_broken_pipe_and_never_a_signal() {
    // PR9 (sp::test_stdin_broken_pipe); kernel pitfall 23
    on_ring(async || {
        let mut process = create_subprocess_exec("true").stdin(Stdio::Pipe).await.unwrap();
        process.wait().await.unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let error = loop {
            if let Err(error) = stdin.write(&[0; 100_000]) {
                break error;
            }
            if let Err(error) = stdin.drain().await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_cancelled_wait_closed_of_a_childs_input_is_harmless() {
    // PR9; flaw 20
    on_ring(async || {
        let (wait, mut go) = io::pipe().unwrap();
        let script = format!("head -c1 </dev/fd/{} >/dev/null; wc -c", wait.as_raw_fd());
        let mut process = piped(create_subprocess_shell(script)).pass_fds([wait]).await.unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write(&[0; 1_000_000]).unwrap();
        stdin.close();
        let closing = create_task(async move {
            let first = stdin.wait_closed().await;
            assert!(is_cancel(&first.unwrap_err()));
            stdin.wait_closed().await
        });
        turns(3).await;
        closing.cancel();
        turns(3).await;
        go.write_all(&[1]).unwrap();
        closing.await.unwrap();
        assert_eq!(process.communicate(None).await.unwrap().0.unwrap(), b"1000000\n");
    });
}

#[test]
fn a_conversation_through_the_pipes() {
    // PR9
    on_ring(async || {
        let mut sed = piped(create_subprocess_exec("sed").args(["-u", "s/a/b/"])).await.unwrap();
        for _ in 0..100 {
            sed.stdin.as_mut().unwrap().write(b"banana\n").unwrap();
            assert_eq!(sed.stdout.as_mut().unwrap().readline().await.unwrap(), "bbnana\n");
        }
        assert_eq!(sed.communicate(Some(b"a")).await.unwrap().0.unwrap(), b"b");
    });
}
