//! What does one receive and one send at a time cost, each into the connection's own 16 KiB buffer?
//! Guards: the floor for rings without provided buffers (what most peers do), under the best ring flags.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{cqueue, opcode, types::Fd};

use super::{
    close,
    ring::{self, Queue},
};

const BUFFER_LEN: usize = 16 * 1024;
const ACCEPT: u64 = u64::MAX;
const RECV_POLL_FIRST: u16 = 1;

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let mut ring = ring::new(1024, 8 * 1024)?;
    let (mut queue, mut completions) = ring::split(&mut ring);
    let mut connections = Connections { slots: Vec::new(), free: Vec::new() };
    accept(&mut queue, &listener)?;
    loop {
        queue.turn()?;
        completions.sync();
        for completion in completions.by_ref() {
            if completion.user_data() == ACCEPT {
                if completion.result() >= 0 {
                    let index = connections.insert(completion.result());
                    connections.slots[index].receive(&mut queue, index, false)?;
                }
                if !cqueue::more(completion.flags()) {
                    accept(&mut queue, &listener)?;
                }
                continue;
            }
            let index = completion.user_data() as usize;
            if connections.slots[index].step(&mut queue, index, &completion)? == Step::Ended {
                connections.remove(index);
            }
        }
        completions.sync();
    }
}

fn accept(queue: &mut Queue<'_>, listener: &TcpListener) -> io::Result<()> {
    let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
    // SAFETY: the entry points to no memory.
    unsafe { queue.push(&entry.user_data(ACCEPT)) }
}

struct Connections {
    slots: Vec<Connection>,
    free: Vec<usize>,
}

impl Connections {
    fn insert(&mut self, fd: RawFd) -> usize {
        if let Some(index) = self.free.pop() {
            self.slots[index].fd = fd;
            return index;
        }
        let buffer = vec![0; BUFFER_LEN].into_boxed_slice();
        self.slots.push(Connection { fd, state: State::Receiving, buffer });
        self.slots.len() - 1
    }

    /// Nothing of the connection is in flight: each has one operation at a time, and that has completed.
    fn remove(&mut self, index: usize) {
        close(self.slots[index].fd);
        self.free.push(index);
    }
}

struct Connection {
    fd: RawFd,
    state: State,
    buffer: Box<[u8]>,
}

#[derive(Clone, Copy)]
enum State {
    Receiving,
    /// Bytes `sent..end` of the buffer are on their way; more may be waiting in the socket.
    Sending {
        sent: u32,
        end: u32,
        more: bool,
    },
}

#[derive(PartialEq, Eq)]
enum Step {
    Goes,
    Ended,
}

impl Connection {
    fn step(&mut self, queue: &mut Queue<'_>, index: usize, completion: &cqueue::Entry) -> io::Result<Step> {
        let result = completion.result();
        if result <= 0 {
            return Ok(Step::Ended);
        }
        match self.state {
            State::Receiving => {
                let more = cqueue::sock_nonempty(completion.flags());
                self.send(queue, index, 0, result as u32, more)?;
            }
            State::Sending { sent, end, more } => {
                let sent = sent + result as u32;
                if sent < end {
                    self.send(queue, index, sent, end, more)?;
                } else {
                    self.receive(queue, index, more)?;
                }
            }
        }
        Ok(Step::Goes)
    }

    fn receive(&mut self, queue: &mut Queue<'_>, index: usize, more: bool) -> io::Result<()> {
        self.state = State::Receiving;
        // A first attempt on an empty socket is wasted: wait for data first, unless there is known to be some.
        let flags = if more { 0 } else { RECV_POLL_FIRST };
        let entry = opcode::Recv::new(Fd(self.fd), self.buffer.as_mut_ptr(), BUFFER_LEN as u32).ioprio(flags).build();
        // SAFETY: the buffer is a heap block of this slot, slots are never freed, and this is its only operation.
        unsafe { queue.push(&entry.user_data(index as u64)) }
    }

    fn send(&mut self, queue: &mut Queue<'_>, index: usize, sent: u32, end: u32, more: bool) -> io::Result<()> {
        self.state = State::Sending { sent, end, more };
        let bytes = &self.buffer[sent as usize..end as usize];
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = opcode::Send::new(Fd(self.fd), bytes.as_ptr(), bytes.len() as u32).flags(flags).build();
        // SAFETY: as in `receive`.
        unsafe { queue.push(&entry.user_data(index as u64)) }
    }
}
