//! The one way to wait for something that is handed over: take it if it is there, else stand in line.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::wait_list::{Place, Stage, WaitList};
use crate::{error::CancelledError, executor::context};

/// What hands out grants.
pub(super) trait Source {
    type Grant;

    /// Takes what is there; else says where to wait for it.
    fn take(&self) -> Result<Self::Grant, Pin<&WaitList<Self::Grant>>>;

    /// A grant that nobody took: its waiter was cancelled, or dropped.
    fn give_back(&self, grant: Self::Grant);
}

pin_project! {
    /// Waits for a grant. Cancelled, it leaves the line; a grant that was on its way goes back (C10).
    #[must_use = "a wait does nothing until it is awaited"]
    pub(super) struct Taking<S> where S: Source {
        source: S,
        #[pin]
        place: Place<S::Grant>,
    }

    impl<S> PinnedDrop for Taking<S> where S: Source {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.place.leave() {
                give_back(this.source, &this.place);
            }
        }
    }
}

impl<S: Source> Taking<S> {
    #[inline]
    pub(super) fn new(source: S) -> Taking<S> {
        Taking { source, place: Place::new(None) }
    }

    /// Ready for the next wait, after the end of one.
    pub(super) fn again(self: Pin<&mut Self>) {
        self.project().place.set(Place::new(None));
    }
}

impl<S: Source> Future for Taking<S> {
    type Output = Result<S::Grant, CancelledError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let place = this.place.into_ref();
        if place.stage() != Stage::New {
            return go_on(this.source, place, cx);
        }
        // What is there already is taken without a cancel point (S3), but not for ever (S4).
        if !context::spend() {
            place.begin(cx.waker())?;
            place.try_later(cx.waker());
            return Poll::Pending;
        }
        match this.source.take() {
            Ok(grant) => {
                place.finish();
                Poll::Ready(Ok(grant))
            }
            Err(line) => {
                place.begin(cx.waker())?;
                line.join(place, cx.waker());
                Poll::Pending
            }
        }
    }
}

fn go_on<S: Source>(
    source: &S,
    place: Pin<&Place<S::Grant>>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Grant, CancelledError>> {
    assert!(place.stage() != Stage::Over, "a wait was polled after its end");
    if let Err(cancelled) = place.check(cx.waker()) {
        let granted = place.leave();
        place.finish();
        if granted {
            give_back(source, &place);
        }
        return Poll::Ready(Err(cancelled));
    }
    if place.stage() == Stage::Waiting {
        place.stay(cx.waker());
        return Poll::Pending;
    }
    let granted = match place.stage() {
        Stage::Granted => Ok(place.take()),
        // Passed over for a cancel that was then withdrawn.
        Stage::New | Stage::Waiting | Stage::Passed | Stage::Over => source.take().map(Some),
    };
    match granted {
        Ok(grant) => {
            place.finish();
            Poll::Ready(Ok(grant.expect("a grant is in its slot until it is taken")))
        }
        Err(line) => {
            line.join(place, cx.waker());
            Poll::Pending
        }
    }
}

fn give_back<S: Source>(source: &S, place: &Place<S::Grant>) {
    if let Some(grant) = place.take() {
        source.give_back(grant);
    }
}
