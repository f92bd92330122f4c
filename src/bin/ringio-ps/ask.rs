//! Asks each runtime of a process for its tasks.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    path::Path,
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::tasks::Tasks;

/// How long a loop may take for an answer. It answers between two steps of its tasks.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the sockets of the system are listed.
const SOCKETS: &str = "/proc/net/unix";

/// Why there is no answer.
enum Failure {
    /// Another try may have more luck.
    Torn(String),
    Final(String),
}

pub(crate) fn tasks_of(pid: u32, retries: u32) -> Result<Tasks, String> {
    let mut tries_left = retries;
    loop {
        match ask(pid) {
            Ok(tasks) => return Ok(tasks),
            Err(Failure::Torn(_)) if tries_left > 0 && exists(pid) => tries_left -= 1,
            Err(Failure::Torn(_)) if !exists(pid) => return Err(format!("process {pid} has ended meanwhile")),
            Err(Failure::Torn(complaint)) => return Err(format!("{complaint}; try again, with more --retries")),
            Err(Failure::Final(complaint)) => return Err(complaint),
        }
    }
}

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn ask(pid: u32) -> Result<Tasks, Failure> {
    if !exists(pid) {
        return Err(Failure::Final(format!("there is no process {pid}")));
    }
    let names = names(pid).map_err(|error| Failure::Final(format!("cannot read {SOCKETS}: {error}")))?;
    if names.is_empty() {
        let hint = "start it with RINGIO_INSPECT=1, or build its Runner with .inspect(true)";
        return Err(Failure::Final(format!("process {pid} has no ringio runtime that can be asked; {hint}")));
    }
    let mut tasks = Tasks::default();
    for name in names {
        let answer = answer(pid, &name)?;
        tasks.add(&answer).map_err(|what| Failure::Torn(format!("{name} of process {pid} answered {what}")))?;
    }
    Ok(tasks)
}

/// The abstract names that runtimes of a process listen on: `ringio/PROCESS/THREAD/NUMBER`.
fn names(pid: u32) -> io::Result<BTreeSet<String>> {
    let begin = format!("@ringio/{pid}/");
    let sockets = fs::read_to_string(SOCKETS)?;
    let names = sockets.lines().filter_map(|line| line.split_whitespace().last());
    Ok(names.filter(|name| name.starts_with(&begin)).map(|name| name[1..].to_owned()).collect())
}

fn answer(pid: u32, name: &str) -> Result<String, Failure> {
    let address = SocketAddr::from_abstract_name(name).map_err(|error| Failure::Final(error.to_string()))?;
    let torn = |error: io::Error| Failure::Torn(format!("{name} of process {pid} does not answer: {error}"));
    let mut stream = UnixStream::connect_addr(&address).map_err(torn)?;
    let listener = getsockopt(&stream.as_fd(), PeerCredentials).map_err(|errno| torn(errno.into()))?.pid();
    if u32::try_from(listener) != Ok(pid) {
        return Err(Failure::Final(format!("{name} is not process {pid} but {listener}: it is not to be believed")));
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(torn)?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) if text == "refused\n" => {
            let hint = "run ringio-ps as that user, or as root";
            Err(Failure::Final(format!("permission denied: process {pid} belongs to another user; {hint}")))
        }
        Ok(_) => Ok(text),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let thread = name.split('/').nth(2).unwrap_or("?");
            let guess = "a task keeps its loop busy, nothing runs in it, or the process is stopped";
            let text =
                format!("thread {thread} of process {pid} does not answer within {} s: {guess}", PATIENCE.as_secs());
            Err(Failure::Final(text))
        }
        Err(error) => Err(torn(error)),
    }
}
