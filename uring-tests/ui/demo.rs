//! Programs as users write them: what has to infer, does. They are compiled, not run.

use ringio::{
    CancelledError, StreamReader, StreamWriter, create_task, open_connection, sleep, start_server, timeout, wait_for,
};
use std::{error::Error, io, rc::Rc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

async fn interrupted() -> Result<(), CancelledError> {
    println!("waiting");
    let waited = sleep(3600 * SECOND).await;
    if waited.is_err() {
        println!("cleaning up");
    }
    waited
}

pub fn cancel_from_main() {
    let _ = ringio::run(async {
        let task = create_task(interrupted());
        sleep(SECOND).await?;
        task.cancel();
        match task.await {
            Err(CancelledError) => println!("it was cancelled"),
            Ok(()) => {}
        }
        Ok::<_, CancelledError>(())
    });
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(16 * 1024).await?;
        if data.is_empty() {
            break;
        }
        writer.write(&data)?;
        writer.drain().await?;
    }
    writer.close();
    writer.wait_closed().await
}

pub async fn handler_by_name() -> io::Result<()> {
    let server = start_server(echo, "127.0.0.1:0").backlog(128).await?;
    server.serve_forever().await
}

pub async fn handler_as_closure_with_state() -> io::Result<()> {
    let greeting: Rc<str> = "hello\n".into();
    let server = start_server(
        move |mut reader: StreamReader, mut writer: StreamWriter| {
            let greeting = greeting.clone();
            async move {
                writer.write(greeting.as_bytes())?;
                let line = wait_for(reader.readline(), SECOND).await?;
                writer.write(&line)?;
                io::Result::Ok(())
            }
        },
        "127.0.0.1:0",
    )
    .await?;
    server.serve_forever().await
}

pub async fn handler_that_cannot_fail() -> io::Result<()> {
    let server = start_server(
        async |mut reader: StreamReader, mut writer: StreamWriter| {
            while let Ok(line) = reader.readline().await {
                if line.is_empty() || writer.write(&line).is_err() {
                    break;
                }
            }
        },
        "127.0.0.1:0",
    )
    .await?;
    server.serve_forever().await
}

pub async fn limits_and_tasks(mut reader: StreamReader) -> io::Result<()> {
    let line = timeout(SECOND, async |_| {
        let line = reader.readline().await?;
        io::Result::Ok(line)
    })
    .await?;
    println!("{} bytes", line.len());
    let rest = timeout(SECOND, async |limit| {
        println!("until {:?}", limit.when());
        reader.read(1024).await
    });
    println!("{} more", rest.await?.len());
    create_task(async {
        let _ = sleep(SECOND).await;
    });
    create_task(async {
        sleep(SECOND).await?;
        Ok::<_, CancelledError>(7)
    });
    Ok(())
}

pub async fn errors_of_every_kind() -> Result<(), Box<dyn Error>> {
    sleep(SECOND).await?;
    let task = create_task(async {
        sleep(SECOND).await?;
        let number: i32 = "4".parse()?;
        Ok::<_, Box<dyn Error>>(number)
    });
    println!("{}", task.await?);
    println!("{}", wait_for(slow_square(3), SECOND).await?);
    let (_, writer) = open_connection("127.0.0.1:1").await?;
    println!("{}", writer.peer_addr()?);
    Ok(())
}

async fn slow_square(number: u64) -> io::Result<u64> {
    sleep(SECOND).await?;
    Ok(number * number)
}
