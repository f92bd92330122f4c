//! asyncio's example of `wait_for`: an hour of sleep that is waited for one second.

use std::{io, time::Duration};

use ringio::{sleep, wait_for};

async fn eternity() -> io::Result<()> {
    // Sleep for one hour
    sleep(Duration::from_secs(3600)).await?;
    println!("yay!");
    Ok(())
}

fn main() -> io::Result<()> {
    ringio::run(async {
        // Wait for at most 1 second
        match wait_for(eternity(), Duration::from_secs(1)).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => println!("timeout!"),
            ended => ended?,
        }
        Ok(())
    })
}
