//! The server's process: pinned to one CPU, serving until its standard input closes.
//!
//! Guards: what is measured is the server alone. The thread that answers the harness sleeps in a read, on another
//! CPU, and costs nothing while the server is measured.

use std::{
    io::{self, BufRead, Write},
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd,
    thread,
};

use clap::ValueEnum;
use nix::sys::{
    resource::{UsageWho, getrusage},
    socket,
    time::TimeValLike,
};

use crate::{placement, servers::Server};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Gives back what it gets.
    Echo,
    /// Reads and forgets.
    Sink,
    /// Writes until the peer has had enough.
    Source,
}

/// The buffer of a connection that echoes, and of one that moves a big stream.
pub(crate) const ECHO_LEN: usize = 16 * 1024;
pub(crate) const BULK_LEN: usize = 64 * 1024;

impl Role {
    pub(crate) fn buffer_len(self) -> usize {
        match self {
            Role::Echo => ECHO_LEN,
            Role::Sink | Role::Source => BULK_LEN,
        }
    }
}

/// Real-time priority for the server, if the system permits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fifo {
    Auto,
    Off,
}

pub(crate) fn run(server: &Server, role: Role, cpu: Option<usize>, fifo: Fifo) -> io::Result<()> {
    placement::raise_descriptor_limit()?;
    // Started before this thread is pinned and raised, so that it is neither.
    thread::spawn(answer_harness);
    isolate(cpu, fifo)?;
    (server.serve)(role)
}

pub(crate) fn isolate(cpu: Option<usize>, fifo: Fifo) -> io::Result<()> {
    if let Some(cpu) = cpu {
        placement::pin(cpu)?;
    }
    if fifo == Fifo::Auto
        && let Err(error) = placement::real_time(1)
    {
        eprintln!("no real-time priority ({error}): background work will show up in the figures");
    }
    Ok(())
}

/// A listening socket for those runtimes that take one from std. Sockets it accepts inherit TCP_NODELAY.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    socket::listen(&listener, socket::Backlog::new(4096)?)?;
    no_delay(&listener)?;
    announce(listener.local_addr()?);
    Ok(listener)
}

/// On a listener: for every connection it accepts.
pub(crate) fn no_delay(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: setsockopt reads one int, which lives on this stack.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tells the harness where to connect.
pub(crate) fn announce(address: SocketAddr) {
    say(&format!("listening {}", address.port()));
}

fn answer_harness() {
    for line in io::stdin().lock().lines() {
        match line.as_deref() {
            Ok("usage") => {
                let (user_us, system_us) = usage();
                say(&format!("usage {user_us} {system_us}"));
            }
            Ok(_) | Err(_) => break,
        }
    }
    // SAFETY: the process ends here. No destructor, no flush: the server's thread is in the middle of its work.
    unsafe { libc::_exit(0) };
}

fn usage() -> (i64, i64) {
    match getrusage(UsageWho::RUSAGE_SELF) {
        Ok(usage) => (usage.user_time().num_microseconds(), usage.system_time().num_microseconds()),
        Err(_) => (0, 0),
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    // The harness is gone: so is the reason to serve.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
