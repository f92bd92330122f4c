//! asyncio's documentation, "Subprocesses": asks a program for the time and reads the line it answers with.

use std::io;

use ringio::{Stdio, create_subprocess_exec};

async fn get_date() -> io::Result<String> {
    let code = "+%Y-%m-%d %H:%M:%S";

    // Create the subprocess; redirect the standard output into a pipe.
    let mut proc = create_subprocess_exec("date").arg(code).stdout(Stdio::Pipe).await?;

    // Read one line of output.
    let data = proc.stdout.as_mut().expect("it is a pipe").readline().await?;
    let line = String::from_utf8_lossy(&data).trim_end().to_owned();

    // Wait for the subprocess exit.
    proc.wait().await?;
    Ok(line)
}

fn main() -> io::Result<()> {
    let date = ringio::run(get_date())?;
    println!("Current date: {date}");
    Ok(())
}
