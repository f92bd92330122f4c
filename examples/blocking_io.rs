//! asyncio's example of `to_thread`: a call that blocks, beside a sleep.

use std::{
    thread,
    time::{Duration, Instant},
};

use ringio::{CancelledError, gather, sleep, to_thread};

fn blocking_io(start: Instant) {
    println!("start blocking_io at {} s", start.elapsed().as_secs());
    // Stands for any call that blocks, such as work on files.
    thread::park_timeout(Duration::from_secs(1));
    println!("blocking_io complete at {} s", start.elapsed().as_secs());
}

fn main() -> Result<(), CancelledError> {
    ringio::run(async {
        let start = Instant::now();
        println!("started main at {} s", start.elapsed().as_secs());
        gather!(to_thread(move || blocking_io(start)), sleep(Duration::from_secs(1))).await?;
        println!("finished main at {} s", start.elapsed().as_secs());
        Ok(())
    })
}
