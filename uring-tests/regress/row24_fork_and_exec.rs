//! A child of fork used its parent's ring, and a program that was started got its parent's descriptors.

use std::process::Command;

use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use ringio::{Runner, TcpListener, TcpStream, create_task, open_connection, start_server};

use crate::support::{alone, each_profile, process::descriptors, settled, wire};

#[test]
fn program_that_is_started_gets_no_descriptor_of_ours() {
    // kernel pitfall 11
    alone(&program_that_is_started_gets_no_descriptor_of_ours, || {
        each_profile(|_, runner| {
            runner.run(async {
                let server = start_server(
                    async |mut reader: ringio::StreamReader, _| reader.read(9).await.map(drop),
                    "127.0.0.1:0",
                );
                let server = server.await.unwrap();
                let (mut reader, mut writer) = open_connection(server.sockets()[0]).await.unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let accepted = listener.accept().await.unwrap();
                ringio::yield_now().await.unwrap();
                assert!(descriptors().len() >= 3 + 2 + 5, "ring, doorbell, two listeners, four connections");
                let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
                let listed = String::from_utf8(output.stdout).unwrap();
                let ours: Vec<&str> = listed
                    .lines()
                    .filter(|line| ["socket:", "anon_inode:"].iter().any(|kind| line.contains(kind)))
                    .collect();
                assert!(listed.contains(" 0 -> ") && ours.is_empty(), "inherited: {ours:?}");
                writer.write(b"bye").unwrap();
                assert_eq!(reader.read(9).await.unwrap(), "");
                drop((client, accepted, listener, reader, writer));
                server.close();
                server.wait_closed().await.unwrap();
                settled().await;
            });
        });
    });
}

#[test]
fn runtime_used_on_after_a_fork_dies_loudly_and_leaves_its_parent_alone() {
    // kernel pitfall 10
    alone(&runtime_used_on_after_a_fork_dies_loudly_and_leaves_its_parent_alone, || {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
        each_profile(|_, runner| {
            runner.run(async {
                let (input, pipe) = wire::pipe();
                let reading = create_task(async move { input.read(vec![0; 64]).await.0 });
                ringio::yield_now().await.unwrap();
                // SAFETY: the child calls nothing but the runtime that it may not use, and _exit.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        let _ = ringio::sleep(std::time::Duration::from_millis(1)).await;
                        nix::unistd::write(&pipe, b"the child went on").unwrap();
                        // SAFETY: ends this process and nothing else.
                        unsafe { nix::libc::_exit(0) }
                    }
                    ForkResult::Parent { child } => {
                        let ended = waitpid(child, None).unwrap();
                        assert_eq!(ended, WaitStatus::Signaled(child, Signal::SIGSEGV, false), "it may not go on");
                    }
                }
                nix::unistd::write(&pipe, b"parent").unwrap();
                assert_eq!(reading.await.unwrap(), 6);
                crate::environments::smoke_once().await;
                settled().await;
            });
        });
        drop(Runner::new().unwrap());
    });
}
