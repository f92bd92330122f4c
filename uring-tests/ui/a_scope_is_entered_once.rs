//! A group and a timeout are entered by being awaited, once: contract TG12, TO6.

use ringio::{TaskGroup, timeout};
use std::{io, time::Duration};

pub async fn a_group_twice() {
    let scope = TaskGroup::scope(async |group| {
        group.create_task(async { io::Result::Ok(()) });
        Ok(())
    });
    let _ = scope.await;
    let _ = scope.await; //~ use of moved value: `scope`
}

pub async fn a_timeout_twice() {
    let limited = timeout(Duration::from_secs(1), async |_| io::Result::Ok(()));
    let _ = limited.await;
    let _ = limited.await; //~ use of moved value: `limited`
}
