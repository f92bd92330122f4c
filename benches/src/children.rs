//! Children of one runtime, in a process of its own: what is measured for `compare subprocess`.
//!
//! Guards: starting and reaping a child costs no more than with the best peer, whatever the size of this process, and many
//! children are fed and read as fast.

use std::{
    future::Future,
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::report::median;

/// One figure, as the process prints it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) row: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

/// How much is done.
#[derive(Clone, Copy)]
struct Amount {
    starts: usize,
    kills: usize,
    children: usize,
    bytes: usize,
}

type Workloads = fn(Amount) -> io::Result<Figures>;

/// The runtimes, and the workloads on each.
const ALL: [(&str, Workloads); 5] = [
    ("ringio", ringio_children),
    ("std", std_children),
    ("tokio", tokio_children),
    ("smol", smol_children),
    ("compio", compio_children),
];

/// Seconds of each start and wait, seconds from each kill to its wait's end, seconds of all the pipes.
struct Figures {
    starts: Vec<f64>,
    kills: Vec<f64>,
    pipes: f64,
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// `ringio-bench children RUNTIME`: prints one figure per line.
pub(crate) fn measure(runtime: &str, resident_mib: usize, quick: bool) -> Result<(), String> {
    let (_, run) = ALL.iter().find(|(name, _)| *name == runtime).ok_or_else(|| format!("no runtime '{runtime}'"))?;
    let mut memory = vec![0_u8; resident_mib << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let amount = match quick {
        true => Amount { starts: 50, kills: 20, children: 20, bytes: 300_000 },
        false => Amount { starts: 400, kills: 100, children: 200, bytes: 3_000_000 },
    };
    let figures = run(amount).map_err(|error| error.to_string())?;
    black_box(&memory);
    let Figures { mut starts, mut kills, pipes } = figures;
    let megabytes = (2 * amount.children * amount.bytes) as f64 / 1e6;
    for (row, unit, value) in [
        ("start and wait for /bin/true", "us", median(&mut starts) * 1e6),
        ("from kill to the end of wait", "us", median(&mut kills) * 1e6),
        ("children fed and read at once", "MB/s", megabytes / pipes),
    ] {
        let line = serde_json::to_string(&Figure { row: row.to_owned(), unit: unit.to_owned(), value });
        writeln!(io::stdout(), "{}", line.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn input(amount: Amount) -> Vec<u8> {
    (0..amount.bytes).map(|index| (index * 31) as u8).collect()
}

fn check(output: &[u8], input: &[u8]) -> io::Result<()> {
    if output == input { Ok(()) } else { Err(io::Error::other("a child gave back other bytes")) }
}

/// Time for a child to be asleep before it is killed.
const SETTLE: Duration = Duration::from_millis(2);

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<f64> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed().as_secs_f64())
}

fn ringio_children(amount: Amount) -> io::Result<Figures> {
    use ringio::{Stdio, create_subprocess_exec, create_task};
    ringio::run(async {
        let (mut starts, mut kills) = (Vec::new(), Vec::new());
        for _ in 0..amount.starts {
            starts.push(timed(async { Ok(create_subprocess_exec("/bin/true").await?.wait().await?) }).await?);
        }
        for _ in 0..amount.kills {
            let child = create_subprocess_exec("/bin/sleep").arg("1000").await?;
            ringio::sleep(SETTLE).await?;
            kills.push(timed(async { child.kill().and(Ok(child.wait().await?)) }).await?);
        }
        let data = std::rc::Rc::new(input(amount));
        let pipes = timed(async {
            let feed = |_| {
                let data = data.clone();
                create_task(async move {
                    let cat = create_subprocess_exec("/bin/cat").stdin(Stdio::Pipe).stdout(Stdio::Pipe);
                    let (output, _) = cat.await?.communicate(Some(&data)).await?;
                    check(&output.unwrap_or_default(), &data)
                })
            };
            for task in (0..amount.children).map(feed).collect::<Vec<_>>() {
                task.await?;
            }
            Ok(())
        });
        Ok(Figures { starts, kills, pipes: pipes.await? })
    })
}

fn std_children(amount: Amount) -> io::Result<Figures> {
    use std::process::{Command, Stdio};
    let (mut starts, mut kills) = (Vec::new(), Vec::new());
    for _ in 0..amount.starts {
        let begun = Instant::now();
        Command::new("/bin/true").spawn()?.wait()?;
        starts.push(begun.elapsed().as_secs_f64());
    }
    for _ in 0..amount.kills {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn()?;
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        child.kill()?;
        child.wait()?;
        kills.push(begun.elapsed().as_secs_f64());
    }
    let data = input(amount);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let feed = |_| {
            scope.spawn(|| -> io::Result<()> {
                let mut cat = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let mut stdin = cat.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
                let data = &data;
                let feeder = scope.spawn(move || stdin.write_all(data));
                let output = cat.wait_with_output()?;
                feeder.join().map_err(|_| io::Error::other("the feeder panicked"))??;
                check(&output.stdout, data)
            })
        };
        let threads: Vec<_> = (0..amount.children).map(feed).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
    })?;
    Ok(Figures { starts, kills, pipes: begun.elapsed().as_secs_f64() })
}

fn tokio_children(amount: Amount) -> io::Result<Figures> {
    use std::process::Stdio;
    use tokio::{io::AsyncWriteExt, process::Command};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut starts, mut kills) = (Vec::new(), Vec::new());
        for _ in 0..amount.starts {
            starts.push(timed(async { Command::new("/bin/true").spawn()?.wait().await }).await?);
        }
        for _ in 0..amount.kills {
            let mut child = Command::new("/bin/sleep").arg("1000").spawn()?;
            tokio::time::sleep(SETTLE).await;
            kills.push(timed(async { child.start_kill().and(child.wait().await) }).await?);
        }
        let data: std::sync::Arc<[u8]> = input(amount).into();
        let pipes = timed(async {
            let feed = |_| {
                let data = data.clone();
                tokio::spawn(async move {
                    let mut cat = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                    let mut stdin = cat.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
                    let bytes = data.clone();
                    let feeder = tokio::spawn(async move { stdin.write_all(&bytes).await });
                    let output = cat.wait_with_output().await?;
                    feeder.await??;
                    check(&output.stdout, &data)
                })
            };
            for task in (0..amount.children).map(feed).collect::<Vec<_>>() {
                task.await??;
            }
            Ok(())
        });
        Ok(Figures { starts, kills, pipes: pipes.await? })
    })
}

fn smol_children(amount: Amount) -> io::Result<Figures> {
    use smol::{
        LocalExecutor, Timer,
        io::AsyncWriteExt,
        process::{Command, Stdio},
    };
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (mut starts, mut kills) = (Vec::new(), Vec::new());
        for _ in 0..amount.starts {
            starts.push(timed(async { Command::new("/bin/true").spawn()?.status().await }).await?);
        }
        for _ in 0..amount.kills {
            let mut child = Command::new("/bin/sleep").arg("1000").spawn()?;
            Timer::after(SETTLE).await;
            kills.push(timed(async { child.kill().and(child.status().await) }).await?);
        }
        let data: std::rc::Rc<[u8]> = input(amount).into();
        let pipes = timed(async {
            let feed = |_| {
                let data = data.clone();
                executor.spawn(async move {
                    let mut cat = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                    let mut stdin = cat.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
                    let feed = async {
                        let written = stdin.write_all(&data).await;
                        drop(stdin);
                        written
                    };
                    let (fed, output) = smol::future::zip(feed, cat.output()).await;
                    fed.and(check(&output?.stdout, &data))
                })
            };
            for task in (0..amount.children).map(feed).collect::<Vec<_>>() {
                task.await?;
            }
            Ok(())
        });
        Ok(Figures { starts, kills, pipes: pipes.await? })
    }))
}

fn compio_children(amount: Amount) -> io::Result<Figures> {
    use compio::{
        BufResult,
        io::AsyncWriteExt,
        process::Command,
        runtime::{spawn, time::sleep},
    };
    use std::process::Stdio;
    let piped = || -> Result<Command, std::convert::Infallible> {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Stdio::piped())?.stdout(Stdio::piped())?;
        Ok(cat)
    };
    crate::peers::compio::runtime(crate::peers::compio::Ring::Default)?.block_on(async {
        let (mut starts, mut kills) = (Vec::new(), Vec::new());
        for _ in 0..amount.starts {
            starts.push(timed(async { Command::new("/bin/true").spawn()?.wait().await }).await?);
        }
        for _ in 0..amount.kills {
            let mut child = Command::new("/bin/sleep").arg("1000").spawn()?;
            sleep(SETTLE).await;
            kills.push(timed(async move { child.kill().and(child.wait().await) }).await?);
        }
        let data = input(amount);
        let pipes = timed(async {
            let feed = |_| {
                let (data, Ok(mut cat)) = (data.clone(), piped());
                spawn(async move {
                    let mut cat = cat.spawn()?;
                    let mut stdin = cat.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
                    let feeder = spawn(async move { stdin.write_all(data).await });
                    let output = cat.wait_with_output().await?;
                    let BufResult(written, data) = feeder.await.map_err(|_| io::Error::other("the feeder panicked"))?;
                    written?;
                    check(&output.stdout, &data)
                })
            };
            for task in (0..amount.children).map(feed).collect::<Vec<_>>() {
                task.await.map_err(|_| io::Error::other("a task panicked"))??;
            }
            Ok(())
        });
        Ok(Figures { starts, kills, pipes: pipes.await? })
    })
}
