//! Results that carry a buffer are outcomes too.

use std::io;

use crate::{
    buf::BufResult,
    error::{Outcome, TaskError},
};

impl<T, B> Outcome for BufResult<T, B> {
    type Value = (T, B);
    type Error = io::Error;

    fn into_result(self) -> io::Result<(T, B)> {
        self.ok()
    }

    fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_err_and(|error| error.as_cancelled().is_some())
    }

    fn with_error(self, error: io::Error) -> Self {
        BufResult(Err(error), self.1)
    }

    fn from_error(error: io::Error) -> Result<Self, io::Error> {
        Err(error) // there is no buffer to give back
    }
}
