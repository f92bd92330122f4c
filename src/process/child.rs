//! A child that somebody has in their hands.

use std::{fmt, io, process::ExitStatus, rc::Rc};

use crate::{
    error::{CancelledError, ProcessLookupError},
    executor::{ErrorReport, ReportKind, context, wait},
    op::{Child, Port},
    sys::{Reach, Signalled, Spawned},
};

/// A child, killed when this is dropped while it runs (PR12).
pub(crate) struct Handle {
    child: Rc<Child>,
    name: String,
}

impl Handle {
    pub(super) fn new(port: &Rc<Port>, spawned: Spawned, name: String, leads_group: bool) -> Handle {
        Handle { child: Child::watch(port, spawned, leads_group, report_lost), name }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// PR5: any number of waits, each of which may be cancelled: the status belongs to the child.
    pub(crate) async fn wait(&self) -> Result<ExitStatus, CancelledError> {
        wait(|cx| self.child.poll_ended(cx.waker())).await
    }

    /// PR6
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        if self.child.status().is_some() {
            return Err(ProcessLookupError.into());
        }
        match self.child.send_signal(signal, Reach::Process) {
            // It has ended, but we have not been told yet: as if the signal had come a moment too late.
            Signalled::Sent | Signalled::Gone => Ok(()),
            Signalled::Failed(error) => Err(error),
        }
    }

    pub(crate) fn send_signal_to_group(&self, signal: i32) -> io::Result<()> {
        if !self.child.leads_group() {
            let text = "the process leads no group; start it with start_new_session(true) or process_group(0)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        match self.child.send_signal(signal, Reach::Group) {
            Signalled::Sent => Ok(()),
            Signalled::Gone => Err(ProcessLookupError.into()),
            Signalled::Failed(error) => Err(error),
        }
    }

    pub(crate) fn detach(&self) {
        self.child.detach();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.child.is_detached() || self.child.status().is_some() {
            return;
        }
        self.child.kill();
        let message = format!(
            "the Process of {:?} (pid {}) was dropped while it ran, and was killed; wait() for it, or detach() it",
            self.name,
            self.child.pid()
        );
        report(ReportKind::ChildKilled, message);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.child.pid())
            .field("status", &self.child.status())
            .finish()
    }
}

/// PR11
fn report_lost(pid: u32) {
    let message = format!(
        "somebody else took the status of child {pid}: 255 stands for it; do not call waitpid(-1), and do not ignore SIGCHLD"
    );
    report(ReportKind::ChildStatusLost, message);
}

fn report(kind: ReportKind, message: String) {
    context::try_with(|runtime| runtime.report(&ErrorReport { kind, task: None, spawned_at: None, message }));
}
