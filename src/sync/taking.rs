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
    /// Waits for a grant. Cancelled, it leaves the line; a grant that was on its way goes back (C10). What is there already
    /// is taken without a place in line, which would cost more than all the rest.
    #[must_use = "a wait does nothing until it is awaited"]
    pub(super) struct Taking<S> where S: Source {
        source: S,
        #[pin]
        place: Option<Place<S::Grant>>,
    }

    impl<S> PinnedDrop for Taking<S> where S: Source {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(place) = this.place.as_ref().as_pin_ref() {
                leave(this.source, place);
            }
        }
    }
}

impl<S: Source> Taking<S> {
    #[inline]
    pub(super) fn new(source: S) -> Taking<S> {
        Taking { source, place: None }
    }

    /// What comes of the wait is made from the grant.
    #[inline]
    pub(super) fn then<R, F: Fn(S::Grant) -> R>(self, make: F) -> Taken<S, F> {
        Taken { taking: self, make }
    }

    /// Ready for the next wait, after the end of one.
    pub(super) fn again(self: Pin<&mut Self>) {
        self.project().place.set(None);
    }

    /// Stands in line, or behind all that is ready when it has to let others run.
    #[cold]
    fn wait(
        mut self: Pin<&mut Self>,
        must_let_run: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Grant, CancelledError>> {
        self.as_mut().project().place.set(Some(Place::new(None)));
        let this = self.project();
        let Some(place) = this.place.into_ref().as_pin_ref() else { unreachable!("it was just set") };
        place.begin(cx.waker())?;
        if must_let_run {
            place.try_later(cx.waker());
            return Poll::Pending;
        }
        stand_in_line(this.source, place, cx)
    }
}

impl<S: Source> Future for Taking<S> {
    type Output = Result<S::Grant, CancelledError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_ref().project_ref();
        if let Some(place) = this.place.as_pin_ref() {
            return go_on(this.source, place, cx);
        }
        // What is there already is taken without a cancel point (S3), but not for ever (S4).
        if !context::spend() {
            return self.wait(true, cx);
        }
        match this.source.take() {
            Ok(grant) => Poll::Ready(Ok(grant)),
            Err(_line) => self.wait(false, cx),
        }
    }
}

pin_project! {
    /// [`Taking`], and what is made of the grant.
    #[must_use = "a wait does nothing until it is awaited"]
    pub(super) struct Taken<S, F> where S: Source {
        #[pin]
        taking: Taking<S>,
        make: F,
    }
}

impl<S: Source, R, F: Fn(S::Grant) -> R> Future for Taken<S, F> {
    type Output = Result<R, CancelledError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.taking.poll(cx) {
            Poll::Ready(Ok(grant)) => Poll::Ready(Ok((this.make)(grant))),
            Poll::Ready(Err(cancelled)) => Poll::Ready(Err(cancelled)),
            Poll::Pending => Poll::Pending,
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
    if place.stage() == Stage::Granted {
        place.finish();
        return Poll::Ready(Ok(place.take().expect("a grant is in its slot until it is taken")));
    }
    // It had to let others run, or was passed over for a cancel that was then withdrawn.
    stand_in_line(source, place, cx)
}

/// Unless what it waits for is there now.
fn stand_in_line<S: Source>(
    source: &S,
    place: Pin<&Place<S::Grant>>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Grant, CancelledError>> {
    match source.take() {
        Ok(grant) => {
            place.finish();
            Poll::Ready(Ok(grant))
        }
        Err(line) => {
            line.join(place, cx.waker());
            Poll::Pending
        }
    }
}

#[inline(never)]
fn leave<S: Source>(source: &S, place: Pin<&Place<S::Grant>>) {
    if place.leave() {
        give_back(source, place.get_ref());
    }
}

fn give_back<S: Source>(source: &S, place: &Place<S::Grant>) {
    if let Some(grant) = place.take() {
        source.give_back(grant);
    }
}
