//! For `ci/abort`, which builds this with `panic = "abort"`: the little of everything, or a task that panics.

mod smoke;

use std::time::Duration;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("smoke") => {
            if !cfg!(panic = "abort") {
                panic!("this is not the build that was asked for: say panic=abort");
            }
            println!("works, profile {}", smoke::works());
        }
        Some("panic") => {
            let ended = ringio::run(async {
                let task = ringio::create_task(async {
                    ringio::sleep(Duration::from_millis(1)).await?;
                    assert!(ringio::current_task().is_none(), "a task that cannot go on");
                    Ok::<_, ringio::CancelledError>(())
                });
                task.await
            });
            println!("not reached: {ended:?}");
        }
        other => panic!("say `smoke` or `panic`, not {other:?}"),
    }
}
