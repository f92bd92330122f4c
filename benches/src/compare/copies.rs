//! Are zero-copy sends and spliced files worth it here? Raw rings, one big stream over loopback TCP to a thread that reads:
//! what is sent copied, or lent until its notification; what is read and sent, or spliced through a pipe. Guards: the
//! decisions to copy, and to read and send.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    thread::{self, JoinHandle},
    time::Instant,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

use super::{Bench, Options};
use crate::{
    child::own_cpu,
    placement::pin,
    raw::ring,
    report::{Spread, Table, number},
};

const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
const BYTES: usize = 512 << 20;
const BYTES_QUICK: usize = 64 << 20;
const FILE_BYTES: usize = 16 << 20;
/// Buffers of one sender, because a lent one comes back late.
const BUFFERS: usize = 8;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Send,
    SendZeroCopy,
    ReadAndSend,
    Splice,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Send, "send"),
    (Way::SendZeroCopy, "send, zero copy"),
    (Way::ReadAndSend, "file: read and send"),
    (Way::Splice, "file: splice"),
];

/// What one run found.
struct Found {
    cpu_ms_per_gb: f64,
    ms_per_gb: f64,
    /// Notifications that said that it was copied nevertheless, of 1.
    copied: f64,
}

pub(super) fn run(bench: &mut Bench, options: &Options) -> io::Result<()> {
    let rounds = options.rounds(5, 1);
    let bytes = if options.quick { BYTES_QUICK } else { BYTES };
    println!(
        "\ncopies: {} MiB over loopback, {rounds} rounds; CPU of both ends and of the kernel's workers",
        bytes >> 20
    );
    let mut found: Vec<(usize, Way, Found)> = Vec::new();
    for _ in 0..rounds {
        for size in SIZES {
            for (way, _) in WAYS {
                found.push((size, way, once(bench, way, size, bytes)?));
            }
        }
    }
    let mut table = Table::new(&["", "piece KiB", "CPU ms/GB [min-max]", "ms/GB [min-max]", "copied"]);
    for (way, name) in WAYS {
        for size in SIZES {
            let of = |figure: fn(&Found) -> f64| {
                let there = found.iter().filter(|run| run.0 == size && run.1 == way);
                Spread::of(there.map(|run| figure(&run.2)))
            };
            let (Some(cpu), Some(time)) = (of(|run| run.cpu_ms_per_gb), of(|run| run.ms_per_gb)) else { continue };
            let copied = of(|run| run.copied).map_or(0.0, |copied| copied.median);
            let copied = if way == Way::SendZeroCopy { number(copied) } else { String::new() };
            table.row(vec![name.to_owned(), (size >> 10).to_string(), cpu.show(), time.show(), copied]);
        }
    }
    table.print();
    Ok(())
}

fn once(bench: &Bench, way: Way, size: usize, bytes: usize) -> io::Result<Found> {
    let (stream, reader) = connection(bench.cpus.load)?;
    let mut sender = Sender::new(size)?;
    let (begun, cpu) = (Instant::now(), own_cpu()?);
    let mut sent = 0;
    while sent < bytes {
        sent += match way {
            Way::Send => sender.send(&stream)?,
            Way::SendZeroCopy => sender.send_lent(&stream)?,
            Way::ReadAndSend => sender.read_and_send(&stream, sent)?,
            Way::Splice => sender.splice(&stream, sent)?,
        };
    }
    drop(stream);
    let received = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
    if received != sent as u64 {
        return Err(io::Error::other(format!("{received} bytes of {sent} arrived")));
    }
    let gb = sent as f64 / 1e9;
    sender.take_back()?;
    Ok(Found {
        cpu_ms_per_gb: (own_cpu()? - cpu).as_secs_f64() * 1e3 / gb,
        ms_per_gb: begun.elapsed().as_secs_f64() * 1e3 / gb,
        copied: sender.copied as f64 / f64::from(sender.notified.max(1)),
    })
}

/// The other end reads and forgets, on the load's CPU.
fn connection(cpu: usize) -> io::Result<(TcpStream, JoinHandle<io::Result<u64>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut other, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        pin(cpu)?;
        let (mut chunk, mut all) = (vec![0; 256 << 10], 0);
        loop {
            match other.read(&mut chunk)? {
                0 => return Ok(all),
                len => all += len as u64,
            }
        }
    });
    Ok((stream, reader))
}

struct Sender {
    ring: IoUring,
    size: usize,
    buffers: Vec<Vec<u8>>,
    /// Lent buffers, whose notification has not come.
    lent: Vec<bool>,
    notified: u32,
    copied: u32,
    file: File,
    pipe: (OwnedFd, OwnedFd),
}

/// The answers of a send: what was sent, or that a buffer is back.
const RESULT: u64 = u64::MAX;

impl Sender {
    fn new(size: usize) -> io::Result<Sender> {
        // SAFETY: the name is a C string; a descriptor of our own comes back.
        let file = unsafe { libc::memfd_create(c"ringio-bench".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made above, and nobody else's.
        let mut file = unsafe { File::from_raw_fd(file) };
        file.write_all(&vec![7; FILE_BYTES])?;
        let (from, to) = io::pipe()?;
        // SAFETY: F_SETPIPE_SZ takes a number.
        if unsafe { libc::fcntl(to.as_raw_fd(), libc::F_SETPIPE_SZ, size as libc::c_int) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Sender {
            ring: ring::new(64, 256)?,
            size,
            buffers: vec![vec![7; size]; BUFFERS],
            lent: vec![false; BUFFERS],
            notified: 0,
            copied: 0,
            file,
            pipe: (from.into(), to.into()),
        })
    }

    fn submit(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: buffers are neither moved nor dropped before `take_back`, descriptors not before the answer.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)?;
        Ok(())
    }

    /// Waits for `wanted` results, and for notifications on the way; returns the last result.
    fn results(&mut self, wanted: usize) -> io::Result<usize> {
        let (mut last, mut seen) = (0, 0);
        while seen < wanted {
            self.ring.submit_and_wait(1)?;
            let entries: Vec<cqueue::Entry> = self.ring.completion().collect();
            for entry in entries {
                if self.is_notification(&entry) {
                    continue;
                }
                seen += 1;
                last = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))?;
            }
        }
        Ok(last)
    }

    fn is_notification(&mut self, entry: &cqueue::Entry) -> bool {
        if !cqueue::notif(entry.flags()) {
            return false;
        }
        self.lent[entry.user_data() as usize] = false;
        self.notified += 1;
        // IORING_NOTIF_USAGE_ZC_COPIED
        self.copied += (entry.result() as u32) >> 31;
        true
    }

    fn send_buffer(&mut self, fd: RawFd, len: usize) -> io::Result<usize> {
        let send = opcode::Send::new(Fd(fd), self.buffers[0].as_ptr(), len as u32);
        self.submit(&send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build().user_data(RESULT))?;
        self.results(1)
    }

    fn send(&mut self, stream: &TcpStream) -> io::Result<usize> {
        self.send_buffer(stream.as_raw_fd(), self.size)
    }

    fn send_lent(&mut self, stream: &TcpStream) -> io::Result<usize> {
        /// IORING_SEND_ZC_REPORT_USAGE
        const REPORT_USAGE: u16 = 1 << 3;
        let index = loop {
            match self.lent.iter().position(|lent| !lent) {
                Some(index) => break index,
                None => self.wait_for_notification()?,
            }
        };
        self.lent[index] = true;
        let send = opcode::SendZc::new(Fd(stream.as_raw_fd()), self.buffers[index].as_ptr(), self.size as u32);
        let send = send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).zc_flags(REPORT_USAGE);
        self.submit(&send.build().user_data(index as u64))?;
        self.results(1)
    }

    fn wait_for_notification(&mut self) -> io::Result<()> {
        self.ring.submit_and_wait(1)?;
        let entries: Vec<cqueue::Entry> = self.ring.completion().collect();
        entries
            .iter()
            .all(|entry| self.is_notification(entry))
            .then_some(())
            .ok_or_else(|| io::Error::other("a stray result"))
    }

    /// All that is still lent.
    fn take_back(&mut self) -> io::Result<()> {
        while self.lent.contains(&true) {
            self.wait_for_notification()?;
        }
        Ok(())
    }

    fn read_and_send(&mut self, stream: &TcpStream, sent: usize) -> io::Result<usize> {
        let memory = self.buffers[0].as_mut_ptr();
        let read = opcode::Read::new(Fd(self.file.as_raw_fd()), memory, self.size as u32);
        self.submit(&read.offset((sent % FILE_BYTES) as u64).build().user_data(RESULT))?;
        let len = self.results(1)?;
        self.send_buffer(stream.as_raw_fd(), len)
    }

    fn splice(&mut self, stream: &TcpStream, sent: usize) -> io::Result<usize> {
        let (from, to) = (Fd(self.pipe.0.as_raw_fd()), Fd(self.pipe.1.as_raw_fd()));
        let len = self.size as u32;
        let into = opcode::Splice::new(Fd(self.file.as_raw_fd()), (sent % FILE_BYTES) as i64, to, -1, len);
        self.submit(&into.build().user_data(RESULT))?;
        let filled = self.results(1)?;
        let mut left = filled;
        while left > 0 {
            let out = opcode::Splice::new(from, -1, Fd(stream.as_raw_fd()), -1, left as u32);
            self.submit(&out.build().user_data(RESULT))?;
            left -= self.results(1)?;
        }
        Ok(filled)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Whatever is still lent after an error stays allocated: the kernel may read it.
        if self.lent.contains(&true) {
            std::mem::forget(std::mem::take(&mut self.buffers));
        }
    }
}
