//! The smallest channel between two local tasks: one slot and one waker. Guards: ping-pong measures the executor's
//! wake and poll, with the same channel on every runtime.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

#[derive(Clone, Default)]
pub(crate) struct Slot {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    value: Cell<Option<u64>>,
    receiver: RefCell<Option<Waker>>,
}

impl Slot {
    /// The slot is empty: each value is taken before the next is put.
    pub(crate) fn put(&self, value: u64) {
        self.shared.value.set(Some(value));
        let receiver = self.shared.receiver.borrow_mut().take();
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    pub(crate) async fn take(&self) -> u64 {
        poll_fn(|cx| match self.shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                *self.shared.receiver.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
