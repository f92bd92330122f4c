//! What comes out of a task group.

use std::{error, fmt, io};

use super::{CancelledError, Error, TaskError};

/// Why a [`TaskGroup`](crate::TaskGroup) has no value.
#[derive(Debug)]
pub enum GroupError<E> {
    /// The group was cancelled from outside, or its body ended with a cancel of its own accord, and no task of the group
    /// ended with an error.
    Cancelled(CancelledError),
    /// Tasks of the group, or its body, ended with errors.
    Group(ExceptionGroup<E>),
    /// [`TaskGroup::cancel`](crate::TaskGroup::cancel) ended the body, so that it has no value. Nothing went wrong: see
    /// [`GroupError::allow_stop`].
    Stopped,
}

/// The errors of the tasks of a group, in the order in which the tasks ended; that of the body is the last one.
#[derive(Debug)]
pub struct ExceptionGroup<E> {
    /// The errors.
    pub errors: Vec<E>,
    /// For each error, the [`id`](crate::AnyTask::id) of the task that ended with it; `None` for the body of the group.
    pub origins: Vec<Option<u64>>,
}

impl<E> GroupError<E> {
    /// Lets pass that the group was stopped by its own [`cancel`](crate::TaskGroup::cancel), for groups without a value.
    ///
    /// ```
    /// # use ringio::{CancelledError, GroupError, TaskGroup, sleep};
    /// # ringio::run(async {
    /// TaskGroup::scope(async |group| {
    ///     group.create_task(sleep(std::time::Duration::from_secs(3600)));
    ///     group.cancel();
    ///     ringio::yield_now().await
    /// })
    /// .await
    /// .or_else(GroupError::allow_stop)
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Everything else.
    pub fn allow_stop(self) -> Result<(), GroupError<E>> {
        if let GroupError::Stopped = self { Ok(()) } else { Err(self) }
    }

    /// The errors; empty when there are none.
    pub fn into_errors(self) -> Vec<E> {
        match self {
            GroupError::Group(group) => group.errors,
            GroupError::Cancelled(_) | GroupError::Stopped => Vec::new(),
        }
    }
}

impl<E> ExceptionGroup<E> {
    /// Those that `belongs` picks, and the rest; `None` where there would be none.
    #[doc(alias = "ExceptionGroup.split")]
    pub fn split(self, mut belongs: impl FnMut(&E) -> bool) -> (Option<ExceptionGroup<E>>, Option<ExceptionGroup<E>>) {
        let (mut picked, mut rest) = (ExceptionGroup::empty(), ExceptionGroup::empty());
        for (error, origin) in self.errors.into_iter().zip(self.origins) {
            let side = if belongs(&error) { &mut picked } else { &mut rest };
            side.errors.push(error);
            side.origins.push(origin);
        }
        let some = |group: ExceptionGroup<E>| (!group.errors.is_empty()).then_some(group);
        (some(picked), some(rest))
    }

    fn empty() -> ExceptionGroup<E> {
        ExceptionGroup { errors: Vec::new(), origins: Vec::new() }
    }
}

impl<E: fmt::Display> fmt::Display for ExceptionGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unhandled errors in a TaskGroup ({})", self.errors.len())?;
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{} {error}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupError::Cancelled(cancelled) => cancelled.fmt(f),
            GroupError::Group(group) => group.fmt(f),
            GroupError::Stopped => f.write_str("the task group was stopped by its cancel(), and has no value"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for ExceptionGroup<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.errors.first().map(|first| first as _)
    }
}

impl<E: error::Error + 'static> error::Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            GroupError::Group(group) => group.source(),
            GroupError::Cancelled(_) | GroupError::Stopped => None,
        }
    }
}

impl<E> From<CancelledError> for GroupError<E> {
    fn from(cancelled: CancelledError) -> GroupError<E> {
        GroupError::Cancelled(cancelled)
    }
}

/// A task may end with the error of its group: groups nest.
impl<E: 'static> TaskError for GroupError<E> {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        match self {
            GroupError::Cancelled(cancelled) => Some(cancelled),
            GroupError::Group(_) | GroupError::Stopped => None,
        }
    }
}

impl<E: error::Error + Send + Sync + 'static> From<GroupError<E>> for io::Error {
    /// A cancel stays a cancel; everything else is the payload.
    fn from(error: GroupError<E>) -> io::Error {
        match error {
            GroupError::Cancelled(cancelled) => cancelled.into(),
            GroupError::Group(_) | GroupError::Stopped => io::Error::other(error),
        }
    }
}

impl<E: error::Error + Send + Sync + 'static> From<GroupError<E>> for Error {
    fn from(error: GroupError<E>) -> Error {
        Error::from(io::Error::from(error))
    }
}

/// The cancel in a boxed error of a group, for the errors that groups usually have.
pub(super) fn boxed_cancel<'a>(error: &'a (dyn error::Error + 'static)) -> Option<&'a CancelledError> {
    fn of<'a, E: error::Error + 'static>(error: &'a (dyn error::Error + 'static)) -> Option<&'a CancelledError> {
        error.downcast_ref::<GroupError<E>>()?.as_cancelled()
    }
    of::<io::Error>(error).or_else(|| of::<CancelledError>(error)).or_else(|| of::<Error>(error))
}
