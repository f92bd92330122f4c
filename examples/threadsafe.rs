//! asyncio's example of `run_coroutine_threadsafe`: asking a loop of another thread for something, and waiting for it.

use std::{io, thread, time::Duration};

use ringio::{LoopHandle, ThreadsafeError, run_coroutine_threadsafe, sleep_with, to_thread};

fn ask(handle: &LoopHandle) -> Result<(), ThreadsafeError<io::Error>> {
    // Submit the coroutine to a given loop, and wait for the result with a timeout of 3 seconds
    let future = run_coroutine_threadsafe(|| async { Ok(sleep_with(Duration::from_secs(1), 3).await?) }, handle);
    let result = future.result(Duration::from_secs(3))?;
    println!("The coroutine returned: {result}");

    let future = run_coroutine_threadsafe(|| async { Ok(sleep_with(Duration::from_secs(3600), 4).await?) }, handle);
    match future.result(Duration::from_secs(1)) {
        Err(ThreadsafeError::Timeout(_)) => {
            println!("The coroutine took too long, cancelling the task...");
            future.cancel();
        }
        ended => println!("The coroutine returned: {}", ended?),
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runner = ringio::Runner::new()?;
    let handle = runner.handle();
    let other = thread::spawn(move || ask(&handle));
    // The loop serves others while it waits for the thread.
    let asked = runner.run(to_thread(|| other.join()))?;
    asked.map_err(|_| "the other thread panicked")??;
    Ok(())
}
