//! asyncio's documentation, "Creating Subprocesses": runs a shell command and obtains its result; then two of them at once.

use std::io;

use ringio::{Stdio, create_subprocess_shell, create_task};

async fn run(cmd: &str) -> io::Result<()> {
    let mut proc = create_subprocess_shell(cmd).stdout(Stdio::Pipe).stderr(Stdio::Pipe).await?;

    let (stdout, stderr) = proc.communicate(None).await?;

    println!("['{cmd}' exited with {}]", proc.returncode().expect("it has ended"));
    let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
    if !stdout.is_empty() {
        println!("[stdout]\n{}", String::from_utf8_lossy(&stdout));
    }
    if !stderr.is_empty() {
        println!("[stderr]\n{}", String::from_utf8_lossy(&stderr));
    }
    Ok(())
}

async fn both() -> io::Result<()> {
    let first = create_task(run("ls /zzz"));
    let second = create_task(run("sleep 0.1; echo 'hello'"));
    first.await?;
    second.await
}

fn main() -> io::Result<()> {
    ringio::run(run("ls /zzz"))?;
    ringio::run(both())
}
