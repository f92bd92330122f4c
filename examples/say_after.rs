//! asyncio's example of tasks: one after the other, side by side, and in a group.

use std::time::{Duration, Instant};

use ringio::{CancelledError, TaskGroup, create_task, sleep};

async fn say_after(delay: u64, what: &str) -> Result<(), CancelledError> {
    sleep(Duration::from_secs(delay)).await?;
    println!("{what}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let finished = || println!("finished after {} seconds", start.elapsed().as_secs());
    ringio::run(async {
        // One after the other: three seconds.
        say_after(1, "hello").await?;
        say_after(2, "world").await?;
        finished();

        // Side by side: two seconds.
        let task1 = create_task(say_after(1, "hello"));
        let task2 = create_task(say_after(2, "world"));
        task1.await?;
        task2.await?;
        finished();

        // The await is implicit when the group ends: two seconds.
        TaskGroup::scope(async |group| {
            group.create_task(say_after(1, "hello"));
            group.create_task(say_after(2, "world"));
            Ok::<_, CancelledError>(())
        })
        .await?;
        finished();
        Ok(())
    })
}
