//! asyncio's example of `sleep`: shows the time every second for five seconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringio::{CancelledError, sleep};

/// The time of day in UTC.
fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs() % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, since_epoch.subsec_micros())
}

async fn display_date() -> Result<(), CancelledError> {
    let end_time = Instant::now() + Duration::from_secs(5);
    loop {
        println!("{}", now());
        if Instant::now() + Duration::from_secs(1) >= end_time {
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await?;
    }
}

fn main() -> Result<(), CancelledError> {
    ringio::run(display_date())
}
