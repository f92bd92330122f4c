//! What does one big stream cost on a ring, in large hot buffers? Guards: the floor for bulk, in both directions.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{opcode, types::Fd};

use super::{close, ring};
use crate::serve::Role;

const BUFFER_LEN: usize = 64 * 1024;
const ACCEPT: u64 = u64::MAX;

/// One operation at a time per connection, all of them in the same buffer: nobody looks at the bytes.
pub(crate) fn serve(listener: TcpListener, role: Role) -> io::Result<()> {
    let mut ring = ring::new(64, 1024)?;
    let (mut queue, mut completions) = ring::split(&mut ring);
    let mut buffer = vec![0_u8; BUFFER_LEN];
    let memory = buffer.as_mut_ptr();
    let operation = |fd: RawFd| {
        let entry = match role {
            Role::Source => opcode::Send::new(Fd(fd), memory, BUFFER_LEN as u32).flags(libc::MSG_NOSIGNAL).build(),
            Role::Sink | Role::Echo => opcode::Recv::new(Fd(fd), memory, BUFFER_LEN as u32).build(),
        };
        entry.user_data(fd as u64)
    };
    let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT);
    // SAFETY: the entry points to no memory.
    unsafe { queue.push(&accept) }?;
    loop {
        queue.turn()?;
        completions.sync();
        for completion in completions.by_ref() {
            let fd = match completion.user_data() {
                ACCEPT => completion.result(),
                fd if completion.result() > 0 => fd as RawFd,
                fd => {
                    close(fd as RawFd);
                    continue;
                }
            };
            // SAFETY: `buffer` is never dropped: this loop ends only with an error of the ring, and then the process.
            unsafe { queue.push(&operation(fd)) }?;
        }
        completions.sync();
    }
}
