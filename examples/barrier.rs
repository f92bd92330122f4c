//! asyncio's example of a barrier.

use ringio::{Barrier, Error, create_task};

fn main() -> Result<(), Error> {
    ringio::run(async {
        // barrier with 3 parties
        let b = Barrier::new(3)?;

        // create 2 new waiting tasks
        for _ in 0..2 {
            let b = b.clone();
            create_task(async move { b.wait().await });
        }

        ringio::yield_now().await?;
        println!("{b:?}");
        assert_eq!(format!("{b:?}"), "<Barrier [filling, waiters:2/3]>");

        // The third .wait() call passes the barrier
        b.wait().await?;
        println!("{b:?}");
        println!("barrier passed");
        assert_eq!(format!("{b:?}"), "<Barrier [draining, waiters:0/3]>");

        ringio::yield_now().await?;
        println!("{b:?}");
        assert_eq!(format!("{b:?}"), "<Barrier [filling, waiters:0/3]>");
        Ok(())
    })
}
