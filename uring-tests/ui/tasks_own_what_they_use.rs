//! A main future may borrow from its caller, who is blocked meanwhile. A task outlives its creator and may not.

use ringio::{CancelledError, create_task, sleep, timeout};
use std::{cell::RefCell, rc::Rc, time::Duration};

pub fn main_may_borrow() -> usize {
    let mut list = vec![1];
    let text = String::from("borrowed");
    ringio::run(async {
        let _ = sleep(Duration::ZERO).await;
        list.push(text.len());
    });
    list.len()
}

pub async fn a_task_may_not() {
    let text = String::from("borrowed");
    create_task(async { text.len().then_nothing() }); //~ may outlive the current function, but it borrows `text`
    drop(text);
}

pub async fn the_body_of_a_timeout_may() -> Result<(), std::io::Error> {
    let mut list = vec![1];
    timeout(Duration::from_secs(1), async |_| {
        sleep(Duration::ZERO).await?;
        list.push(2);
        Ok(())
    })
    .await
}

pub fn tasks_share_what_is_not_send() {
    let shared = Rc::new(RefCell::new(0));
    create_task(async move {
        sleep(Duration::ZERO).await?;
        *shared.borrow_mut() += 1;
        Ok::<_, CancelledError>(())
    });
}

/// For a body that borrows and returns what a task may.
pub trait ThenNothing: Copy {
    /// Nothing.
    fn then_nothing(self) {}
}

impl ThenNothing for usize {}
