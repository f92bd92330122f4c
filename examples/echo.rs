//! An echo server on one ring, driven from another core over TCP: requests per second, latency, CPU per request.
//! `RINGIO_ECHO_SECONDS` (3) and `RINGIO_ECHO_CONNECTIONS` (50) change how long and how wide.

use std::{
    cell::RefCell, env, error::Error, io, net::SocketAddr, rc::Rc, sync::mpsc, thread, time::Duration, time::Instant,
};

use hdrhistogram::Histogram;
use nix::{sched, time, unistd::Pid};
use ringio::{Descriptor, StreamReader, StreamWriter};

const MESSAGE: [u8; 64] = [b'x'; 64];

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(64 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

/// Serves until the other end of `stop` is closed; returns the CPU time that took.
async fn serve(address: mpsc::Sender<SocketAddr>, stop: io::PipeReader) -> io::Result<Duration> {
    let server = ringio::start_server(echo, "127.0.0.1:0").backlog(1024).await?;
    address.send(server.sockets()[0]).map_err(io::Error::other)?;
    Descriptor::new(stop.into()).read(vec![0; 1]).await.0?;
    Ok(time::clock_gettime(time::ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// One connection: a message, its echo, the next message.
async fn drive(address: SocketAddr, end: Instant, latency: Rc<RefCell<Histogram<u64>>>) -> io::Result<()> {
    let (mut reader, mut writer) = ringio::open_connection(address).await?;
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(());
        }
        writer.write(&MESSAGE)?;
        assert_eq!(reader.readexactly(MESSAGE.len()).await?, MESSAGE[..], "the echo differs from the message");
        latency.borrow_mut().saturating_record(start.elapsed().as_nanos() as u64);
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut cpus = sched::CpuSet::new();
    cpus.set(cpu % thread::available_parallelism().map_or(1, usize::from))?;
    Ok(sched::sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

fn setting(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (seconds, connections) = (setting("RINGIO_ECHO_SECONDS", 3), setting("RINGIO_ECHO_CONNECTIONS", 50));
    let (send_address, address) = mpsc::channel();
    let (stop, stopper) = io::pipe()?;
    let server = thread::spawn(move || pin(0).and_then(|()| ringio::run(serve(send_address, stop))));
    pin(1)?;
    let (address, latency) = (address.recv()?, Rc::new(RefCell::new(Histogram::new_with_max(1 << 36, 3)?)));
    ringio::run(async {
        let end = Instant::now() + Duration::from_secs(seconds);
        let start = |_| ringio::create_task(drive(address, end, latency.clone()));
        for task in (0..connections).map(start).collect::<Vec<_>>() {
            task.await?;
        }
        io::Result::Ok(())
    })?;
    drop(stopper);
    let cpu = server.join().map_err(|_| "the server panicked")??.as_secs_f64() * 1e6;
    let (latency, count) = (latency.borrow(), latency.borrow().len() as f64);
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!("{:.0} requests/s of 64 bytes over {connections} TCP connections", count / seconds as f64);
    println!("latency p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us", us(0.5), us(0.99), us(0.999));
    println!("server CPU {:.2} us per request", cpu / count);
    Ok(())
}
