//! Child processes that do what a script says, on virtual time.
//!
//! - C1. A child runs from its start until it ends, once; it is reaped once, or left to others.
//! - C2. What it holds is closed when it ends, and not before; what others hold too is closed with the last of them.

use std::{collections::VecDeque, io, os::unix::process::ExitStatusExt, process::ExitStatus, rc::Rc, time::Duration};

use super::{
    ledger::Reaped,
    net::{Kind, Stream},
    state::{Event, State, Waiter},
};
use crate::sys::{Look, Reach, Signalled, number};

/// One thing that a program does. The numbers of its descriptors are 0, 1 and 2.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Write(usize, Rc<[u8]>),
    /// Copies its input to its output, up to the end.
    Echo,
    /// Reads its input up to the end.
    Swallow,
    Sleep(Duration),
    Close(usize),
    /// Starts a process that nobody waits for, with the same files.
    Leave(Script),
    Exit(i32),
    Die(i32),
    /// Does nothing any more, for ever.
    Hang,
}

/// A program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) acts: Vec<Act>,
    pub(crate) ignores_term: bool,
    /// Somebody else takes its status.
    pub(crate) stolen: bool,
}

pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Whose process group it is in: its own, unless a child left it behind.
    leader: Option<usize>,
    script: Script,
    /// The act it is at, and how many bytes of it are done.
    at: usize,
    moved: usize,
    /// Read, and not written yet.
    held: VecDeque<u8>,
    /// Standard input, output and error; none for what is nobody's.
    files: [Option<usize>; 3],
    wakes_at: Option<u64>,
    scheduled: bool,
    stopped: bool,
    /// Signals that came while it was stopped.
    pending: Vec<i32>,
    /// As wait(2) tells it.
    status: Option<i32>,
    pub(super) reaped: Reaped,
    pub(super) pidfd: usize,
}

/// No process of this machine has such a number: whoever sends a signal to it by mistake hits nobody.
const FIRST_PID: u32 = 1 << 30;

/// What a step of a child led to.
enum Went {
    /// It waits for a change at this file.
    Blocked(usize),
    /// To the next act.
    On,
    /// Not yet.
    Again,
    Later(u64),
    Ended(i32),
    Nowhere,
}

impl Process {
    /// For whoever has to find out why nothing happens any more.
    pub(super) fn waiting(&self) -> Option<String> {
        let act = match self.script.acts.get(self.at) {
            _ if self.status.is_some() => return None,
            _ if self.stopped => "is stopped".to_owned(),
            Some(Act::Write(to, bytes)) => format!("writes to its descriptor {to}, {} of {}", self.moved, bytes.len()),
            Some(act) => format!("{act:?}"),
            None => "is about to end".to_owned(),
        };
        Some(format!("the child {:?}: {act}", self.name))
    }
}

fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

impl State {
    /// Makes a child; its first step is due at once.
    pub(super) fn add_child(&mut self, name: String, script: Script, files: [Option<usize>; 3]) -> usize {
        self.add_process(name, script, files, None)
    }

    fn add_process(&mut self, name: String, script: Script, files: [Option<usize>; 3], leader: Option<usize>) -> usize {
        self.spawned += 1;
        let pid = FIRST_PID + self.spawned;
        let process = Process {
            name,
            pid,
            leader,
            script,
            at: 0,
            moved: 0,
            held: VecDeque::new(),
            files,
            wakes_at: None,
            scheduled: false,
            stopped: false,
            pending: Vec::new(),
            status: None,
            reaped: if leader.is_some() { Reaped::ByOthers } else { Reaped::Not },
            pidfd: 0,
        };
        let child = self.children.insert(process);
        self.children[child].pidfd = self.net.add(Kind::Child(child));
        self.trace.note("child", u64::from(self.spawned));
        let delay = self.delay();
        self.schedule_child(child, delay);
        child
    }

    pub(super) fn schedule_child(&mut self, child: usize, delay: u64) {
        let Some(process) = self.children.get_mut(child) else { return };
        if !process.scheduled && process.status.is_none() {
            process.scheduled = true;
            self.add_event(delay, Event::Go(child));
        }
    }

    /// A child takes a step.
    pub(super) fn go(&mut self, child: usize) {
        let process = &mut self.children[child];
        process.scheduled = false;
        if process.stopped || process.status.is_some() {
            return;
        }
        match self.act(child) {
            Went::Blocked(file) => self.net.files[file].waiting.push(Waiter::Child(child)),
            Went::On => {
                let process = &mut self.children[child];
                (process.at, process.moved, process.wakes_at) = (process.at + 1, 0, None);
                self.go_later(child);
            }
            Went::Again => self.go_later(child),
            Went::Later(delay) => self.schedule_child(child, delay),
            Went::Ended(status) => self.end_child(child, status),
            Went::Nowhere => {}
        }
    }

    fn go_later(&mut self, child: usize) {
        let delay = self.delay();
        self.schedule_child(child, delay);
    }

    fn act(&mut self, child: usize) -> Went {
        let process = &self.children[child];
        match process.script.acts.get(process.at).cloned() {
            None => Went::Ended(exited(0)),
            Some(Act::Write(to, bytes)) => match self.child_writes(child, to, &bytes[process.moved..]) {
                Ok(count) => {
                    let process = &mut self.children[child];
                    process.moved += count;
                    if process.moved == bytes.len() { Went::On } else { Went::Again }
                }
                Err(went) => went,
            },
            Some(Act::Echo) => self.echo(child),
            Some(Act::Swallow) => match self.child_reads(child) {
                Ok(bytes) if bytes.is_empty() => Went::On,
                Ok(_) => Went::Again,
                Err(went) => went,
            },
            Some(Act::Sleep(time)) => {
                let now = self.now();
                let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                let end = *self.children[child].wakes_at.get_or_insert(now.saturating_add(time));
                if end <= now { Went::On } else { Went::Later(end - now) }
            }
            Some(Act::Close(number)) => {
                let closed = self.children[child].files.get_mut(number).and_then(Option::take);
                self.close_child_file(closed);
                Went::On
            }
            Some(Act::Leave(script)) => {
                let Process { name, leader, files, .. } = &self.children[child];
                let (name, leader, files) = (format!("{name} &"), leader.unwrap_or(child), *files);
                self.add_process(name, script, files, Some(leader));
                Went::On
            }
            Some(Act::Exit(code)) => Went::Ended(exited(code)),
            Some(Act::Die(signal)) => Went::Ended(signal & 0x7f),
            Some(Act::Hang) => Went::Nowhere,
        }
    }

    fn echo(&mut self, child: usize) -> Went {
        if self.children[child].held.is_empty() {
            return match self.child_reads(child) {
                Ok(bytes) if bytes.is_empty() => Went::On,
                Ok(bytes) => {
                    self.children[child].held.extend(bytes);
                    Went::Again
                }
                Err(went) => went,
            };
        }
        let held: Vec<u8> = self.children[child].held.iter().copied().collect();
        match self.child_writes(child, 1, &held) {
            Ok(count) => {
                self.children[child].held.drain(..count);
                Went::Again
            }
            Err(went) => went,
        }
    }

    fn child_stream(&self, child: usize, number: usize) -> Option<(usize, Stream)> {
        let file = (*self.children[child].files.get(number)?)?;
        Some((file, self.net.stream(file)?))
    }

    /// Nothing at the end, and where there is no input.
    fn child_reads(&mut self, child: usize) -> Result<Vec<u8>, Went> {
        let Some((file, Stream { reading: Some(channel), .. })) = self.child_stream(child, 0) else {
            return Ok(Vec::new());
        };
        let from = &self.net.channels[channel];
        match from.arrived.len() {
            0 if from.ended || from.reset => Ok(Vec::new()),
            0 => Err(Went::Blocked(file)),
            arrived => {
                let count = self.portion(arrived.min(PIECE_BYTES));
                let bytes = self.net.channels[channel].take(count);
                self.poke(self.net.channels[channel].writer);
                Ok(bytes)
            }
        }
    }

    /// What nobody holds takes everything.
    fn child_writes(&mut self, child: usize, number: usize, bytes: &[u8]) -> Result<usize, Went> {
        let Some((file, Stream { writing: Some(channel), .. })) = self.child_stream(child, number) else {
            return Ok(bytes.len());
        };
        let to = &self.net.channels[channel];
        if to.reader.is_none() || to.reset {
            return Err(Went::Ended(number::PIPE));
        }
        match to.room().min(bytes.len()) {
            0 if bytes.is_empty() => Ok(0),
            0 => Err(Went::Blocked(file)),
            most => {
                let count = self.portion(most);
                self.ship(channel, bytes[..count].to_vec());
                Ok(count)
            }
        }
    }

    /// Standard output and error may be one, and others may have them too.
    fn close_child_file(&mut self, file: Option<usize>) {
        if file.is_some() && !self.children.values().any(|other| other.files.contains(&file)) {
            file.into_iter().for_each(|file| self.close_file(file));
        }
    }

    /// C1, C2.
    fn end_child(&mut self, child: usize, status: i32) {
        let process = &mut self.children[child];
        if process.status.is_some() {
            return;
        }
        process.status = Some(status);
        let pidfd = process.pidfd;
        for number in 0..3 {
            let closed = self.children[child].files[number].take();
            self.close_child_file(closed);
        }
        self.trace.note("ended", u64::from(self.children[child].pid));
        self.poke(Some(pidfd));
    }

    pub(super) fn has_ended(&self, child: usize) -> bool {
        self.children[child].status.is_some()
    }

    /// A look reaps it.
    pub(super) fn look_at(&mut self, child: usize, tells_stolen: bool) -> Look {
        let process = &mut self.children[child];
        let Some(status) = process.status else { return Look::Running };
        if std::mem::replace(&mut process.reaped, Reaped::Here) != Reaped::Not {
            let name = process.name.clone();
            self.violate(format!("C1: the child {name:?} was reaped twice"));
            return Look::Lost;
        }
        match (process.script.stolen, tells_stolen) {
            (false, _) => Look::Ended(ExitStatus::from_raw(status)),
            (true, true) => Look::Stolen(ExitStatus::from_raw(status)),
            (true, false) => Look::Lost,
        }
    }

    // ---- signals

    /// Zero asks only.
    pub(super) fn signal(&mut self, child: usize, signal: i32, reach: Reach) -> Signalled {
        if !(0..=SIGNAL_MAX).contains(&signal) {
            return Signalled::Failed(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let reached = match reach {
            // Who is not reaped takes a signal without effect.
            Reach::Process if self.children[child].reaped == Reaped::Not => vec![child],
            Reach::Process => Vec::new(),
            Reach::Group => self.group_of(child),
        };
        if reached.is_empty() {
            return Signalled::Gone;
        }
        for process in reached.into_iter().filter(|_| signal != 0) {
            match self.delay() {
                0 => self.take_signal(process, signal),
                delay => self.add_event(delay, Event::Signal(process, signal)),
            }
        }
        Signalled::Sent
    }

    /// A child and whom it left behind: those of them that live.
    pub(super) fn group_of(&self, child: usize) -> Vec<usize> {
        let lives = |number: &usize| self.children[*number].status.is_none();
        let left = self.children.numbers().filter(|number| self.children[*number].leader == Some(child));
        [child].into_iter().chain(left).filter(lives).collect()
    }

    pub(super) fn take_signal(&mut self, child: usize, signal: i32) {
        let process = &mut self.children[child];
        match signal {
            number::CONT => {
                process.stopped = false;
                for signal in std::mem::take(&mut process.pending) {
                    self.take_signal(child, signal);
                }
                self.schedule_child(child, 0);
            }
            number::STOP => process.stopped = true,
            number::CHLD | number::WINCH | libc::SIGURG => {}
            number::TERM if process.script.ignores_term => {}
            number::KILL => self.end_child(child, signal),
            _ if process.stopped => process.pending.push(signal),
            number::TSTP => process.stopped = true,
            _ => self.end_child(child, signal),
        }
    }
}

/// Read at a time.
const PIECE_BYTES: usize = 64 * 1024;

const SIGNAL_MAX: i32 = 64;
