//! Children of every kind, communicated with, waited for, signalled, cancelled in their start and dropped: no byte is lost,
//! and the simulation itself looks for children that were never reaped, or twice.

use std::{io, time::Duration};

use ringio::{
    CreateSubprocess, Process, Stdio, create_subprocess_exec, create_task, sleep,
    testing::{self, Script},
    wait_for,
};

use super::seeds::{Run, gauntlet};
use crate::support::Rng;

const LONG: Duration = Duration::from_secs(1000);

/// What a child of a seed writes, and what it exits with.
fn plan(seed: u64, most: usize) -> (Vec<Vec<u8>>, i32) {
    let mut rng = Rng::of(seed);
    ((0..rng.below(5)).map(|_| rng.chunk(most)).collect(), rng.below(256) as i32)
}

/// Writes its pieces in turn to its output and its errors, and sleeps in between.
fn talker(seed: u64, most: usize) -> Script {
    let (pieces, code) = plan(seed, most);
    let mut rng = Rng::of(seed ^ 1);
    let mut script = Script::new();
    for (number, piece) in pieces.iter().enumerate() {
        script = if number % 2 == 0 { script.stdout(piece) } else { script.stderr(piece) };
        if rng.below(2) == 0 {
            script = script.sleep(rng.micros(3000));
        }
    }
    script.exit(code)
}

fn programs(most: usize) {
    let number = |arguments: &[String]| arguments[0].parse().expect("a seed");
    testing::program("talker", move |arguments| talker(number(arguments), most));
    testing::program("robbed", move |arguments| talker(number(arguments), most).status_stolen());
    testing::program("cat", |_| Script::new().echo());
    testing::program("deaf", |_| Script::new().ignore_term().hang());
    testing::program("rude", |_| Script::new().close_stdin().sleep(Duration::from_millis(1)).close_stdout().exit(9));
}

/// Starts a child; tries again when no process is left, or when it took too long.
async fn start(rng: &mut Rng, name: &str, seed: u64) -> io::Result<Process> {
    let subprocess = |limit| -> CreateSubprocess {
        create_subprocess_exec(name)
            .arg(seed.to_string())
            .stdin(Stdio::Pipe)
            .stdout(Stdio::Pipe)
            .stderr(Stdio::Pipe)
            .limit(limit)
    };
    loop {
        let limit = 1 + rng.below(5000);
        let patience = if rng.below(3) == 0 { rng.micros(500) } else { Duration::from_secs(1000) };
        match wait_for(async { subprocess(limit).await }, patience).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(rng.micros(500)).await?,
            other => return other,
        }
    }
}

/// Everything a child says, over any number of timeouts.
async fn communicate(rng: &mut Rng, process: &mut Process, input: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut input = Some(input);
    loop {
        // Never none at all: then it would not begin, and the input would go with it.
        let patience = Duration::from_micros(1) + if rng.below(2) == 0 { rng.micros(2000) } else { LONG };
        match wait_for(process.communicate(input.take()), patience).await {
            Ok((output, errors)) => return Ok((output.unwrap_or_default(), errors.unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
    }
}

async fn one_child(mut rng: Rng, most: usize) -> io::Result<()> {
    let seed = rng.next();
    match rng.below(6) {
        0 => {
            let input = rng.chunk(most);
            let mut process = start(&mut rng, "cat", seed).await?;
            let (output, errors) = communicate(&mut rng, &mut process, &input).await?;
            assert!(output == input && errors.is_empty() && process.returncode() == Some(0), "{process:?}");
        }
        1 | 2 => {
            let robbed = rng.below(3) == 0;
            let mut process = start(&mut rng, if robbed { "robbed" } else { "talker" }, seed).await?;
            let (output, errors) = communicate(&mut rng, &mut process, b"").await?;
            let (pieces, code) = plan(seed, most);
            let said = |first| pieces.iter().skip(first).step_by(2).flatten().copied().collect::<Vec<u8>>();
            assert!(output == said(0) && errors == said(1), "{process:?}");
            let known = process.returncode() == Some(code) || robbed && process.returncode() == Some(255);
            assert!(known, "{:?} instead of {code}", process.returncode());
        }
        3 => {
            let process = start(&mut rng, "deaf", seed).await?;
            process.terminate()?;
            while wait_for(async { io::Result::Ok(process.wait().await?) }, rng.micros(3000)).await.is_err() {
                let _ = process.kill(); // it may have ended in this moment
            }
            assert_eq!(process.returncode(), Some(-9));
            assert!(process.kill().is_err(), "it is gone");
        }
        4 => {
            let input = rng.chunk(most);
            let mut process = start(&mut rng, "rude", seed).await?;
            communicate(&mut rng, &mut process, &input).await?;
            assert_eq!(process.returncode(), Some(9));
        }
        _ => {
            let name = ["cat", "talker", "deaf", "rude"][rng.below(4)];
            let mut process = start(&mut rng, name, seed).await?;
            if rng.below(2) == 0 {
                // It may end, or be killed with its output half read.
                let _ = wait_for(process.communicate(None), rng.micros(1000)).await;
            }
        }
    }
    Ok(())
}

fn workload(run: Run) {
    run.program(async {
        let most = run.bytes_max().min(5000);
        programs(most);
        let mut rng = run.rng();
        let children: Vec<_> =
            (0..run.some_steps()).map(|_| create_task(one_child(Rng::of(rng.next()), most))).collect();
        for child in children {
            if rng.below(8) == 0 {
                child.cancel();
                drop(child.await);
            } else {
                child.await.expect("nothing happens to it");
            }
        }
        // Some are still there when the runtime ends.
        for _ in 0..rng.below(3) {
            let mut rng = Rng::of(rng.next());
            create_task(async move {
                let process = start(&mut rng, "deaf", 0).await?;
                process.wait().await?;
                io::Result::Ok(())
            });
        }
        sleep(rng.micros(500)).await.expect("nobody cancels the main task");
    });
}

#[test]
fn children_are_reaped_once_and_lose_no_byte() {
    gauntlet(
        "children_are_reaped_once_and_lose_no_byte",
        &[1_795_394_107_700_980_538, 1_795_394_193_764_669_728],
        workload,
    );
}
