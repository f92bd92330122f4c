//! Starting children: a job waits until it is due, as on a thread of the runtime's, and may be given up meanwhile.
//! Nothing of the state is borrowed while a script is asked for or somebody is woken.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    task::Waker,
};

use super::{World, children::Script, ledger::Reaped, net::Kind, state::Event};
use crate::{
    driver::{Held, Profile},
    sys::{Job, Look, Plan, Reach, Signalled, Spawned, Started, Wire, number, refuse},
};

/// A child that is being started.
pub(super) struct Starting {
    job: Arc<Job>,
    /// Until it has them.
    wires: Option<[Wire<Held>; 3]>,
    /// How the start will have ended.
    started: Option<Started>,
}

impl World {
    /// From now on there is such a program.
    pub(crate) fn add_program(&self, name: String, script: impl Fn(&[String]) -> Script + 'static) {
        self.0.programs.borrow_mut().insert(name, std::rc::Rc::new(script));
    }

    pub(crate) fn start_program(&self, plan: Box<Plan>, wires: [Wire<Held>; 3], waker: &Waker) -> Arc<Job> {
        let job = Arc::new(Job::queued(plan, waker));
        let mut state = self.state();
        let starting = state.starting.insert(Starting { job: job.clone(), wires: Some(wires), started: None });
        let delay = state.delay();
        state.add_event(delay, Event::Start(starting));
        job
    }

    /// Goes on with the starts that are due.
    pub(crate) fn run_starts(&self) {
        loop {
            let due = self.state().due_starts.pop_front();
            let Some(number) = due else { return };
            if !self.state().starting.contains(number) {
                continue; // the runtime has ended meanwhile
            }
            let mut starting = self.state().starting.remove(number);
            match starting.started.take() {
                Some(started) => starting.job.finish(started, |spawned| self.kill_and_reap(spawned, Reach::Group)),
                None => {
                    // Given up; what it would have had is closed here.
                    let Some(plan) = starting.job.begin() else { continue };
                    starting.started = Some(match self.start(*plan, starting.wires.take()) {
                        Ok(spawned) => Started::Child(spawned),
                        Err(error) => Started::Refused(error),
                    });
                    let mut state = self.state();
                    let number = state.starting.insert(starting);
                    let delay = state.delay();
                    state.add_event(delay, Event::Start(number));
                }
            }
        }
    }

    fn start(&self, plan: Plan, wires: Option<[Wire<Held>; 3]>) -> io::Result<Spawned> {
        let script = self.script_of(&plan)?;
        let exhausted = {
            let mut state = self.state();
            let chance = state.knobs.exhausted;
            state.chance.children.permille(chance)
        };
        if exhausted {
            let what = "the system allows no further process; raise the limit (`ulimit -u`), or start fewer";
            return Err(refuse(&plan.name, what, io::Error::from_raw_os_error(libc::EAGAIN)));
        }
        let wires = wires.unwrap_or([Wire::Same, Wire::Same, Wire::Same]);
        if wires.iter().any(|wire| matches!(wire, Wire::Descriptor(fd) if !self.knows(fd.as_fd()))) {
            let what = "a standard stream is not of this simulated world; use Stdio::Pipe or testing::pipe()";
            return Err(refuse(&plan.name, what, io::Error::from_raw_os_error(libc::EBADF)));
        }
        let mut files = [None; 3];
        for (number, wire) in wires.into_iter().enumerate() {
            files[number] = match wire {
                Wire::Same => None,
                Wire::Output => files[1],
                Wire::Descriptor(fd) => self.give_away(fd.into_fd()),
            };
        }
        let mut state = self.state();
        let child = state.add_child(plan.name.clone(), script, files);
        let (pid, pidfd) = (state.children[child].pid, state.children[child].pidfd);
        Ok(Spawned { pid, pidfd: state.hand_out(pidfd)? })
    }

    /// What the program does with these arguments.
    fn script_of(&self, plan: &Plan) -> io::Result<Script> {
        let text = |text: &std::ffi::CString| text.to_string_lossy().into_owned();
        let programs = self.0.programs.borrow();
        let known = plan.candidates.iter().map(text).find_map(|path| {
            let last = path.rsplit('/').next().unwrap_or_default();
            programs.get(&path).or_else(|| programs.get(last)).cloned()
        });
        drop(programs);
        let Some(script) = known else {
            let what = "there is no such program in this simulated world; add it with testing::program()";
            return Err(refuse(&plan.name, what, io::Error::from_raw_os_error(libc::ENOENT)));
        };
        let arguments: Vec<String> = plan.arguments.iter().skip(1).map(text).collect();
        Ok(script(&arguments))
    }

    fn knows(&self, fd: BorrowedFd<'_>) -> bool {
        self.state().net.find(fd.as_raw_fd()).is_some()
    }

    /// A descriptor of this process becomes one of the child's.
    fn give_away(&self, fd: OwnedFd) -> Option<usize> {
        let mut state = self.state();
        let file = state.net.find(fd.as_raw_fd())?;
        state.net.unname(file);
        state.bury(fd);
        Some(file)
    }

    /// The end of the runtime: nobody waits for what is being started.
    pub(crate) fn end_starts(&self) {
        loop {
            let first = self.state().starting.first();
            let Some(number) = first else { return };
            let starting = self.state().starting.remove(number);
            if let Some(Started::Child(spawned)) = starting.started {
                self.kill_and_reap(spawned, Reach::Group);
            }
        }
    }

    // ---- children that run

    fn child_of(&self, pidfd: BorrowedFd<'_>) -> Option<usize> {
        let state = self.state();
        let Kind::Child(child) = state.net.files[state.net.find(pidfd.as_raw_fd())?].kind else { return None };
        Some(child)
    }

    pub(in super::super) fn look_at_child(&self, pidfd: BorrowedFd<'_>) -> Look {
        let tells_stolen = self.0.profile.get() == Profile::Full;
        self.child_of(pidfd).map_or(Look::Lost, |child| self.state().look_at(child, tells_stolen))
    }

    pub(in super::super) fn send_signal(&self, pidfd: BorrowedFd<'_>, signal: i32, reach: Reach) -> Signalled {
        self.child_of(pidfd).map_or(Signalled::Gone, |child| self.state().signal(child, signal, reach))
    }

    /// The kernel knows groups of pidfds, so that nobody needs this.
    pub(in super::super) fn send_signal_to_unreaped_group(&self, _pid: u32, _signal: i32) -> Signalled {
        Signalled::Gone
    }

    pub(in super::super) fn kill_and_reap(&self, spawned: Spawned, reach: Reach) {
        if let Some(child) = self.child_of(spawned.pidfd.as_fd()) {
            let mut state = self.state();
            let reached = if reach == Reach::Group { state.group_of(child) } else { vec![child] };
            reached.into_iter().for_each(|process| state.take_signal(process, number::KILL));
            drop(state);
            self.look_at_child(spawned.pidfd.as_fd());
        }
        self.close(spawned.pidfd);
    }

    pub(in super::super) fn leave_orphan(&self, pidfd: OwnedFd) {
        if let Some(child) = self.child_of(pidfd.as_fd())
            && self.look_at_child(pidfd.as_fd()) == Look::Running
        {
            self.state().children[child].reaped = Reaped::ByOthers;
        }
        self.close(pidfd);
    }

    pub(in super::super) fn null_device(&self) -> io::Result<OwnedFd> {
        let mut state = self.state();
        let file = state.net.add(Kind::Null);
        state.hand_out(file)
    }

    pub(in super::super) fn high(&self, fd: OwnedFd) -> io::Result<OwnedFd> {
        Ok(fd)
    }

    pub(in super::super) fn high_pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.pipe()
    }
}
