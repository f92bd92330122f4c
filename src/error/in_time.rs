//! Room for a timeout in what comes out of a wait.

use std::{error, fmt, io};

use super::{CancelledError, Error, Outcome, PutError, TaskError, TimeoutError, boxed_cancel};

/// What comes out of a [`wait_for`](crate::wait_for) around something that ends with `Self`: the same, if its error can be
/// a timeout. Where the only error is [`CancelledError`], it becomes [`WaitForError`]; a [`PutError`] keeps the item.
#[diagnostic::on_unimplemented(
    message = "what `wait_for` awaits returns `{Self}`, whose error has no room for a timeout",
    note = "write `impl From<ringio::TimeoutError>` for that error, or convert it: `async {{ Ok::<_, ringio::Error>(future.await?) }}`"
)]
pub trait InTime<R> {
    /// What a task is called to end with whose outcome is `Self`.
    type OfTask: Outcome;
    /// The outcome while the time may run out.
    type Timed: Outcome<Error: From<TimeoutError>>;

    /// The same outcome, with room for a timeout.
    fn in_time(self) -> Self::Timed;

    /// What comes out.
    fn out(timed: Self::Timed) -> R;
}

impl<R: Outcome> InTime<R> for R
where
    R::Error: From<TimeoutError>,
{
    type OfTask = R;
    type Timed = R;

    fn in_time(self) -> R {
        self
    }

    fn out(timed: R) -> R {
        timed
    }
}

impl<T> InTime<Result<T, WaitForError>> for Result<T, CancelledError> {
    type OfTask = Self;
    type Timed = Result<T, WaitForError>;

    fn in_time(self) -> Result<T, WaitForError> {
        self.map_err(WaitForError::Cancelled)
    }

    fn out(timed: Result<T, WaitForError>) -> Result<T, WaitForError> {
        timed
    }
}

impl<T> InTime<Result<(), PutError<T>>> for Result<(), PutError<T>> {
    type OfTask = PutInTime<T>;
    type Timed = PutInTime<T>;

    fn in_time(self) -> PutInTime<T> {
        PutInTime(self)
    }

    fn out(timed: PutInTime<T>) -> Result<(), PutError<T>> {
        timed.0
    }
}

/// Whether an item was put; if not, it has to come back.
#[derive(Debug)]
pub struct PutInTime<T>(Result<(), PutError<T>>);

impl<T> Outcome for PutInTime<T> {
    type Value = ();
    type Error = Error;

    fn into_result(self) -> Result<(), Error> {
        self.0.map_err(Error::from)
    }

    fn is_cancelled(&self) -> bool {
        matches!(self.0, Err(PutError::Cancelled(_)))
    }

    fn with_error(self, error: Error) -> PutInTime<T> {
        let is_timeout = matches!(error, Error::Timeout(_));
        let again = if is_timeout { PutError::Timeout } else { PutError::Cancelled };
        PutInTime(self.0.map_err(|old| again(old.into_item())))
    }

    fn from_error(error: Error) -> Result<PutInTime<T>, Error> {
        Err(error) // there is no item to give back
    }
}

/// Why a [`wait_for`](crate::wait_for) around a wait that only a cancel can end has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitForError {
    /// The wait was cancelled from outside.
    Cancelled(CancelledError),
    /// The time ran out.
    Timeout(TimeoutError),
}

impl fmt::Display for WaitForError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitForError::Cancelled(error) => error.fmt(f),
            WaitForError::Timeout(error) => error.fmt(f),
        }
    }
}

impl error::Error for WaitForError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            WaitForError::Cancelled(error) => Some(error),
            WaitForError::Timeout(_) => None,
        }
    }
}

impl From<CancelledError> for WaitForError {
    fn from(error: CancelledError) -> WaitForError {
        WaitForError::Cancelled(error)
    }
}

impl From<TimeoutError> for WaitForError {
    fn from(error: TimeoutError) -> WaitForError {
        WaitForError::Timeout(error)
    }
}

impl From<WaitForError> for Error {
    fn from(error: WaitForError) -> Error {
        match error {
            WaitForError::Cancelled(error) => Error::Cancelled(error),
            WaitForError::Timeout(error) => Error::Timeout(error),
        }
    }
}

impl From<WaitForError> for io::Error {
    fn from(error: WaitForError) -> io::Error {
        Error::from(error).into()
    }
}

impl TaskError for WaitForError {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        boxed_cancel(self)
    }
}
