//! What can go wrong, as small types that all convert into [`io::Error`] and [`Error`] without losing what they carry.
//!
//! [`TaskError`] is what the error of a task must be able to do (carry a cancel), [`Outcome`] what a task may return.

use std::{error, fmt, io};

use bytes::Bytes;

mod group;
mod in_time;
mod sync;

pub use group::{ExceptionGroup, GroupError};
pub use in_time::{InTime, WaitForError};
pub use sync::{
    BarrierError, BrokenBarrierError, GetError, NoPartiesError, NotLockedError, PutError, QueueEmpty, QueueFull,
    QueueShutDown, ReleasedTooOftenError, TaskDoneError, TryGetError, TryPutError,
};

/// The wait was cancelled: by [`Task::cancel`](crate::Task::cancel), by a timeout around it, or because the runtime closes.
///
/// It is a value, not a drop: the task runs on, may wait in its clean-up, and hands it on with `?`.
/// To go on as if nothing happened, call [`AnyTask::uncancel`](crate::AnyTask::uncancel) on the current task.
#[doc(alias = "asyncio.CancelledError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CancelledError;

impl fmt::Display for CancelledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait was cancelled")
    }
}

impl error::Error for CancelledError {}

/// The time of a [`timeout`](crate::timeout()) or [`wait_for`](crate::wait_for) ran out.
#[doc(alias = "asyncio.TimeoutError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TimeoutError;

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time ran out")
    }
}

impl error::Error for TimeoutError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&CancelledError)
    }
}

/// The result of a task was asked for when there was none: it is not done, or its value was taken.
#[doc(alias = "asyncio.InvalidStateError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidStateError {
    /// The task has not ended yet.
    NotDone,
    /// The task has ended and its value was moved out by an earlier await.
    Taken,
    /// The timeout has expired, or what it ran has ended.
    Over,
    /// The task panicked: awaiting it lets the panic go on.
    Panicked,
}

impl fmt::Display for InvalidStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidStateError::NotDone => "the task is not done yet; await it first",
            InvalidStateError::Taken => "the task's value was already taken by an await",
            InvalidStateError::Over => "the timeout is over; open a new one",
            InvalidStateError::Panicked => "the task panicked; await it to let the panic go on",
        })
    }
}

impl error::Error for InvalidStateError {}

/// The stream ended before all that was asked for had come.
#[doc(alias = "asyncio.IncompleteReadError")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteReadError {
    /// The bytes that did come.
    pub partial: Bytes,
    /// How many bytes were asked for; `None` when a separator was looked for.
    pub expected: Option<usize>,
}

impl fmt::Display for IncompleteReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes read on a total of ", self.partial.len())?;
        match self.expected {
            Some(expected) => write!(f, "{expected} expected bytes"),
            None => f.write_str("undefined expected bytes"),
        }
    }
}

impl error::Error for IncompleteReadError {}

/// No separator was found within the limit of the stream. The data stays in the stream, unless the call says otherwise.
#[doc(alias = "asyncio.LimitOverrunError")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitOverrunError {
    /// How many bytes had been looked at.
    pub consumed: usize,
    /// Whether a separator was there, but past the limit.
    pub found: bool,
}

impl fmt::Display for LimitOverrunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.found { "separator is found, but chunk" } else { "separator is not found, and chunk" };
        write!(f, "{what} of {} bytes is longer than the limit; raise `limit` or read() the rest", self.consumed)
    }
}

impl error::Error for LimitOverrunError {}

/// A file cannot be sent as it is: it is no regular file, or the connection is encrypted.
#[doc(alias = "asyncio.SendfileNotAvailableError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SendfileNotAvailableError;

impl fmt::Display for SendfileNotAvailableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file cannot be sent as it is; allow `fallback`, or read and write it")
    }
}

impl error::Error for SendfileNotAvailableError {}

/// There is no such process any more: it has ended, and its status was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ProcessLookupError;

impl fmt::Display for ProcessLookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has ended; look at its returncode()")
    }
}

impl error::Error for ProcessLookupError {}

/// Any error of this crate, for programs that want one type for all.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// See [`CancelledError`].
    Cancelled(CancelledError),
    /// See [`TimeoutError`].
    Timeout(TimeoutError),
    /// See [`InvalidStateError`].
    InvalidState(InvalidStateError),
    /// See [`IncompleteReadError`].
    IncompleteRead(IncompleteReadError),
    /// See [`LimitOverrunError`].
    LimitOverrun(LimitOverrunError),
    /// See [`SendfileNotAvailableError`].
    SendfileNotAvailable(SendfileNotAvailableError),
    /// See [`ProcessLookupError`].
    ProcessLookup(ProcessLookupError),
    /// See [`QueueEmpty`].
    QueueEmpty(QueueEmpty),
    /// See [`QueueFull`].
    QueueFull(QueueFull),
    /// See [`QueueShutDown`].
    QueueShutDown(QueueShutDown),
    /// See [`BrokenBarrierError`].
    BrokenBarrier(BrokenBarrierError),
    /// The system said no.
    Io(io::Error),
}

impl Error {
    /// Whether this is a cancel.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Cancelled(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cancelled(e) => e.fmt(f),
            Error::Timeout(e) => e.fmt(f),
            Error::InvalidState(e) => e.fmt(f),
            Error::IncompleteRead(e) => e.fmt(f),
            Error::LimitOverrun(e) => e.fmt(f),
            Error::SendfileNotAvailable(e) => e.fmt(f),
            Error::ProcessLookup(e) => e.fmt(f),
            Error::QueueEmpty(e) => e.fmt(f),
            Error::QueueFull(e) => e.fmt(f),
            Error::QueueShutDown(e) => e.fmt(f),
            Error::BrokenBarrier(e) => e.fmt(f),
            Error::Io(e) => e.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Cancelled(e) => e.source(),
            Error::Timeout(e) => e.source(),
            Error::InvalidState(e) => e.source(),
            Error::IncompleteRead(e) => e.source(),
            Error::LimitOverrun(e) => e.source(),
            Error::SendfileNotAvailable(e) => e.source(),
            Error::ProcessLookup(e) => e.source(),
            Error::QueueEmpty(e) => e.source(),
            Error::QueueFull(e) => e.source(),
            Error::QueueShutDown(e) => e.source(),
            Error::BrokenBarrier(e) => e.source(),
            Error::Io(e) => e.source(),
        }
    }
}

/// One error of ours: its variant of [`Error`], and the kind it has as an [`io::Error`].
macro_rules! converts {
    ($($name:ident => $variant:ident, $kind:ident;)*) => {$(
        impl From<$name> for Error {
            fn from(error: $name) -> Error {
                Error::$variant(error)
            }
        }
        impl From<$name> for io::Error {
            fn from(error: $name) -> io::Error {
                io::Error::new(io::ErrorKind::$kind, error)
            }
        }
    )*};
}

converts! {
    // Not `Interrupted`: std's `read_exact` and `write_all` would retry it without a word.
    CancelledError => Cancelled, Other;
    TimeoutError => Timeout, TimedOut;
    InvalidStateError => InvalidState, Other;
    IncompleteReadError => IncompleteRead, UnexpectedEof;
    LimitOverrunError => LimitOverrun, InvalidData;
    SendfileNotAvailableError => SendfileNotAvailable, Unsupported;
    ProcessLookupError => ProcessLookup, NotFound;
    QueueEmpty => QueueEmpty, WouldBlock;
    QueueFull => QueueFull, WouldBlock;
    QueueShutDown => QueueShutDown, BrokenPipe;
    BrokenBarrierError => BrokenBarrier, Other;
}

impl From<io::Error> for Error {
    /// Takes the error of ours out again, if the [`io::Error`] carries one.
    fn from(error: io::Error) -> Error {
        fn unpack<E: error::Error + Send + Sync + 'static>(error: io::Error) -> Result<E, io::Error> {
            error.downcast::<E>()
        }
        unpack::<CancelledError>(error)
            .map(Error::from)
            .or_else(|error| unpack::<TimeoutError>(error).map(Error::from))
            .or_else(|error| unpack::<InvalidStateError>(error).map(Error::from))
            .or_else(|error| unpack::<IncompleteReadError>(error).map(Error::from))
            .or_else(|error| unpack::<LimitOverrunError>(error).map(Error::from))
            .or_else(|error| unpack::<SendfileNotAvailableError>(error).map(Error::from))
            .or_else(|error| unpack::<ProcessLookupError>(error).map(Error::from))
            .or_else(|error| unpack::<QueueEmpty>(error).map(Error::from))
            .or_else(|error| unpack::<QueueFull>(error).map(Error::from))
            .or_else(|error| unpack::<QueueShutDown>(error).map(Error::from))
            .or_else(|error| unpack::<BrokenBarrierError>(error).map(Error::from))
            .unwrap_or_else(Error::Io)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Cancelled(e) => e.into(),
            Error::Timeout(e) => e.into(),
            Error::InvalidState(e) => e.into(),
            Error::IncompleteRead(e) => e.into(),
            Error::LimitOverrun(e) => e.into(),
            Error::SendfileNotAvailable(e) => e.into(),
            Error::ProcessLookup(e) => e.into(),
            Error::QueueEmpty(e) => e.into(),
            Error::QueueFull(e) => e.into(),
            Error::QueueShutDown(e) => e.into(),
            Error::BrokenBarrier(e) => e.into(),
            Error::Io(e) => e,
        }
    }
}

/// The cancel that an [`io::Error`] carries, if it is one.
///
/// ```
/// let error = std::io::Error::from(ringio::CancelledError);
/// assert!(ringio::cancelled(&error).is_some());
/// assert_ne!(error.kind(), std::io::ErrorKind::Interrupted);
/// ```
pub fn cancelled(error: &io::Error) -> Option<&CancelledError> {
    error.get_ref()?.downcast_ref()
}

/// What the error of a task has to be able to do: carry a cancel, and tell that it does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a task: it has to be able to carry a cancel",
    note = "use `std::io::Error`, `ringio::Error` or `Box<dyn std::error::Error>`, or implement `TaskError` and \
            `From<CancelledError>`"
)]
pub trait TaskError: From<CancelledError> + 'static {
    /// The cancel this error carries, if it is one.
    fn as_cancelled(&self) -> Option<&CancelledError>;
}

impl TaskError for CancelledError {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        Some(self)
    }
}

impl TaskError for io::Error {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        cancelled(self)
    }
}

impl TaskError for Error {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        match self {
            Error::Cancelled(cancel) => Some(cancel),
            Error::Io(error) => cancelled(error),
            Error::Timeout(_)
            | Error::InvalidState(_)
            | Error::IncompleteRead(_)
            | Error::LimitOverrun(_)
            | Error::SendfileNotAvailable(_)
            | Error::ProcessLookup(_) => None,
            Error::QueueEmpty(_) | Error::QueueFull(_) | Error::QueueShutDown(_) | Error::BrokenBarrier(_) => None,
        }
    }
}

/// A cancel may also sit inside an [`io::Error`] or an [`Error`] that was boxed by `?`, or be the cause of an error of a
/// wait.
fn boxed_cancel<'a>(error: &'a (dyn error::Error + 'static)) -> Option<&'a CancelledError> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return cancelled(error);
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.as_cancelled();
    }
    if error.is::<TimeoutError>() {
        return None; // its cause is the cancel that it has turned into something else
    }
    error.downcast_ref().or_else(|| error.source()?.downcast_ref()).or_else(|| group::boxed_cancel(error))
}

impl TaskError for Box<dyn error::Error> {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        boxed_cancel(&**self)
    }
}

impl TaskError for Box<dyn error::Error + Send + Sync> {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        boxed_cancel(&**self)
    }
}

/// What the body of a task, a timeout or a group may return.
#[diagnostic::on_unimplemented(
    message = "a task body returns `Result<T, E>`, `BufResult` or `()`, not `{Self}`",
    note = "for a plain value write `Ok::<_, CancelledError>(value)`"
)]
pub trait Outcome {
    /// What comes out when all goes well.
    type Value;
    /// What comes out otherwise.
    type Error: TaskError;

    /// The outcome as a plain `Result`.
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    /// Whether this is a cancel that the body handed on.
    fn is_cancelled(&self) -> bool;

    /// The same outcome with another error in it; what else it holds (a buffer) stays.
    fn with_error(self, error: Self::Error) -> Self;

    /// An outcome made of an error alone.
    ///
    /// # Errors
    /// The error itself, when an outcome needs more than that.
    fn from_error(error: Self::Error) -> Result<Self, Self::Error>
    where
        Self: Sized;
}

impl<T, E: TaskError> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Result<T, E> {
        self
    }

    fn is_cancelled(&self) -> bool {
        self.as_ref().is_err_and(|error| error.as_cancelled().is_some())
    }

    fn with_error(self, error: E) -> Self {
        Err(error)
    }

    fn from_error(error: E) -> Result<Self, E> {
        Ok(Err(error))
    }
}

impl Outcome for () {
    type Value = ();
    type Error = CancelledError;

    fn into_result(self) -> Result<(), CancelledError> {
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn with_error(self, _: CancelledError) {}

    fn from_error(error: CancelledError) -> Result<(), CancelledError> {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_survives_the_round_trip_through_io_error() {
        // X2, D9
        let limit = LimitOverrunError { consumed: 7, found: true };
        let io: io::Error = limit.clone().into();
        assert_eq!(io.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(Error::from(io), Error::LimitOverrun(back) if back == limit));
        let partial = IncompleteReadError { partial: Bytes::from_static(b"abc"), expected: None };
        assert_eq!(partial.to_string(), "3 bytes read on a total of undefined expected bytes");
        let io: io::Error = Error::from(partial.clone()).into();
        assert!(matches!(Error::from(io), Error::IncompleteRead(back) if back == partial));
    }

    #[test]
    fn cancel_is_seen_through_every_wrapping() {
        // C16
        let boxed: Box<dyn error::Error> = Box::new(io::Error::from(CancelledError));
        assert!(boxed.as_cancelled().is_some());
        assert!(Error::Io(CancelledError.into()).as_cancelled().is_some());
        assert!(io::Error::from(TimeoutError).as_cancelled().is_none());
        assert!(Err::<(), _>(CancelledError).is_cancelled());
    }
}
