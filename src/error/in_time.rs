//! Room for a timeout in what comes out of a wait.

use std::{error, fmt, io};

use super::{CancelledError, Error, Outcome, TaskError, TimeoutError, boxed_cancel};

/// What comes out of a [`wait_for`](crate::wait_for) around something that ends with `Self`: the same, if its error can be
/// a timeout. Where the only error is [`CancelledError`], it becomes [`WaitForError`].
#[diagnostic::on_unimplemented(
    message = "what `wait_for` awaits returns `{Self}`, whose error has no room for a timeout",
    note = "write `impl From<ringio::TimeoutError>` for that error, or convert it: `async {{ Ok::<_, ringio::Error>(future.await?) }}`"
)]
pub trait InTime<R> {
    /// The same outcome, with room for a timeout.
    fn in_time(self) -> R;
}

impl<R: Outcome> InTime<R> for R
where
    R::Error: From<TimeoutError>,
{
    fn in_time(self) -> R {
        self
    }
}

impl<T> InTime<Result<T, WaitForError>> for Result<T, CancelledError> {
    fn in_time(self) -> Result<T, WaitForError> {
        self.map_err(WaitForError::Cancelled)
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
