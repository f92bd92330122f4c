//! Keeps workers alive: one that fails is restarted, later each time. Ctrl-C or SIGTERM drains them within a grace time,
//! then kills the process groups of those that are left.
//!
//! `supervisor [seconds [workers [command]]]` ends by itself after so many seconds (2), as if by SIGTERM.

use std::{
    env, io,
    rc::Rc,
    time::{Duration, Instant},
};

use ringio::{CancelledError, Process, Signal, create_subprocess_shell, create_task, signals, sleep, wait_for};

const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// A worker that lived so long starts with a short back-off again.
const HEALTHY: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(500);

/// Whoever is left of the group after the grace time is killed.
async fn drain(number: usize, worker: &Process) {
    let _ = worker.send_signal_group(Signal::TERM);
    let ended = wait_for(async { io::Result::Ok(worker.wait().await?) }, GRACE).await;
    let _ = worker.kill_group();
    let _ = worker.wait().await;
    let how = if ended.is_err() { "killed" } else { "drained" };
    println!("worker {number} {how}: {:?}", worker.returncode());
}

/// One worker after the other, until it is cancelled.
async fn keep_alive(number: usize, command: Rc<str>) -> Result<(), CancelledError> {
    let mut back_off = BACK_OFF;
    loop {
        let started = create_subprocess_shell(&*command).start_new_session(true).await;
        match started {
            Ok(worker) => {
                println!("worker {number} started");
                let begun = Instant::now();
                if worker.wait().await.is_err() {
                    drain(number, &worker).await;
                    return Err(CancelledError);
                }
                if begun.elapsed() > HEALTHY {
                    back_off = BACK_OFF;
                }
                println!("worker {number} ended with {:?}; again in {back_off:?}", worker.returncode());
            }
            Err(error) if ringio::cancelled(&error).is_some() => return Err(CancelledError),
            Err(error) => println!("worker {number}: {error}; again in {back_off:?}"),
        }
        sleep(back_off).await?;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

async fn supervise(seconds: f64, workers: usize, command: Rc<str>) -> io::Result<()> {
    let mut stop = signals([Signal::TERM, Signal::INT])?;
    let start = |number| create_task(keep_alive(number, command.clone()));
    let workers: Vec<_> = (1..=workers).map(start).collect();
    match wait_for(stop.recv(), Duration::from_secs_f64(seconds)).await {
        Ok(signal) => println!("{signal}: draining"),
        Err(_) => println!("time is up: draining"),
    }
    for worker in &workers {
        worker.cancel_with("the supervisor ends");
    }
    for worker in workers {
        let _ = worker.await;
    }
    println!("all workers are gone");
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let workers = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let command = arguments.next().unwrap_or_else(|| "sleep 0.3; exit 1".to_owned());
    ringio::run(supervise(seconds, workers, command.into()))
}
