//! asyncio's first example of running things concurrently: three factorials.

use std::time::Duration;

use ringio::{CancelledError, gather, sleep};

async fn factorial(name: &'static str, number: u64) -> Result<u64, CancelledError> {
    let mut f = 1;
    for i in 2..=number {
        println!("Task {name}: Compute factorial({number}), currently i={i}...");
        sleep(Duration::from_secs(1)).await?;
        f *= i;
    }
    println!("Task {name}: factorial({number}) = {f}");
    Ok(f)
}

fn main() -> Result<(), CancelledError> {
    ringio::run(async {
        // Schedule three calls *concurrently*:
        let results = gather([factorial("A", 2), factorial("B", 3), factorial("C", 4)]).await?;
        println!("{results:?}");
        Ok(())
    })
}
