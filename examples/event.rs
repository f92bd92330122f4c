//! asyncio's example of an event.

use std::time::Duration;

use ringio::{CancelledError, Event, create_task, sleep};

async fn waiter(event: Event) -> Result<(), CancelledError> {
    println!("waiting for it ...");
    event.wait().await?;
    println!("... got it!");
    Ok(())
}

fn main() -> Result<(), CancelledError> {
    ringio::run(async {
        // Create an Event object.
        let event = Event::new();

        // Spawn a Task to wait until 'event' is set.
        let waiter_task = create_task(waiter(event.clone()));

        // Sleep for a moment and set the event.
        sleep(Duration::from_millis(100)).await?;
        event.set();

        // Wait until the waiter task is finished.
        waiter_task.await
    })
}
