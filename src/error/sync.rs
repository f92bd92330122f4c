//! What queues, locks and barriers may answer.

use std::{error, fmt, io};

use super::{CancelledError, Error, TaskError, TimeoutError, boxed_cancel};

/// A misuse that is answered, with nothing changed.
macro_rules! misuses {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name;

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }

        impl error::Error for $name {}

        impl From<$name> for io::Error {
            fn from(error: $name) -> io::Error {
                io::Error::new(io::ErrorKind::InvalidInput, error)
            }
        }

        impl From<$name> for Error {
            fn from(error: $name) -> Error {
                Error::Io(error.into())
            }
        }
    )*};
}

misuses! {
    /// A lock was released, or a condition notified, while nobody had the lock.
    NotLockedError = "the lock is not locked; acquire it first";
    /// A bounded semaphore was released more often than it was acquired.
    ReleasedTooOftenError = "the semaphore was released too many times; release once for each acquire";
    /// `task_done()` was called more often than there were items.
    TaskDoneError = "task_done() called too many times; call it once for each item that was got";
    /// A barrier for nobody.
    NoPartiesError = "a barrier needs at least one party; pass 1 or more";
}

/// The barrier was reset or aborted.
#[doc(alias = "asyncio.BrokenBarrierError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BrokenBarrierError;

impl fmt::Display for BrokenBarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken; reset() makes it usable again")
    }
}

impl error::Error for BrokenBarrierError {}

/// There is nothing in the queue.
#[doc(alias = "asyncio.QueueEmpty")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct QueueEmpty;

impl fmt::Display for QueueEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is empty; get() waits for an item")
    }
}

impl error::Error for QueueEmpty {}

/// There is no room in the queue; gives the item back.
#[doc(alias = "asyncio.QueueFull")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct QueueFull<T = ()>(pub T);

impl<T> fmt::Debug for QueueFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueFull")
    }
}

impl<T> fmt::Display for QueueFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is full; put() waits for room")
    }
}

impl<T> error::Error for QueueFull<T> {}

/// The queue was shut down; a put gets its item back.
#[doc(alias = "asyncio.QueueShutDown")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct QueueShutDown<T = ()>(pub T);

impl<T> fmt::Debug for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueShutDown")
    }
}

impl<T> fmt::Display for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down; no more items go in")
    }
}

impl<T> error::Error for QueueShutDown<T> {}

/// An error with a few ways to go wrong, each a type of its own: display, source, and the way into [`Error`].
macro_rules! either {
    ($name:ident $(<$item:ident>)? { $($variant:ident($one:ident) => $into:expr,)* }) => {
        impl $(<$item>)? fmt::Debug for $name $(<$item>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($name::$variant(..) => f.write_str(stringify!($variant)),)* }
            }
        }

        impl $(<$item>)? From<$name $(<$item>)?> for Error {
            fn from(error: $name $(<$item>)?) -> Error {
                match error { $($name::$variant($one) => $into,)* }
            }
        }

        impl $(<$item>)? From<$name $(<$item>)?> for io::Error {
            fn from(error: $name $(<$item>)?) -> io::Error {
                Error::from(error).into()
            }
        }
    };
}

/// Why an item could not be put. The item is in it.
#[derive(Clone, PartialEq, Eq)]
pub enum PutError<T> {
    /// The queue was shut down.
    ShutDown(QueueShutDown<T>),
    /// The wait for room was cancelled.
    Cancelled(T),
    /// The time of the [`wait_for`](crate::wait_for) around it ran out.
    Timeout(T),
}

impl<T> PutError<T> {
    /// The item that was not put.
    pub fn into_item(self) -> T {
        match self {
            PutError::ShutDown(QueueShutDown(item)) | PutError::Cancelled(item) | PutError::Timeout(item) => item,
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::ShutDown(error) => error.fmt(f),
            PutError::Cancelled(_) => CancelledError.fmt(f),
            PutError::Timeout(_) => TimeoutError.fmt(f),
        }
    }
}

impl<T> error::Error for PutError<T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            PutError::ShutDown(_) | PutError::Timeout(_) => None,
            PutError::Cancelled(_) => Some(&CancelledError),
        }
    }
}

either! { PutError<T> {
    ShutDown(_error) => Error::QueueShutDown(QueueShutDown(())),
    Cancelled(_item) => Error::Cancelled(CancelledError),
    Timeout(_item) => Error::Timeout(TimeoutError),
} }

/// Why an item could not be put at once. The item is in it.
#[derive(Clone, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// There is no room.
    Full(QueueFull<T>),
    /// The queue was shut down.
    ShutDown(QueueShutDown<T>),
}

impl<T> TryPutError<T> {
    /// The item that was not put.
    pub fn into_item(self) -> T {
        match self {
            TryPutError::Full(QueueFull(item)) | TryPutError::ShutDown(QueueShutDown(item)) => item,
        }
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryPutError::Full(error) => error.fmt(f),
            TryPutError::ShutDown(error) => error.fmt(f),
        }
    }
}

impl<T> error::Error for TryPutError<T> {}

either! { TryPutError<T> {
    Full(_error) => Error::QueueFull(QueueFull(())),
    ShutDown(_error) => Error::QueueShutDown(QueueShutDown(())),
} }

/// Why no item could be got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum GetError {
    /// The queue was shut down, and is empty.
    ShutDown(QueueShutDown),
    /// The wait for an item was cancelled.
    Cancelled(CancelledError),
    /// The time of the [`wait_for`](crate::wait_for) or [`timeout`](crate::timeout()) around it ran out.
    Timeout(TimeoutError),
}

/// Why no item could be got at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryGetError {
    /// There is none.
    Empty(QueueEmpty),
    /// The queue was shut down, and is empty.
    ShutDown(QueueShutDown),
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryGetError::Empty(error) => error.fmt(f),
            TryGetError::ShutDown(error) => error.fmt(f),
        }
    }
}

impl error::Error for TryGetError {}

either! { TryGetError {
    Empty(error) => Error::QueueEmpty(error),
    ShutDown(error) => Error::QueueShutDown(error),
} }

/// Why nobody came through a barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BarrierError {
    /// It was reset or aborted.
    Broken(BrokenBarrierError),
    /// The wait was cancelled.
    Cancelled(CancelledError),
    /// The time of the [`wait_for`](crate::wait_for) or [`timeout`](crate::timeout()) around it ran out.
    Timeout(TimeoutError),
}

either! { GetError {
    ShutDown(error) => Error::QueueShutDown(error),
    Cancelled(error) => Error::Cancelled(error),
    Timeout(error) => Error::Timeout(error),
} }

either! { BarrierError {
    Broken(error) => Error::BrokenBarrier(error),
    Cancelled(error) => Error::Cancelled(error),
    Timeout(error) => Error::Timeout(error),
} }

/// An error that a task, or a timeout, may end with.
macro_rules! of_waits {
    ($($name:ident: $special:ident;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $name::$special(error) => error.fmt(f),
                    $name::Cancelled(error) => error.fmt(f),
                    $name::Timeout(error) => error.fmt(f),
                }
            }
        }

        impl error::Error for $name {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                match self {
                    $name::$special(_) | $name::Timeout(_) => None,
                    $name::Cancelled(error) => Some(error),
                }
            }
        }

        impl From<CancelledError> for $name {
            fn from(error: CancelledError) -> $name {
                $name::Cancelled(error)
            }
        }

        impl From<TimeoutError> for $name {
            fn from(error: TimeoutError) -> $name {
                $name::Timeout(error)
            }
        }

        impl TaskError for $name {
            fn as_cancelled(&self) -> Option<&CancelledError> {
                boxed_cancel(self)
            }
        }
    )*};
}

of_waits! {
    GetError: ShutDown;
    BarrierError: Broken;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_what_they_are_on_every_way() {
        // X2, Q10
        assert!(matches!(Error::from(io::Error::from(PutError::Cancelled(5))), Error::Cancelled(_)));
        assert!(matches!(Error::from(TryPutError::Full(QueueFull("a"))), Error::QueueFull(_)));
        let error = io::Error::from(GetError::from(TimeoutError));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = io::Error::from(GetError::ShutDown(QueueShutDown(())));
        assert!(matches!(Error::from(error), Error::QueueShutDown(_)));
        let error = io::Error::from(BarrierError::Broken(BrokenBarrierError));
        assert!(matches!(Error::from(error), Error::BrokenBarrier(_)));
        assert_eq!(TryPutError::Full(QueueFull(7)).into_item(), 7);
    }

    #[test]
    fn cancel_is_seen_in_a_box() {
        // C16
        let cancelled = |error: Box<dyn error::Error>| error.as_cancelled().is_some();
        assert!(cancelled(PutError::Cancelled(5).into()));
        assert!(cancelled(GetError::from(CancelledError).into()));
        assert!(!cancelled(GetError::from(TimeoutError).into()));
        assert!(!cancelled(TimeoutError.into()));
        assert!(!cancelled(Error::from(TimeoutError).into()));
        assert!(!cancelled(PutError::ShutDown(QueueShutDown(5)).into()));
    }
}
