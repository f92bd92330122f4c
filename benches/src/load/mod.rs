//! How fast does an echo server answer? A closed loop over many connections, itself on io_uring.
//!
//! Guards: every byte that comes back is compared; one latency sample per message; the generator reports its own CPU,
//! so that one sees when it is the bottleneck.

mod connection;
mod pattern;

use std::{
    io::{self, IsTerminal},
    mem::ManuallyDrop,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, IntoRawFd},
    sync::OnceLock,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use io_uring::{CompletionQueue, IoUring, cqueue, opcode, types};

use self::{
    connection::{Connection, RECEIVE, SEND, Sent},
    pattern::Pattern,
};
use crate::{
    cells::Cell,
    child,
    raw::{
        buffers::BufferRing,
        ring::{self, Queue},
    },
};

const TICK: u64 = 0;
const TICK_MS: u32 = 10;
/// A server that says nothing for so long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const BUFFERS: u16 = 256;
const BUFFER_LEN: u32 = 16 * 1024;

/// One slice: after `warmup`, for `duration`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
}

/// What happened in one slice, between two marks of the caller's.
pub(crate) struct Slice<M> {
    pub(crate) before: M,
    pub(crate) after: M,
    /// Messages that came back whole within the slice, and how long it really was.
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency_ns: Latency,
    /// CPU of this thread within the slice.
    pub(crate) load_cpu: Duration,
}

pub(crate) type Latency = Histogram<u32>;

/// 100 ns to a minute, within 1 %.
pub(crate) fn latency() -> io::Result<Latency> {
    Histogram::new_with_bounds(100, 60_000_000_000, 2).map_err(io::Error::other)
}

/// One after the other, each within the server's backlog. Closing them later resets them: no TIME_WAIT is left behind.
fn connect(address: SocketAddr, cell: Cell) -> io::Result<Vec<Connection>> {
    let connect_one = |index| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: setsockopt reads one linger, which lives on this stack.
        let set = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Connection::new(stream.into_raw_fd(), index))
    };
    (0..cell.connections).map(connect_one).collect()
}

/// The ring of one load.
pub(crate) fn ring() -> io::Result<IoUring> {
    ring::new(1024, 8 * 1024)
}

/// All connections to one server. It says nothing between two slices.
pub(crate) struct Load<'ring> {
    queue: Queue<'ring>,
    completions: CompletionQueue<'ring>,
    /// Dropped only when the kernel writes no more into them: `close(ring)` does not wait.
    buffers: ManuallyDrop<BufferRing>,
    pattern: &'static Pattern,
    cell: Cell,
    connections: Vec<Connection>,
    /// When each message in flight was sent, `pipeline` of them per connection, in ns since `epoch`.
    sent_at: Vec<u64>,
    /// Receives that ended for want of buffers.
    rearm: Vec<u32>,
    /// Operations with the kernel, and messages with the server.
    in_flight: usize,
    outstanding: usize,
    /// Answered messages are followed by new ones.
    running: bool,
    latency_ns: Latency,
    requests: u64,
    /// Moves on with every pause.
    epoch: Instant,
    progress: Progress,
}

impl<'ring> Load<'ring> {
    pub(crate) fn connect(ring: &'ring mut IoUring, address: SocketAddr, cell: Cell) -> io::Result<Load<'ring>> {
        static PATTERN: OnceLock<Pattern> = OnceLock::new();
        let (queue, completions) = ring::split(ring);
        let buffers = BufferRing::new(&queue.submitter, BUFFERS, BUFFER_LEN, 0)?;
        let mut load = Load {
            queue,
            completions,
            buffers: ManuallyDrop::new(buffers),
            pattern: PATTERN.get_or_init(Pattern::new),
            cell,
            connections: connect(address, cell)?,
            sent_at: vec![0; cell.connections * cell.pipeline],
            rearm: Vec::new(),
            in_flight: 0,
            outstanding: 0,
            running: false,
            latency_ns: latency()?,
            requests: 0,
            epoch: Instant::now(),
            progress: Progress::new(),
        };
        let tick = types::Timespec::new().sec(0).nsec(TICK_MS * 1_000_000);
        let multishot = types::TimeoutFlags::MULTISHOT;
        let entry = opcode::Timeout::new(&tick).count(0).flags(multishot).build().user_data(TICK);
        // SAFETY: the kernel reads `tick` when the entry is submitted, which the turn below does.
        unsafe { load.queue.push(&entry) }?;
        load.turn()?;
        for index in 0..cell.connections {
            load.receive(index as u32)?;
        }
        Ok(load)
    }

    /// Loads the server, then lets it come to rest. `mark` is called at both ends of what is measured: it reads the
    /// server's CPU clock, say. The load stands still meanwhile, and no latency counts it.
    pub(crate) fn slice<M>(&mut self, plan: Plan, mut mark: impl FnMut() -> io::Result<M>) -> io::Result<Slice<M>> {
        self.start()?;
        self.turn_for(plan.warmup)?;
        let before = self.paused(&mut mark)?;
        let requests = self.requests;
        self.latency_ns = latency()?;
        let (start, cpu) = (Instant::now(), child::thread_cpu()?);
        self.turn_for(plan.duration)?;
        let (elapsed, load_cpu) = (start.elapsed(), child::thread_cpu()? - cpu);
        let requests = self.requests - requests;
        let latency_ns = std::mem::replace(&mut self.latency_ns, latency()?);
        let after = self.paused(&mut mark)?;
        self.stop()?;
        self.progress.clear();
        Ok(Slice { before, after, requests, elapsed, latency_ns, load_cpu })
    }

    fn paused<T>(&mut self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let start = Instant::now();
        let done = work();
        self.epoch += start.elapsed();
        done
    }

    fn start(&mut self) -> io::Result<()> {
        self.running = true;
        self.outstanding = self.cell.connections * self.cell.pipeline;
        let now_ns = self.now_ns();
        self.sent_at.fill(now_ns);
        for index in 0..self.connections.len() {
            self.connections[index].due += (self.cell.size * self.cell.pipeline) as u32;
            self.send(index as u32)?;
            // A few at a time, or the first burst alone would fill the queues.
            if index % 256 == 255 {
                self.turn()?;
            }
        }
        Ok(())
    }

    fn turn_for(&mut self, duration: Duration) -> io::Result<()> {
        let end_ns = self.now_ns() + duration.as_nanos() as u64;
        self.turn_until(|load| load.now_ns() >= end_ns)
    }

    fn stop(&mut self) -> io::Result<()> {
        self.running = false;
        self.turn_until(|load| load.outstanding == 0)
    }

    fn turn_until(&mut self, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let mut heard_ns = self.now_ns();
        while !done(self) {
            let heard = self.turn()?;
            let now_ns = self.now_ns();
            if heard {
                heard_ns = now_ns;
            } else if now_ns - heard_ns > SILENCE_MAX.as_nanos() as u64 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server says nothing any more"));
            }
            self.progress.show(now_ns, self.requests, self.cell);
        }
        Ok(())
    }

    /// One enter, one sweep. Whether anything but the clock was heard.
    fn turn(&mut self) -> io::Result<bool> {
        self.queue.turn()?;
        self.completions.sync();
        let now_ns = self.now_ns();
        let mut heard = false;
        while let Some(completion) = self.completions.next() {
            let index = completion.user_data() as u32;
            match completion.user_data() & !u64::from(u32::MAX) {
                RECEIVE => self.received(index, &completion, now_ns)?,
                SEND => self.sent(index, completion.result())?,
                _tick => continue,
            }
            heard = true;
        }
        self.completions.sync();
        self.buffers.publish();
        while let Some(index) = self.rearm.pop() {
            self.receive(index)?;
        }
        Ok(heard)
    }

    fn received(&mut self, index: u32, completion: &cqueue::Entry, now_ns: u64) -> io::Result<()> {
        let more = cqueue::more(completion.flags());
        if !more {
            self.in_flight -= 1;
        }
        let id = cqueue::buffer_select(completion.flags());
        match (completion.result(), id) {
            (len @ 1.., Some(id)) => {
                // SAFETY: this completion reports `len` bytes in buffer `id`; it is given back below.
                let bytes = unsafe { self.buffers.received(id, len as usize) };
                let connection = &mut self.connections[index as usize];
                connection.verify(self.pattern, bytes, index)?;
                let whole = connection.complete(bytes.len(), self.cell.size);
                self.buffers.give(id);
                self.answered(index, whole, now_ns);
                self.send(index)?;
            }
            (error, _) if error == -libc::ENOBUFS => {}
            (0, _) => return Err(broken(index, "closed by the server")),
            (error, _) => return Err(broken(index, &io::Error::from_raw_os_error(-error).to_string())),
        }
        if !more {
            self.rearm.push(index);
        }
        Ok(())
    }

    /// `count` messages came back whole: as many more are due.
    fn answered(&mut self, index: u32, count: usize, now_ns: u64) {
        let connection = &mut self.connections[index as usize];
        let times = &mut self.sent_at[index as usize * self.cell.pipeline..][..self.cell.pipeline];
        for _ in 0..count {
            let sent_at = std::mem::replace(&mut times[connection.oldest as usize], now_ns);
            connection.oldest += 1;
            if connection.oldest as usize == times.len() {
                connection.oldest = 0;
            }
            self.latency_ns.saturating_record(now_ns - sent_at);
        }
        self.requests += count as u64;
        if self.running {
            connection.due += (count * self.cell.size) as u32;
        } else {
            self.outstanding -= count;
        }
    }

    fn sent(&mut self, index: u32, result: i32) -> io::Result<()> {
        self.in_flight -= 1;
        if result < 0 {
            return Err(broken(index, &io::Error::from_raw_os_error(-result).to_string()));
        }
        self.connections[index as usize].sent(result as usize);
        self.send(index)
    }

    fn send(&mut self, index: u32) -> io::Result<()> {
        if let Sent::Now(entry) = self.connections[index as usize].send(self.pattern, index) {
            self.in_flight += 1;
            // SAFETY: it points into the pattern, which is never dropped.
            unsafe { self.queue.push(&entry) }?;
        }
        Ok(())
    }

    fn receive(&mut self, index: u32) -> io::Result<()> {
        self.in_flight += 1;
        let entry = self.connections[index as usize].receive(index);
        // SAFETY: it points to no memory; the buffers outlive the ring's use of them (`drop`).
        unsafe { self.queue.push(&entry) }
    }

    fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Shuts all connections down and waits for the last completion of each operation.
    fn end(&mut self) -> io::Result<()> {
        for connection in &self.connections {
            connection.shut_down();
        }
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.in_flight > 0 && Instant::now() < deadline {
            self.queue.turn()?;
            self.completions.sync();
            for completion in self.completions.by_ref() {
                if let Some(id) = cqueue::buffer_select(completion.flags()) {
                    self.buffers.give(id);
                }
                if completion.user_data() != TICK && !cqueue::more(completion.flags()) {
                    self.in_flight -= 1;
                }
            }
            self.completions.sync();
            self.buffers.publish();
        }
        if self.in_flight > 0 {
            return Err(io::Error::other(format!("{} operations did not end", self.in_flight)));
        }
        Ok(())
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if self.end().is_ok() {
            // SAFETY: nothing is in flight any more, and the field is not used behind this.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
    }
}

fn broken(index: u32, how: &str) -> io::Error {
    io::Error::other(format!("connection {index}: {how}"))
}

/// One line that overwrites itself, on a terminal.
struct Progress {
    enabled: bool,
    next_ns: u64,
    last: (u64, u64),
}

impl Progress {
    fn new() -> Progress {
        Progress { enabled: io::stderr().is_terminal(), next_ns: 0, last: (0, 0) }
    }

    fn show(&mut self, now_ns: u64, requests: u64, cell: Cell) {
        if !self.enabled || now_ns < self.next_ns {
            return;
        }
        let (last_ns, last_requests) = std::mem::replace(&mut self.last, (now_ns, requests));
        let rps = (requests - last_requests) as f64 * 1e9 / (now_ns - last_ns).max(1) as f64;
        eprint!("\r{cell}  {:5.1} s  {rps:>10.0} messages/s ", now_ns as f64 / 1e9);
        self.next_ns = now_ns + 250_000_000;
    }

    fn clear(&self) {
        if self.enabled {
            eprint!("\r{:70}\r", "");
        }
    }
}

/// `ringio-bench load`: against any TCP echo server.
pub(crate) fn report(address: SocketAddr, cell: Cell, duration: Duration) -> io::Result<()> {
    let plan = Plan { warmup: Duration::from_millis(300), duration };
    let mut ring = ring()?;
    let slice = Load::connect(&mut ring, address, cell)?.slice(plan, || Ok(()))?;
    let rps = slice.requests as f64 / slice.elapsed.as_secs_f64();
    println!(
        "{cell} to {address}: {} messages in {:.2} s = {rps:.0}/s, {:.1} MB/s each way, every byte verified",
        slice.requests,
        slice.elapsed.as_secs_f64(),
        rps * cell.size as f64 / 1e6,
    );
    let latency_us = |quantile| slice.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "latency us: p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
        latency_us(0.5),
        latency_us(0.9),
        latency_us(0.99),
        latency_us(0.999),
        latency_us(1.0),
    );
    let busy = slice.load_cpu.as_secs_f64() / slice.elapsed.as_secs_f64();
    println!(
        "load generator: {:.2} us CPU per message, busy {:.0} %{}",
        slice.load_cpu.as_secs_f64() * 1e6 / slice.requests.max(1) as f64,
        busy * 100.0,
        if busy > 0.9 { " - it may be the bottleneck, not the server" } else { "" },
    );
    Ok(())
}
