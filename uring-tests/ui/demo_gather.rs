//! Several at once, and their results in order.

use ringio::{CancelledError, gather, sleep};
use std::time::Duration;

async fn factorial(name: &'static str, number: u64) -> Result<u64, CancelledError> {
    let mut product = 1;
    for factor in 2..=number {
        println!("{name}: {product} times {factor}");
        sleep(Duration::from_secs(1)).await?;
        product *= factor;
    }
    Ok(product)
}

pub fn two_at_once() {
    let _ = ringio::run(async {
        let products: Vec<u64> = gather([factorial("A", 2), factorial("B", 3)]).await?;
        println!("{products:?}");
        Ok::<_, CancelledError>(())
    });
}
