//! asyncio's example of `Task.cancel`: a task that is cancelled, cleans up, and hands the cancel on.

use std::time::Duration;

use ringio::{CancelledError, create_task, sleep};

async fn cancel_me() -> Result<(), CancelledError> {
    println!("cancel_me(): before sleep");
    // Wait for 1 hour
    let slept = sleep(Duration::from_secs(3600)).await;
    if slept.is_err() {
        println!("cancel_me(): cancel sleep");
    }
    println!("cancel_me(): after sleep");
    slept
}

fn main() -> Result<(), CancelledError> {
    ringio::run(async {
        // Create a "cancel_me" Task
        let task = create_task(cancel_me());
        // Wait for 1 second
        sleep(Duration::from_secs(1)).await?;
        task.cancel();
        match task.await {
            Err(CancelledError) => println!("main(): cancel_me is cancelled now"),
            Ok(()) => println!("main(): cancel_me slept for an hour"),
        }
        Ok(())
    })
}
