//! A server as the harness sees it: a child process with a port and a CPU clock.
//!
//! Guards: the CPU of a server is read from the process's own clock (nanoseconds), not from ticks. The split into
//! user and kernel time has no such clock: the kernel samples it, 250 times a second here, so it needs several rounds.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{
    serve::{Fifo, Role},
    servers::Server,
};

pub(crate) struct Child {
    process: process::Child,
    /// Some until the child shall end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

/// CPU time of a process since it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) user: Duration,
}

impl Usage {
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(before.cpu), user: self.user.saturating_sub(before.user) }
    }
}

impl Child {
    pub(crate) fn serve(server: &Server, role: Role, cpu: usize, fifo: Fifo) -> io::Result<Child> {
        let role = format!("{role:?}").to_lowercase();
        let fifo = format!("{fifo:?}").to_lowercase();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", server.name, "--role", &role, "--fifo", &fifo, "--cpu", &cpu.to_string()])
            .envs(server.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().ok_or_else(|| io::Error::other("no pipe from the server"))?);
        let mut child = Child { process, stdin, stdout, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        match child.hear("listening")?.as_slice() {
            [port] => child.address.set_port(*port as u16),
            words => return Err(io::Error::other(format!("{}: not a port: {words:?}", server.name))),
        }
        Ok(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Nanoseconds of CPU by the process's own clock, all its threads together.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        // A process's CPU clock has the id `!pid << 3 | 2` (clock_getcpuclockid(3) makes the same).
        let clock = (!(self.id() as libc::clockid_t) << 3) | 2;
        read_clock(clock)
    }

    pub(crate) fn usage(&mut self) -> io::Result<Usage> {
        let stdin = self.stdin.as_mut().ok_or_else(|| io::Error::other("the server was told to end"))?;
        stdin.write_all(b"usage\n")?;
        let user = match self.hear("usage")?.as_slice() {
            [user_us, _system_us] => Duration::from_micros(*user_us),
            words => return Err(io::Error::other(format!("not a usage: {words:?}"))),
        };
        Ok(Usage { cpu: self.cpu()?, user })
    }

    fn hear(&mut self, expected: &str) -> io::Result<Vec<u64>> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        if words.next() != Some(expected) {
            return Err(io::Error::other(format!("the server ended, or said '{}', not '{expected}'", line.trim())));
        }
        words.map(|word| word.parse().map_err(io::Error::other)).collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Its control thread ends it at once. Should it not: SIGKILL does, and waiting cannot fail for our own child.
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

pub(crate) fn own_cpu() -> io::Result<Duration> {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

pub(crate) fn thread_cpu() -> io::Result<Duration> {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which lives on this stack.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
