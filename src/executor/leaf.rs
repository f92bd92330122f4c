//! Waits that a cancel ends, in two kinds.
//!
//! [`wait`] is for what belongs to somebody else (a socket, a listener, a lock): cancelled, it returns at once, and
//! whatever comes stays with the owner. [`Leaf`] is for an operation of its own: cancelled, it asks the kernel, and
//! returns when the kernel has said what became of it; if the operation won the race, its result is returned and the
//! cancel is left for the next wait (C10).

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::context;
use crate::{
    error::CancelledError,
    op::{Op, Operation, Port},
    scope::CancelPoint,
};

/// A wait for something with an owner. `poll` says whether it is there, and otherwise sees to it that the waker is woken
/// when it may be.
pub(crate) struct Wait<P> {
    poll: P,
    point: CancelPoint,
}

pub(crate) fn wait<P, R>(poll: P) -> Wait<P>
where
    P: FnMut(&mut Context<'_>) -> Poll<R> + Unpin,
{
    Wait { poll, point: CancelPoint::default() }
}

impl<P, R> Future for Wait<P>
where
    P: FnMut(&mut Context<'_>) -> Poll<R> + Unpin,
{
    type Output = Result<R, CancelledError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        poll_wait(&mut this.point, cx, &mut this.poll)
    }
}

/// One poll of such a wait, for what is polled by hand and keeps the `point` itself.
#[inline]
pub(crate) fn poll_wait<R>(
    point: &mut CancelPoint,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Poll<Result<R, CancelledError>> {
    if point.has_begun() {
        if let Err(cancelled) = point.check(cx.waker()) {
            point.end();
            return Poll::Ready(Err(cancelled));
        }
        let polled = poll(cx);
        if polled.is_ready() {
            point.end();
        }
        return polled.map(Ok);
    }
    // What is there already is taken without a cancel point (S3), but not for ever (S4).
    if context::with(|runtime| runtime.spend()) {
        if let Poll::Ready(ready) = poll(cx) {
            return Poll::Ready(Ok(ready));
        }
    } else {
        cx.waker().wake_by_ref();
    }
    match point.begin(cx.waker()) {
        Ok(()) => Poll::Pending,
        Err(cancelled) => Poll::Ready(Err(cancelled)),
    }
}

/// An operation under the scopes around it.
pub(crate) struct Leaf<T: Operation> {
    op: Op<T>,
    point: CancelPoint,
    /// The kernel was asked to end it.
    asked: bool,
}

impl<T: Operation> Leaf<T> {
    pub(crate) fn new(port: &Rc<Port>, operation: T) -> Leaf<T> {
        Leaf { op: Op::new(port, operation), point: CancelPoint::default(), asked: false }
    }
}

impl<T: Operation> Future for Leaf<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let this = &mut *self;
        if !this.point.has_begun()
            && let Err(cancelled) = this.point.begin(cx.waker())
            && let Some(operation) = this.op.take_new()
        {
            return Poll::Ready(operation.finish(Err(cancelled.into())));
        }
        loop {
            let Poll::Ready((operation, completion)) = Pin::new(&mut this.op).poll(cx) else {
                if !this.asked && this.point.has_request() {
                    this.asked = true;
                    this.op.cancel();
                }
                return Poll::Pending;
            };
            let ours = this.asked || this.point.has_request();
            if completion.is_cancelled() && !ours && T::RESTARTS {
                // Somebody's signal, not our cancel.
                this.op.restart(operation);
                continue;
            }
            // Told to come back later, it has done nothing, and will not come back: this wait is over for its scope.
            let result = if ours && (completion.is_cancelled() || completion.is_not_ready()) {
                this.point.deliver();
                Err(CancelledError.into())
            } else {
                completion.result()
            };
            this.point.end();
            return Poll::Ready(operation.finish(result));
        }
    }
}
