//! What a task may return, said where it is got wrong: design 5.

use ringio::{CancelledError, create_task, timeout};
use std::time::Duration;

pub fn plain_value() {
    create_task(async { 7 }); //~ note: for a plain value write `Ok::<_, CancelledError>(value)`
    create_task(async { Ok::<_, CancelledError>(7) });
}

pub async fn plain_value_in_a_timeout() {
    timeout(Duration::from_secs(1), async |_| "done").await; //~ a task body returns `Result<T, E>`
}

pub fn no_future() {
    create_task(7); //~ is not a future
}

pub fn error_without_a_cancel() {
    create_task(async { Err::<(), String>(String::new()) }); //~ it has to be able to carry a cancel
}
