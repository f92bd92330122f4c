//! What does an echo cost with epoll, read and write? Guards: the floor where a ring does not pay.
//!
//! Edge-triggered, with one hot buffer for all connections: bytes are kept per connection only when a write came
//! back short.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
};

use super::close;
use crate::serve::Role;

const LISTENER: u64 = u64::MAX;
const EVENTS_MAX: usize = 256;
const BUFFER_LEN: usize = 64 * 1024;
/// So many reads, then another connection has its turn.
const READS_MAX: u32 = 4;

pub(crate) fn serve(listener: TcpListener, role: Role) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // SAFETY: epoll_create1 takes no memory.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    watch(epoll, listener.as_raw_fd(), LISTENER, libc::EPOLLIN)?;
    let mut server = Server { epoll, role, slots: Vec::new(), free: Vec::new(), buffer: vec![0; BUFFER_LEN] };
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    let mut again = Vec::new();
    loop {
        let timeout_ms = if again.is_empty() { -1 } else { 0 };
        // SAFETY: `events` is writable for EVENTS_MAX entries.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS_MAX as i32, timeout_ms) };
        for event in &events[..ready.max(0) as usize] {
            match event.u64 {
                LISTENER => server.accept(&listener)?,
                index => {
                    let over = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
                    server.slots[index as usize].hung_up |= event.events & over as u32 != 0;
                    server.serve_into(index as usize, &mut again);
                }
            }
        }
        for index in std::mem::take(&mut again) {
            server.serve_into(index, &mut again);
        }
    }
}

struct Server {
    epoll: RawFd,
    role: Role,
    slots: Vec<Connection>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

struct Connection {
    fd: RawFd,
    /// Closed since the events were fetched: what they say about it is stale.
    closed: bool,
    /// The end is in the socket behind the data: there will be no further edge.
    hung_up: bool,
    unsent: Vec<u8>,
}

enum Served {
    /// Wait for the next event.
    Waits,
    /// There may be more, but others have waited long enough.
    Again,
    Ended,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: no address is asked for.
            let fd = unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
            if fd < 0 {
                return Ok(());
            }
            let connection = Connection { fd, closed: false, hung_up: false, unsent: Vec::new() };
            let index = match self.free.pop() {
                Some(index) => {
                    self.slots[index] = connection;
                    index
                }
                None => {
                    self.slots.push(connection);
                    self.slots.len() - 1
                }
            };
            let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
            watch(self.epoll, fd, index as u64, interest)?;
        }
    }

    fn serve_into(&mut self, index: usize, again: &mut Vec<usize>) {
        if self.slots[index].closed {
            return;
        }
        let served = match self.role {
            Role::Echo => self.slots[index].echo(&mut self.buffer),
            Role::Sink => self.slots[index].sink(&mut self.buffer),
            Role::Source => self.slots[index].source(&self.buffer),
        };
        match served {
            Served::Waits => {}
            Served::Again => again.push(index),
            Served::Ended => {
                close(self.slots[index].fd);
                self.slots[index].closed = true;
                self.slots[index].unsent = Vec::new();
                self.free.push(index);
            }
        }
    }
}

impl Connection {
    fn echo(&mut self, buffer: &mut [u8]) -> Served {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            match self.write_all(&unsent) {
                Served::Waits if self.unsent.is_empty() => {}
                served @ (Served::Waits | Served::Again | Served::Ended) => return served,
            }
        }
        for _ in 0..READS_MAX {
            let Some(len) = read(self.fd, buffer) else { return Served::Waits };
            if len == 0 {
                return Served::Ended;
            }
            match self.write_all(&buffer[..len]) {
                // A short read has emptied the socket: the next byte is a new edge.
                Served::Waits if self.unsent.is_empty() && (len == buffer.len() || self.hung_up) => {}
                served @ (Served::Waits | Served::Again | Served::Ended) => return served,
            }
        }
        Served::Again
    }

    /// Keeps what the socket does not take.
    fn write_all(&mut self, mut bytes: &[u8]) -> Served {
        while !bytes.is_empty() {
            match write(self.fd, bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = bytes.to_vec();
                    return Served::Waits;
                }
                Err(_) => return Served::Ended,
            }
        }
        Served::Waits
    }

    fn sink(&self, buffer: &mut [u8]) -> Served {
        for _ in 0..READS_MAX {
            match read(self.fd, buffer) {
                None => return Served::Waits,
                Some(0) => return Served::Ended,
                Some(_) => {}
            }
        }
        Served::Again
    }

    fn source(&self, buffer: &[u8]) -> Served {
        for _ in 0..READS_MAX {
            match write(self.fd, buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Served::Waits,
                Err(_) => return Served::Ended,
            }
        }
        Served::Again
    }
}

fn watch(epoll: RawFd, fd: RawFd, data: u64, interest: i32) -> io::Result<()> {
    let mut event = libc::epoll_event { events: interest as u32, u64: data };
    // SAFETY: epoll_ctl reads one event, which lives on this stack.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}

/// None: nothing there now. Zero: the end, be it orderly or by reset.
fn read(fd: RawFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: `buffer` is writable for its length.
    let len = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    match len {
        0.. => Some(len as usize),
        _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => None,
        _ => Some(0),
    }
}

fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: `bytes` is readable for its length.
    let len = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    if len < 0 { Err(io::Error::last_os_error()) } else { Ok(len as usize) }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
