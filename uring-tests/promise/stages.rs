//! Ends a wait at every stage of its operation: before it was submitted, while the kernel has it, when it has completed
//! and nobody has looked.

use std::pin::pin;

use futures::poll;
use ringio::{CancelledError, create_task, yield_now};

/// Where the wait is ended: so many turns after it began something happens, and so many turns after that it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    pub(super) before: usize,
    pub(super) after: usize,
}

pub(super) fn stages() -> impl Iterator<Item = Stage> {
    (0..4).flat_map(|before| (0..4).map(move |after| Stage { before, after }))
}

pub(crate) async fn turns(count: usize) {
    for _ in 0..count {
        let _ = yield_now().await;
    }
}

/// Polls once, and drops at the stage; what it returned if it did so at the first poll.
pub(super) async fn drop_at<F: Future>(stage: Stage, event: impl FnOnce(), future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    if let std::task::Poll::Ready(output) = poll!(&mut future) {
        event();
        return Some(output);
    }
    turns(stage.before).await;
    event();
    turns(stage.after).await;
    None
}

/// Runs `body` in a task and cancels that at the stage.
pub(super) async fn cancel_at<F>(stage: Stage, event: impl FnOnce(), body: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let task = create_task(async move { Ok::<_, CancelledError>(body.await) });
    // Its first step.
    turns(1 + stage.before).await;
    event();
    turns(stage.after).await;
    task.cancel();
    task.await.expect("the body hands no cancel on")
}
