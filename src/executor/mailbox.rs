//! Calls that other threads ask a runtime to make. Brought by a task that nobody sees: its waker is what rings.

use std::{
    collections::VecDeque,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Poll, Waker},
};

use super::{ErrorReport, ReportKind, Runtime, TaskRef, context, vars::Content, vars::Vars};

type Call = Box<dyn FnOnce() + Send>;

/// `Send + Sync`; outlives the runtime, and then refuses.
#[derive(Default)]
pub(crate) struct Mailbox {
    /// `None` once the runtime has ended.
    letters: Mutex<Letters>,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct Letters {
    calls: VecDeque<(Call, Content)>,
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `call` is made on the runtime's thread, after those that were sent before; it comes back when that has ended.
    pub(crate) fn send(&self, call: Call, content: Content) -> Result<(), Call> {
        let mut letters = self.lock();
        if letters.closed {
            return Err(call);
        }
        letters.calls.push_back((call, content));
        drop(letters);
        // Until there is one, the task that sets it is on its way to its first step.
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        Ok(())
    }

    /// From now on nothing gets in; what was in it is dropped.
    pub(super) fn close(&self) {
        let mut letters = self.lock();
        letters.closed = true;
        let calls = std::mem::take(&mut letters.calls);
        drop(letters);
        for call in calls {
            if catch_unwind(AssertUnwindSafe(|| drop(call))).is_err() {
                super::runtime::report_panic_in_drop();
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

impl Runtime {
    /// The runtime's mailbox; made when somebody asks for it.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        if let Some((mailbox, _)) = &*self.mailbox.borrow() {
            return mailbox.clone();
        }
        let mailbox = Arc::<Mailbox>::default();
        let own = mailbox.clone();
        let postman = self.spawn_unlisted(poll_fn(move |cx| {
            own.waker.get_or_init(|| cx.waker().clone());
            deliver(&own);
            Poll::Pending
        }));
        self.mailbox.replace(Some((mailbox.clone(), postman)));
        mailbox
    }

    pub(super) fn close_mailbox(&self) {
        let mailbox = self.mailbox.take();
        if let Some((mailbox, postman)) = mailbox {
            mailbox.close();
            drop(postman);
        }
    }

    /// A task that another thread has asked for, to be found by its id until it has ended.
    pub(crate) fn add_guest(&self, task: &TaskRef) {
        self.guests.borrow_mut().insert(task.core().id, task.clone());
    }

    pub(crate) fn guest(&self, id: u64) -> Option<TaskRef> {
        self.guests.borrow().get(&id).cloned()
    }

    pub(crate) fn remove_guest(&self, id: u64) {
        let guest = self.guests.borrow_mut().remove(&id);
        drop(guest);
    }
}

/// Makes the calls that are there now; those that come meanwhile have woken us again.
fn deliver(mailbox: &Mailbox) {
    let calls = std::mem::take(&mut mailbox.lock().calls);
    context::with(|runtime| {
        for (call, content) in calls {
            let vars = content.is_some().then(|| Vars::of(content));
            if catch_unwind(AssertUnwindSafe(|| runtime.outside(vars, call))).is_err() {
                let message = "a call that another thread asked for panicked".to_owned();
                let kind = ReportKind::PanicInCallback;
                runtime.report(&ErrorReport { kind, task: None, spawned_at: None, message });
            }
        }
    });
}
