//! Waiting for a program to be started.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::Handle;
use crate::{
    driver::Held,
    error::CancelledError,
    op::{Child, Port},
    scope::CancelPoint,
    sys::{GivenUp, Job, Plan, Reach, Started, Wire, refuse},
};

/// Starts a program on a thread of the runtime's. Cancelled in the middle, it ends when there is no child (PR10); a child
/// that came before the cancel is handed out, and the cancel left for the next wait.
pub(super) struct Spawn {
    port: Rc<Port>,
    life: Life,
    point: CancelPoint,
    /// The job was given up because of a cancel.
    cancelled: bool,
    name: String,
    /// Whether the child will be the first of a process group of its own.
    leads_group: bool,
}

enum Life {
    New(Box<Plan>, [Wire<Held>; 3]),
    Begun(Arc<Job>),
    Over,
}

impl Spawn {
    pub(super) fn new(port: &Rc<Port>, plan: Plan, wires: [Wire<Held>; 3]) -> Spawn {
        let (name, leads_group) = (plan.name.clone(), plan.leads_group());
        let life = Life::New(Box::new(plan), wires);
        Spawn { port: port.clone(), life, point: CancelPoint::default(), cancelled: false, name, leads_group }
    }

    fn finish(&mut self, started: Started) -> Poll<io::Result<Handle>> {
        self.life = Life::Over;
        if let Started::Not = started {
            self.point.deliver();
        }
        self.point.end();
        Poll::Ready(match started {
            Started::Child(spawned) => {
                Ok(Handle::new(&self.port, spawned, std::mem::take(&mut self.name), self.leads_group))
            }
            Started::Refused(error) => Err(error),
            Started::Not => Err(CancelledError.into()),
        })
    }

    /// The first poll: gives the plan to a thread.
    fn begin(&mut self, plan: Box<Plan>, wires: [Wire<Held>; 3], waker: &Waker) -> Poll<io::Result<Handle>> {
        if let Err(cancelled) = self.point.begin(waker) {
            return Poll::Ready(Err(cancelled.into()));
        }
        match self.port.start_program(plan, wires, waker) {
            Ok(job) => {
                self.life = Life::Begun(job);
                Poll::Pending
            }
            Err(error) => {
                let what = "the system allows no thread to start it on; raise the limit of processes, or memory";
                self.finish(Started::Refused(refuse(&self.name, what, error)))
            }
        }
    }
}

impl Future for Spawn {
    type Output = io::Result<Handle>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Handle>> {
        let this = &mut *self;
        let job = match std::mem::replace(&mut this.life, Life::Over) {
            Life::New(plan, wires) => return this.begin(plan, wires, cx.waker()),
            Life::Begun(job) => job,
            Life::Over => panic!("a spawn was polled again after its end"),
        };
        if let Poll::Ready(started) = job.poll(cx.waker()) {
            return this.finish(started);
        }
        if !this.cancelled && this.point.has_request() {
            this.cancelled = true;
            match job.give_up() {
                GivenUp::AtOnce => return this.finish(Started::Not),
                GivenUp::Done(started) => return this.finish(started),
                GivenUp::Later => {}
            }
        }
        this.life = Life::Begun(job);
        Poll::Pending
    }
}

impl Drop for Spawn {
    fn drop(&mut self) {
        let Life::Begun(job) = &self.life else { return };
        if let GivenUp::Done(Started::Child(spawned)) = job.give_up() {
            if self.port.is_closed() {
                let reach = if self.leads_group { Reach::Group } else { Reach::Process };
                self.port.calls().kill_and_reap(spawned, reach);
            } else {
                Child::watch(&self.port, spawned, self.leads_group, |_| ()).kill();
            }
        }
    }
}
