//! Contract 9, PR1 to PR3: what a child is started with, and why it is not started.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    unistd::{Pid, getpgid, getsid},
};
use ringio::{CreateSubprocess, Process, Stdio, create_subprocess_exec, create_subprocess_shell};

use super::{
    on_ring,
    process::{assert_childless, output, shell},
};
use crate::support::{
    alone,
    process::{assert_descriptors, descriptors},
};

#[test]
fn arguments_arrive_as_they_are_and_the_shell_interprets_its_command() {
    // PR1
    on_ring(async || {
        let script = create_subprocess_exec("printf").args(["%s|", "a b", "$HOME", "*", "", "'\"; exit 3"]);
        assert_eq!(output(script).await, "a b|$HOME|*||'\"; exit 3|");
        assert_eq!(output(create_subprocess_shell("X=7; echo $X; echo $0")).await, "7\n/bin/sh\n");
    });
}

#[test]
fn standard_streams_are_what_they_were_said_to_be() {
    // PR1
    on_ring(async || {
        let merged = shell("echo out; echo err >&2; echo out").stderr(Stdio::Stdout);
        assert_eq!(output(merged).await, "out\nerr\nout\n");
        let mut apart = shell("echo out; echo err >&2").stderr(Stdio::Pipe).await.unwrap();
        let (out, err) = apart.communicate(None).await.unwrap();
        assert_eq!((out.as_deref(), err.as_deref()), (Some(&b"out\n"[..]), Some(&b"err\n"[..])));
        let nothing = create_subprocess_exec("cat").stdin(Stdio::DevNull);
        assert_eq!(output(nothing).await, "");
        let (mut reader, writer) = io::pipe().unwrap();
        let both = create_subprocess_shell("echo to a pipe; echo twice >&2");
        let process = both.stdout(writer.try_clone().unwrap()).stderr(writer).stdin(File::open("/dev/null").unwrap());
        assert!(process.await.unwrap().wait().await.unwrap().success());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to a pipe\ntwice\n", "and its ends here are closed");
    });
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    // PR1
    on_ring(async || {
        let refused = [
            shell("true").limit(0),
            shell("true").stdin(Stdio::Stdout),
            create_subprocess_exec("true").stdout(Stdio::Stdout),
            create_subprocess_exec("true\0"),
            create_subprocess_exec("true").arg("a\0b"),
            create_subprocess_exec("true").cwd("/\0"),
            create_subprocess_exec("true").env([("A=B", "c")]),
            create_subprocess_exec("true").env([("A", "\0")]),
            create_subprocess_shell("true\0"),
        ];
        for subprocess in refused {
            let text = format!("{subprocess:?}");
            assert_eq!(subprocess.await.unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    });
}

#[test]
fn the_environment_is_inherited_or_replaced_as_a_whole() {
    // PR2
    on_ring(async || {
        let inherited = output(create_subprocess_exec("/usr/bin/env")).await;
        let mut ours: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        let mut theirs: Vec<&str> = inherited.lines().collect();
        ours.sort();
        theirs.sort();
        assert_eq!(theirs.join("\n"), ours.join("\n"));
        let replaced = create_subprocess_exec("/usr/bin/env").env([("B", "2"), ("A", "1 =")]);
        assert_eq!(output(replaced).await, "A=1 =\nB=2\n");
        // The program is looked for where the child's PATH says.
        let elsewhere = create_subprocess_exec("env").env([("PATH", "/nowhere:/usr/bin")]);
        assert_eq!(output(elsewhere).await, "PATH=/nowhere:/usr/bin\n");
        let nowhere = create_subprocess_exec("env").env([("PATH", "/nowhere")]).await;
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn cwd_umask_and_executable_are_the_childs_alone() {
    // PR2
    on_ring(async || {
        let here = std::env::current_dir().unwrap();
        assert_eq!(output(shell("pwd; umask").cwd("/usr").umask(0o027)).await, "/usr\n0027\n");
        assert_eq!(std::env::current_dir().unwrap(), here);
        let renamed = create_subprocess_exec("somebody").executable("/bin/sh").args(["-c", "echo $0", "else"]);
        assert_eq!(output(renamed).await, "else\n");
        let told = create_subprocess_exec("somebody").executable("/bin/cat").arg("/proc/self/cmdline");
        assert_eq!(output(told).await, "somebody\0/proc/self/cmdline\0");
    });
}

#[test]
fn sessions_and_groups_are_made_as_told() {
    // PR2
    on_ring(async || {
        let same = create_subprocess_exec("cat").stdin(Stdio::Pipe).await.unwrap();
        let session = create_subprocess_exec("cat").stdin(Stdio::Pipe).start_new_session(true).await.unwrap();
        let group = create_subprocess_exec("cat").stdin(Stdio::Pipe).process_group(0).await.unwrap();
        let pid = |process: &Process| Pid::from_raw(process.pid() as i32);
        let (ours, our_session) = (getpgid(None).unwrap(), getsid(None).unwrap());
        assert_eq!(getpgid(Some(pid(&same))), Ok(ours));
        assert_eq!((getpgid(Some(pid(&session))), getsid(Some(pid(&session)))), (Ok(pid(&session)), Ok(pid(&session))));
        assert_eq!((getpgid(Some(pid(&group))), getsid(Some(pid(&group)))), (Ok(pid(&group)), Ok(our_session)));
        let joined =
            create_subprocess_exec("cat").stdin(Stdio::Pipe).process_group(pid(&group).as_raw()).await.unwrap();
        assert_eq!(getpgid(Some(pid(&joined))), Ok(pid(&group)));
        for mut process in [same, session, group, joined] {
            process.communicate(None).await.unwrap();
            assert_eq!(process.returncode(), Some(0));
        }
    });
}

#[test]
fn credentials_are_set_and_nothing_of_ours_is_kept() {
    // PR2
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: only a privileged user can become another one");
    }
    on_ring(async || {
        let ids = "id -u; id -ru; id -g; id -rg; id -G";
        let plain = shell(ids).user(65534).group(65533).extra_groups([7, 65533]);
        assert_eq!(output(plain).await, "65534\n65534\n65533\n65533\n65533 7\n");
        assert_eq!(output(shell(ids).user(65534).group(65533)).await, "65534\n65534\n65533\n65533\n65533\n");
        assert_eq!(nix::unistd::geteuid().as_raw(), 0, "ours are what they were");
        // Who has no privilege cannot: the child says so before its program runs.
        let shell_as = |script: &str| create_subprocess_exec("/bin/sh").arg("-c").arg(script);
        let error = shell_as("exit 0").user(65534).pre_exec_denied().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    });
}

trait Denied {
    fn pre_exec_denied(self) -> CreateSubprocess;
}

impl Denied for CreateSubprocess {
    /// A step that needs a privilege which the user before it gave away.
    fn pre_exec_denied(self) -> CreateSubprocess {
        // SAFETY: one plain system call; it touches no memory.
        unsafe {
            self.pre_exec(|| {
                nix::unistd::chroot("/").map_err(io::Error::from)?;
                Ok(())
            })
        }
    }
}

/// A field of the child's own /proc/self/status, as a number of bits.
fn bits(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

const SIGPIPE: u64 = 1 << 12;
const SIGUSR1: u64 = 1 << 9;
const SIGHUP: u64 = 1;
const SIGCHLD: u64 = 1 << 16;

#[test]
fn signals_are_restored_in_the_child() {
    // PR2; kernel pitfall 23
    alone(&signals_are_restored_in_the_child, || {
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
        extern "C" fn nothing(_: nix::libc::c_int) {}
        let set = |signal, handler| {
            let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler does nothing.
            unsafe { sigaction(signal, &action) }.unwrap();
        };
        set(Signal::SIGUSR1, SigHandler::Handler(nothing));
        set(Signal::SIGCHLD, SigHandler::SigIgn);
        set(Signal::SIGHUP, SigHandler::SigIgn);
        let mut usr1 = SigSet::empty();
        usr1.add(Signal::SIGUSR1);
        usr1.thread_block().unwrap();
        ringio::run(async {
            let status = output(create_subprocess_exec("cat").arg("/proc/self/status")).await;
            assert_eq!(bits(&status, "SigBlk:"), 0);
            assert_eq!(bits(&status, "SigCgt:") & SIGUSR1, 0);
            let ignored = bits(&status, "SigIgn:");
            assert_eq!(ignored & (SIGPIPE | SIGCHLD), 0, "what Rust ignores, and children that vanish");
            assert_ne!(ignored & SIGHUP, 0, "what nohup does goes on");
            let kept = create_subprocess_exec("cat").arg("/proc/self/status").restore_signals(false);
            let status = output(kept).await;
            assert_eq!(bits(&status, "SigBlk:"), SIGUSR1, "what this thread blocks, and nothing of the runtime's");
            assert_eq!(bits(&status, "SigCgt:") & SIGUSR1, 0);
            assert_eq!(bits(&status, "SigIgn:") & (SIGPIPE | SIGCHLD), SIGPIPE | SIGCHLD);
        });
    });
}

/// The descriptors that a child says it has.
async fn descriptors_of(subprocess: CreateSubprocess) -> Vec<i32> {
    let listing = output(subprocess).await;
    let open = listing.lines().filter(|line| line.contains(" -> ") && !line.contains("/proc/"));
    let number = |line: &str| line.split(" -> ").next()?.split_whitespace().last()?.parse().ok();
    let mut open: Vec<i32> = open.filter_map(number).collect();
    open.sort_unstable();
    open
}

fn list() -> CreateSubprocess {
    create_subprocess_exec("ls").args(["-l", "/proc/self/fd"])
}

/// Open descriptors of this process that children get if nobody closes them.
fn careless_ones() -> Vec<i32> {
    let flags = |fd: &i32| std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let stays = |flags: String| {
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim).unwrap_or("2000000");
        u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 == 0
    };
    descriptors().into_iter().map(|(fd, _)| fd as i32).filter(|fd| stays(flags(fd))).collect()
}

/// A descriptor that says nothing about children.
fn inheritable() -> OwnedFd {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let fd = OwnedFd::from(File::open("/dev/zero").unwrap());
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd
}

#[test]
fn no_descriptor_reaches_a_child_but_those_that_are_passed() {
    // PR2; kernel pitfall 11
    alone(&no_descriptor_reaches_a_child_but_those_that_are_passed, || {
        ringio::run(async {
            let (careless, passed, more) = (inheritable(), inheritable(), OwnedFd::from(io::pipe().unwrap().0));
            assert_eq!(descriptors_of(list()).await, [0, 1, 2]);
            let mut expected = vec![0, 1, 2, passed.as_raw_fd(), more.as_raw_fd()];
            expected.sort_unstable();
            let before = descriptors();
            assert_eq!(descriptors_of(list().pass_fds([more, passed])).await, expected);
            assert_eq!(descriptors().len(), before.len() - 2, "passed on, they are closed here");
            let all = descriptors_of(list().close_fds(false)).await;
            assert_eq!(all, careless_ones(), "those that say nothing about children");
            assert!(all.contains(&careless.as_raw_fd()));
        });
    });
}

#[test]
fn two_threads_that_start_children_share_no_descriptor() {
    // lessons row 24; issue: "from two threads spawning at once"
    alone(&two_threads_that_start_children_share_no_descriptor, || {
        let run = || {
            ringio::run(async {
                for _ in 0..40 {
                    let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).stdout(Stdio::Pipe).await.unwrap();
                    assert_eq!(descriptors_of(list()).await, [0, 1, 2]);
                    // It would not end if another child had its pipe.
                    cat.communicate(Some(b"x")).await.unwrap();
                }
            });
        };
        let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(run)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_closed_standard_stream_here_is_closed_there() {
    // PR2: none of our pipes takes its number.
    alone(&a_closed_standard_stream_here_is_closed_there, || {
        ringio::run(async {
            nix::unistd::close(0).unwrap();
            assert_eq!(descriptors_of(list().stderr(Stdio::DevNull)).await, [1, 2]);
            let mut cat = create_subprocess_exec("cat").stdin(Stdio::Pipe).stdout(Stdio::Pipe).await.unwrap();
            assert_eq!(cat.communicate(Some(b"through")).await.unwrap().0.unwrap(), b"through");
        });
    });
}

#[test]
fn a_failed_start_says_what_was_wrong_and_leaves_nothing() {
    // PR3
    alone(&a_failed_start_says_what_was_wrong_and_leaves_nothing, || {
        let folder = std::env::temp_dir().join(format!("ringio-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, content: &str, mode| {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (plain, orphan) = (file("plain", "#!/bin/sh\n", 0o644), file("orphan", "#!/no/such/interpreter\n", 0o755));
        let binary = file("binary", "not a program at all", 0o755);
        ringio::run(async {
            shell("true").await.unwrap().wait().await.unwrap();
            let before = descriptors();
            let attempts = [
                (create_subprocess_exec("/no/such/program"), ErrorKind::NotFound, "/no/such/program"),
                (create_subprocess_exec("no-such-program"), ErrorKind::NotFound, "no-such-program"),
                (create_subprocess_exec(""), ErrorKind::NotFound, "\"\""),
                (create_subprocess_exec("true").cwd("/no/such/folder"), ErrorKind::NotFound, "\"/no/such/folder\""),
                (create_subprocess_exec("true").cwd("/etc/passwd"), ErrorKind::NotADirectory, "working directory"),
                (create_subprocess_exec(&plain), ErrorKind::PermissionDenied, "plain"),
                (create_subprocess_exec(&folder), ErrorKind::PermissionDenied, "ringio-"),
                (create_subprocess_exec(&orphan), ErrorKind::NotFound, "interpreter"),
                (create_subprocess_exec(&binary), io::Error::from(Errno::ENOEXEC).kind(), "refuses"),
                (create_subprocess_exec("true").process_group(-7), ErrorKind::InvalidInput, "process group"),
            ];
            for (subprocess, kind, named) in attempts {
                let what = format!("{subprocess:?}");
                let all = subprocess.stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe);
                let error = all.await.unwrap_err();
                assert_eq!(error.kind(), kind, "{what}: {error}");
                assert!(error.to_string().contains(named), "{what}: {error}");
                assert_childless();
                assert_descriptors(&before);
            }
        });
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn a_search_reports_the_refusal_that_says_more() {
    // PR3, as CPython: a program that may not be executed in one directory of PATH, and is missing in the others.
    on_ring(async || {
        let folder = std::env::temp_dir().join(format!("ringio-path-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("tool")).unwrap();
        let path = format!("/nowhere:{}:/etc/passwd", folder.display());
        let error = create_subprocess_exec("tool").env([("PATH", path)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn pre_exec_runs_in_the_child_and_its_failure_is_the_starts() {
    // PR2, PR3
    on_ring(async || {
        // SAFETY: plain system calls.
        let moved = unsafe { shell("pwd").pre_exec(|| std::env::set_current_dir("/usr")) };
        assert_eq!(output(moved).await, "/usr\n");
        // SAFETY: it does nothing.
        let failing = unsafe { shell("true").pre_exec(|| Err(io::Error::from(Errno::EDQUOT))) };
        let error = failing.await.unwrap_err();
        assert!(
            error.kind() == io::Error::from(Errno::EDQUOT).kind() && error.to_string().contains("pre_exec"),
            "{error}"
        );
        // SAFETY: this process's other threads go on, so the panic's locks do.
        let panicking = unsafe { shell("true").pre_exec(|| panic!("on purpose, in a child")) };
        assert!(panicking.await.unwrap_err().to_string().contains("pre_exec"));
    });
}
