//! A future that is forgotten is a warning: contract DB5, DB4. The cases are compiled with warnings as errors.

use ringio::{Runner, Task, TcpStream, sleep, start_server, timeout, to_thread, wait_for, yield_now};
use std::{io, time::Duration};

const MOMENT: Duration = Duration::from_millis(1);

pub async fn forgotten(mut stream: TcpStream) -> io::Result<()> {
    sleep(MOMENT); //~ a wait does nothing until it is awaited
    yield_now(); //~ a wait does nothing until it is awaited
    timeout(MOMENT, async |_| io::Result::Ok(())); //~ futures do nothing unless you `.await` or poll them
    wait_for(async { io::Result::Ok(()) }, MOMENT); //~ futures do nothing unless you `.await` or poll them
    start_server(async |_, _| (), "127.0.0.1:0"); //~ a server is started when this is awaited
    stream.write(vec![1]); //~ futures do nothing unless you `.await` or poll them
    stream.read(Vec::with_capacity(1)).await; //~ holds your buffer
    stream.close().await
}

pub async fn a_thread_awaits_nothing() {
    // What it would return is a future that nobody runs.
    to_thread(async || 7).await.unwrap(); //~ that must be used
}

pub fn not_built() {
    Runner::builder(); //~ call build()
    Task::builder(); //~ call spawn()
}
