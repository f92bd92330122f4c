//! Children under timeouts: their status, their output, and what is left of those whose handles are dropped. What a handle
//! does not offer after a timeout is lost with it.

use std::{fs, io, time::Duration};

use super::{
    Verdict,
    runtimes::{Compio, Glommio, Monoio, Ringio, Smol, Tokio, TokioUring, not_offered},
    scenarios::{Figures, Runtime},
};

/// How a runtime does with a child what the scenarios ask for; `/bin/sh` runs the script.
pub(super) trait Parent: Runtime {
    /// Waits for the child's end under a limit that is too short, then without; its exit code.
    async fn status_after_a_timed_out_wait(_script: &str, _limit: Duration) -> io::Result<Option<i32>> {
        not_offered()
    }

    /// Collects the child's output up to its end under a limit that is too short, then without; all that came out.
    async fn output_after_a_timed_out_wait(_script: &str, _limit: Duration) -> io::Result<Vec<u8>> {
        not_offered()
    }

    /// Starts a child and drops its handle.
    async fn drop_a_child(_script: &str) -> io::Result<()> {
        not_offered()
    }
}

pub(super) const STATUS: &str = "7 child: status after a timed-out wait: lost";
pub(super) const OUTPUT: &str = "7o its output after a timed-out wait for all of it: lost";
pub(super) const ZOMBIES: &str = "7z zombies of 50 dropped handles: while it runs, and after its end";

/// Too short for a child that sleeps before its end.
const LIMIT: Duration = Duration::from_millis(10);

pub(super) fn status<R: Parent>(runs: usize) -> io::Result<Figures> {
    let lost = R::block_on(async move {
        let mut lost = 0;
        for _ in 0..runs {
            let code = R::status_after_a_timed_out_wait("sleep 0.05; exit 7", LIMIT).await?;
            lost += usize::from(code != Some(7));
        }
        io::Result::Ok(lost)
    })?;
    Ok(vec![(STATUS, Verdict::count(lost, runs))])
}

pub(super) fn output<R: Parent>(runs: usize) -> io::Result<Figures> {
    let lost = R::block_on(async move {
        let mut lost = 0;
        for _ in 0..runs {
            let output = R::output_after_a_timed_out_wait("printf abc; sleep 0.05; printf def", LIMIT).await?;
            lost += usize::from(output != b"abcdef");
        }
        io::Result::Ok(lost)
    })?;
    Ok(vec![(OUTPUT, Verdict::count(lost, runs))])
}

const CHILDREN: usize = 50;

/// Longer than any of these children lives.
const ENDED: Duration = Duration::from_millis(800);

pub(super) fn zombies<R: Parent>() -> io::Result<Figures> {
    let alive = R::block_on(async {
        for _ in 0..CHILDREN {
            R::drop_a_child("sleep 0.05").await?;
        }
        R::sleep(ENDED).await;
        count_zombies()
    })?;
    R::block_on(async {
        for _ in 0..CHILDREN {
            R::drop_a_child("sleep 0.3").await?;
        }
        io::Result::Ok(())
    })?;
    std::thread::sleep(ENDED);
    let after = count_zombies()?;
    Ok(vec![(ZOMBIES, Verdict { shown: format!("{alive}, {after}"), lost: alive + after > 0 })])
}

/// Children of this process that have ended and were not reaped.
fn count_zombies() -> io::Result<usize> {
    let own = std::process::id().to_string();
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        // Others come and go meanwhile.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        count += usize::from(fields.next() == Some("Z") && fields.next() == Some(&own));
    }
    Ok(count)
}

impl<const OWNED: bool> Parent for Ringio<OWNED> {
    async fn status_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Option<i32>> {
        let child = ringio::create_subprocess_shell(script).await?;
        assert!(ringio::wait_for(child.wait(), limit).await.is_err(), "it sleeps longer");
        Ok(child.wait().await?.code())
    }

    async fn output_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Vec<u8>> {
        let mut child = ringio::create_subprocess_shell(script).stdout(ringio::Stdio::Pipe).await?;
        assert!(ringio::wait_for(child.communicate(None), limit).await.is_err(), "it sleeps longer");
        Ok(child.communicate(None).await?.0.unwrap_or_default())
    }

    async fn drop_a_child(script: &str) -> io::Result<()> {
        ringio::create_subprocess_shell(script).await.map(drop)
    }
}

/// `/bin/sh -c SCRIPT`, by the command type of a runtime's.
macro_rules! shell {
    ($command:path, $script:expr) => {{
        let mut command = <$command>::new("/bin/sh");
        command.args(["-c", $script]);
        command
    }};
}

impl Parent for Tokio {
    async fn status_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Option<i32>> {
        let mut child = shell!(tokio::process::Command, script).spawn()?;
        assert!(tokio::time::timeout(limit, child.wait()).await.is_err(), "it sleeps longer");
        Ok(child.wait().await?.code())
    }

    async fn output_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Vec<u8>> {
        let child = shell!(tokio::process::Command, script).stdout(std::process::Stdio::piped()).spawn()?;
        // It takes the child along.
        let output = tokio::time::timeout(limit, child.wait_with_output()).await;
        output.map_or(Ok(Vec::new()), |output| Ok(output?.stdout))
    }

    async fn drop_a_child(script: &str) -> io::Result<()> {
        shell!(tokio::process::Command, script).spawn().map(drop)
    }
}

impl Parent for Smol {
    async fn status_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Option<i32>> {
        let mut child = shell!(smol::process::Command, script).spawn()?;
        assert!(Smol::within(limit, child.status()).await?.is_none(), "it sleeps longer");
        Ok(child.status().await?.code())
    }

    async fn output_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Vec<u8>> {
        let child = shell!(smol::process::Command, script).stdout(std::process::Stdio::piped()).spawn()?;
        // It takes the child along.
        let output = Smol::within(limit, child.output()).await?;
        Ok(output.map(|output| output.stdout).unwrap_or_default())
    }

    async fn drop_a_child(script: &str) -> io::Result<()> {
        shell!(smol::process::Command, script).spawn().map(drop)
    }
}

impl Parent for Compio {
    async fn status_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Option<i32>> {
        let child = shell!(compio::process::Command, script).spawn()?;
        // It takes the child along.
        let status = Compio::within(limit, child.wait()).await?;
        Ok(status.and_then(|status| status.code()))
    }

    async fn output_after_a_timed_out_wait(script: &str, limit: Duration) -> io::Result<Vec<u8>> {
        let mut command = shell!(compio::process::Command, script);
        let Ok(command) = command.stdout(std::process::Stdio::piped());
        let output = Compio::within(limit, command.spawn()?.wait_with_output()).await?;
        Ok(output.map(|output| output.stdout).unwrap_or_default())
    }

    async fn drop_a_child(script: &str) -> io::Result<()> {
        shell!(compio::process::Command, script).spawn().map(drop)
    }
}

impl Parent for Monoio {}

impl Parent for Glommio {}

impl Parent for TokioUring {}
