//! The scenarios, once for all runtimes. Guards: a run in which nothing raced counts as a run, so the counts of losses are
//! a lower bound; who loses nothing has to lose nothing in any of them.

use std::{
    cell::Cell,
    fs, io,
    io::Write,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Verdict, children,
    children::Parent,
    peer::{self, Racer},
    sharing,
    sharing::Sharing,
};

/// How a runtime does what the scenarios ask for. Every wait is the runtime's own, cancelled by its own timeout.
pub(super) trait Runtime: 'static {
    type Stream: 'static;
    type Listener: 'static;

    /// Runs a future in a fresh runtime, and ends that.
    fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T;
    /// Runs a future beside; nobody waits for it.
    fn spawn(future: impl Future<Output = ()> + 'static);
    async fn sleep(time: Duration);
    /// Ends a wait after some time, as the runtime's users do; `None` then.
    async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>>;

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream>;
    /// Listens on a port of its own.
    async fn listen() -> io::Result<(Self::Listener, SocketAddr)>;
    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
    /// What comes next, at most so many bytes.
    async fn read(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>>;
    async fn read_exactly(stream: &mut Self::Stream, len: usize) -> io::Result<Vec<u8>>;
    /// One write; how much of it was written.
    async fn write(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<usize>;
    async fn write_all(stream: &mut Self::Stream, data: Vec<u8>) -> io::Result<()>;
    /// Sends what is still to be sent, and ends the stream.
    async fn close(stream: Self::Stream);
    /// What becomes of the buffer of a read that times out.
    async fn buffer_of_a_timed_out_read(stream: &mut Self::Stream, limit: Duration) -> &'static str;
    /// Starts a task, and cancels it when it waits; false where that cannot be done.
    async fn cancel_task(body: impl Future<Output = ()> + 'static) -> bool;
}

pub(super) const ROWS: [&str; 14] = [
    READ,
    READ_EXACTLY,
    ACCEPT,
    DESCRIPTORS,
    BUFFER,
    WRITE,
    COUNT,
    CLEAN_UP,
    children::STATUS,
    children::OUTPUT,
    children::ZOMBIES,
    sharing::GRANT,
    sharing::ITEM,
    END,
];

const READ: &str = "1 read under a racing timeout: bytes lost";
const READ_EXACTLY: &str = "2 read-exactly(10), 3 bytes before the timeout, 7 after: the 3 lost";
const ACCEPT: &str = "3 accept under a racing timeout: clients lost";
const DESCRIPTORS: &str = "3 and descriptors leaked by it";
const BUFFER: &str = "4 buffer back from a timed-out read";
const WRITE: &str = "5 8 MiB write timed out, then a message: what the peer sees";
const COUNT: &str = "5c the caller counts its own single writes: the count is wrong";
const CLEAN_UP: &str = "6 the cancelled task can wait in its clean-up";
const END: &str = "9 runtime ended with 500 operations in flight: descriptors left";

pub(super) type Figures = Vec<(&'static str, Verdict)>;

/// One row, by its number.
pub(super) fn run<R: Parent + Sharing>(row: &str, runs: usize) -> io::Result<Figures> {
    let (name, figures) = match row {
        "1" => (READ, read::<R>(runs)),
        "2" => (READ_EXACTLY, read_exactly::<R>(runs.div_ceil(10))),
        "3" => (ACCEPT, accept::<R>(runs)),
        "4" => (BUFFER, buffer::<R>()),
        "5" => (WRITE, write::<R>(runs.div_ceil(50))),
        "5c" => (COUNT, count::<R>(runs.div_ceil(20))),
        "6" => (CLEAN_UP, clean_up::<R>()),
        "7" => (children::STATUS, children::status::<R>(runs.div_ceil(20))),
        "7o" => (children::OUTPUT, children::output::<R>(runs.div_ceil(20))),
        "7z" => (children::ZOMBIES, children::zombies::<R>()),
        "8" => (sharing::GRANT, sharing::grant::<R>(runs)),
        "8i" => (sharing::ITEM, sharing::item::<R>(runs)),
        "9" => (END, end::<R>()),
        other => return Err(io::Error::other(format!("no row '{other}'"))),
    };
    match figures {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(vec![(name, Verdict::words("-", false))]),
        figures => figures,
    }
}

/// The timeout of a race, and when the event comes: anywhere around it.
const LIMIT: Duration = Duration::from_millis(2);

fn around_the_limit(round: usize) -> Duration {
    // Most of them close to it: runtimes round timeouts up to the next millisecond or two.
    let steps = [900, 1000, 1400, 1800, 1950, 2000, 2030, 2060, 2100, 2150, 2200, 2400, 2700, 3000, 3030, 3060, 3100];
    Duration::from_micros(steps[round % steps.len()] + (round * 37 % 90) as u64)
}

/// Long enough for whatever is still on its way.
const SETTLED: Duration = Duration::from_millis(300);

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn read<R: Runtime>(runs: usize) -> io::Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let got = R::block_on(async move {
        let mut stream = R::connect(address).await?;
        let peer = peer::accept(&listener)?;
        let racer = Racer::new();
        let mut got = Vec::new();
        for round in 0..runs {
            let mut writer = peer.try_clone()?;
            racer.after(around_the_limit(round), move || writer.write_all(&[round as u8]).expect("a byte fits"));
            if let Some(bytes) = R::within(LIMIT, R::read(&mut stream, 64)).await? {
                got.extend(bytes);
            }
        }
        racer.finish();
        drop(peer);
        // What is still there, up to the end. A read that was never ended may have taken that: then it is over, too.
        while let Some(bytes) = R::within(SETTLED, R::read(&mut stream, 64)).await? {
            if bytes.is_empty() {
                break;
            }
            got.extend(bytes);
        }
        io::Result::Ok(got.len())
    })?;
    Ok(vec![(READ, Verdict::count(runs - got.min(runs), runs))])
}

fn read_exactly<R: Runtime>(runs: usize) -> io::Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let lost = R::block_on(async move {
        let mut lost = 0;
        for _ in 0..runs {
            let mut stream = R::connect(address).await?;
            let mut peer = peer::accept(&listener)?;
            peer.write_all(b"abc")?;
            let early = R::within(Duration::from_millis(5), R::read_exactly(&mut stream, 10)).await?;
            assert!(early.is_none(), "ten bytes never came");
            peer.write_all(b"defghij")?;
            drop(peer);
            let mut got = Vec::new();
            while let Some(bytes) = R::within(SETTLED, R::read(&mut stream, 64)).await? {
                if bytes.is_empty() {
                    break;
                }
                got.extend(bytes);
            }
            lost += usize::from(got != b"abcdefghij");
        }
        io::Result::Ok(lost)
    })?;
    Ok(vec![(READ_EXACTLY, Verdict::count(lost, runs))])
}

fn accept<R: Runtime>(runs: usize) -> io::Result<Figures> {
    let (served, leaked) = R::block_on(async move {
        let (listener, address) = R::listen().await?;
        // Whatever is made on first use.
        let first = peer::client(address, 0);
        drop((R::accept(&listener).await?, first));
        R::sleep(SETTLED).await;
        let before = descriptors();
        let racer = Racer::new();
        let mut served = 0;
        for round in 0..runs {
            racer.after(around_the_limit(round), move || drop(peer::client(address, round as u32)));
            if let Some(stream) = R::within(LIMIT, R::accept(&listener)).await? {
                served += 1;
                drop(stream);
            }
        }
        racer.finish();
        while let Some(stream) = R::within(SETTLED, R::accept(&listener)).await? {
            served += 1;
            drop(stream);
        }
        R::sleep(SETTLED).await;
        io::Result::Ok((served, descriptors().saturating_sub(before)))
    })?;
    let lost = runs - served.min(runs);
    let leaked = Verdict { shown: leaked.to_string(), lost: leaked > 0 };
    Ok(vec![(ACCEPT, Verdict::count(lost, runs)), (DESCRIPTORS, leaked)])
}

fn buffer<R: Runtime>() -> io::Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let back = R::block_on(async move {
        let mut stream = R::connect(address).await?;
        let _peer = peer::accept(&listener)?;
        io::Result::Ok(R::buffer_of_a_timed_out_read(&mut stream, Duration::from_millis(5)).await)
    })?;
    Ok(vec![(BUFFER, Verdict::words(back, back == "no"))])
}

const LARGE: usize = 8 << 20;
const MESSAGE: &[u8] = b"<a message that comes after it>";

/// Bytes by which one can see where in the whole they stood.
fn pattern() -> Vec<u8> {
    (0..LARGE / 4).flat_map(|word| (word as u32 | 0x8000_0000).to_be_bytes()).collect()
}

/// How a stream looks to the peer: all of the write and the message, a part of it and the message, or neither.
#[derive(Default)]
struct Seen {
    whole: usize,
    prefix: usize,
    torn: usize,
}

fn write<R: Runtime>(runs: usize) -> io::Result<Figures> {
    let listener = peer::narrow_listener()?;
    let address = listener.local_addr()?;
    let seen = R::block_on(async move {
        let mut seen = Seen::default();
        let large = pattern();
        for _ in 0..runs {
            let mut stream = R::connect(address).await?;
            let peer = peer::accept(&listener)?;
            let written = R::within(Duration::from_millis(5), R::write_all(&mut stream, large.clone())).await?;
            assert!(written.is_none(), "8 MiB fit nowhere");
            let reading = peer::read_all(peer);
            R::write_all(&mut stream, MESSAGE.to_vec()).await?;
            R::close(stream).await;
            while !reading.is_finished() {
                R::sleep(Duration::from_millis(1)).await;
            }
            let all = reading.join().expect("a reader that does not panic");
            match all.strip_suffix(MESSAGE) {
                Some(before) if before == large => seen.whole += 1,
                Some(before) if large.starts_with(before) => seen.prefix += 1,
                Some(_) | None => seen.torn += 1,
            }
        }
        io::Result::Ok(seen)
    })?;
    let words = match seen {
        Seen { torn: 1.., .. } => format!("torn {}/{runs}", seen.torn),
        Seen { prefix: 1.., .. } => format!("prefix, count unknown {}/{runs}", seen.prefix),
        Seen { .. } => format!("whole, then the message {}/{runs}", seen.whole),
    };
    // A prefix is what somebody without a queue of writes can keep; bytes out of their order are nobody's.
    Ok(vec![(WRITE, Verdict::words(&words, seen.torn > 0))])
}

fn count<R: Runtime>(runs: usize) -> io::Result<Figures> {
    let listener = peer::narrow_listener()?;
    let address = listener.local_addr()?;
    let wrong = R::block_on(async move {
        let mut wrong = 0;
        for run in 0..runs {
            let mut stream = R::connect(address).await?;
            let peer = peer::accept(&listener)?;
            let mut counted = 0;
            // Into a full connection; and while the peer begins to read.
            let full = Instant::now() + Duration::from_millis(30);
            while Instant::now() < full {
                let written = R::within(Duration::from_millis(3), R::write(&mut stream, vec![1; 64 * 1024])).await?;
                let Some(count) = written else { break };
                counted += count;
            }
            let racer = Racer::new();
            let (give, take) = std::sync::mpsc::channel();
            racer.after(around_the_limit(run), move || drop(give.send(peer::read_all(peer))));
            for _ in 0..20 {
                let written = R::within(LIMIT, R::write(&mut stream, vec![2; 256 * 1024])).await?;
                counted += written.unwrap_or(0);
            }
            racer.finish();
            R::close(stream).await;
            let reading = take.recv().expect("the reader was started");
            while !reading.is_finished() {
                R::sleep(Duration::from_millis(1)).await;
            }
            wrong += usize::from(reading.join().expect("a reader that does not panic").len() != counted);
        }
        io::Result::Ok(wrong)
    })?;
    Ok(vec![(COUNT, Verdict::count(wrong, runs))])
}

fn clean_up<R: Runtime>() -> io::Result<Figures> {
    let cleaned = R::block_on(async {
        let cleaned = Rc::new(Cell::new(false));
        let flag = cleaned.clone();
        let body = async move {
            R::sleep(Duration::from_secs(3600)).await;
            R::sleep(Duration::from_millis(5)).await;
            flag.set(true);
        };
        let cancelled = R::cancel_task(body).await;
        R::sleep(Duration::from_millis(100)).await;
        cancelled.then(|| cleaned.get())
    });
    let verdict = match cleaned {
        Some(true) => Verdict::words("yes", false),
        Some(false) => Verdict::words("no", true),
        None => Verdict::words("- (no cancel of a task)", false),
    };
    Ok(vec![(CLEAN_UP, verdict)])
}

const IN_FLIGHT: usize = 500;

fn end<R: Runtime>() -> io::Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // Once, for what is made on first use and kept.
    one_life::<R>(listener.try_clone()?, address, 1)?;
    let before = descriptors();
    one_life::<R>(listener, address, IN_FLIGHT)?;
    std::thread::sleep(SETTLED);
    // The listener is gone by now.
    let left = (descriptors() + 1).saturating_sub(before);
    Ok(vec![(END, Verdict { shown: left.to_string(), lost: left > 0 })])
}

fn one_life<R: Runtime>(listener: TcpListener, address: SocketAddr, count: usize) -> io::Result<()> {
    R::block_on(async move {
        let mut peers = Vec::new();
        for _ in 0..count {
            let mut stream = R::connect(address).await?;
            peers.push(peer::accept(&listener)?);
            R::spawn(async move {
                let _never = R::read(&mut stream, 64).await;
            });
        }
        R::sleep(Duration::from_millis(50)).await;
        Ok(())
    })
}
