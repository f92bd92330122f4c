//! Nobody has a group or a timeout that was not entered: contract TG12, TO6.

use ringio::{TaskGroup, Timeout};
use std::io;

pub fn made_by_hand() {
    TaskGroup::<io::Error>::new(); //~ named `new` found for struct `TaskGroup
    TaskGroup::<io::Error>::default(); //~ named `default` found for struct `TaskGroup
    Timeout::new(); //~ named `new` found for struct `ringio::Timeout`
}

pub async fn entered_again(group: &TaskGroup<io::Error>, limit: Timeout) {
    group.create_task(async { io::Result::Ok(()) });
    let _ = limit.reschedule(None);
    let _ = group.clone().await; //~ `TaskGroup<std::io::Error>` is not a future
    let _ = limit.await; //~ `ringio::Timeout` is not a future
}
