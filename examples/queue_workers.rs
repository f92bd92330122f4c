//! asyncio's example of a queue: three workers share out the work that is in it.

use std::time::{Duration, Instant};

use ringio::{Error, Queue, create_task, sleep};

async fn worker(name: String, queue: Queue<Duration>) -> Result<(), Error> {
    loop {
        // Get a "work item" out of the queue.
        let sleep_for = queue.get().await?;

        // Sleep for the "sleep_for" time.
        sleep(sleep_for).await?;

        // Notify the queue that the "work item" has been processed.
        queue.task_done()?;

        println!("{name} has slept for {:.3} seconds", sleep_for.as_secs_f64());
    }
}

fn main() -> Result<(), Error> {
    ringio::run(async {
        // Create a queue that we will use to store our "workload".
        let queue = Queue::unbounded();

        // Generate timings and put them into the queue.
        let mut total_sleep_time = Duration::ZERO;
        for number in 0..20 {
            let sleep_for = Duration::from_millis(5 + number * 7 % 20);
            total_sleep_time += sleep_for;
            queue.put_nowait(sleep_for)?;
        }

        // Create three worker tasks to process the queue concurrently.
        let tasks: Vec<_> =
            (0..3).map(|number| create_task(worker(format!("worker-{number}"), queue.clone()))).collect();

        // Wait until the queue is fully processed.
        let started_at = Instant::now();
        queue.join().await?;
        let total_slept_for = started_at.elapsed();

        // Cancel our worker tasks.
        for task in &tasks {
            task.cancel();
        }
        // Wait until all worker tasks are cancelled.
        for task in tasks {
            assert!(task.await.is_err_and(|error| error.is_cancelled()));
        }

        println!("====");
        println!("3 workers slept in parallel for {:.2} seconds", total_slept_for.as_secs_f64());
        println!("total expected sleep time: {:.2} seconds", total_sleep_time.as_secs_f64());
        assert!(total_slept_for < total_sleep_time);
        Ok(())
    })
}
