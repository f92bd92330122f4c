//! A request as a submission entry. Only maps.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types::Fd};

use super::super::{Group, Interest, Request, Token};

/// All of a stream's bytes or an error, and no signal when the peer is gone.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

#[inline]
pub(super) fn entry(request: &Request) -> squeue::Entry {
    encode(request, SEND_FLAGS)
}

#[inline]
fn encode(request: &Request, send_flags: i32) -> squeue::Entry {
    match *request {
        Request::Nop => opcode::Nop::new().build(),
        Request::Accept { fd, many: true } => opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build(),
        Request::Accept { fd, many: false } => {
            opcode::Accept::new(Fd(fd), std::ptr::null_mut(), std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
        }
        Request::Connect { fd, address, len } => opcode::Connect::new(Fd(fd), address, len).build(),
        Request::Recv { fd, into, len } => opcode::Recv::new(Fd(fd), into, len).build(),
        Request::RecvMany { fd } => opcode::RecvMulti::new(Fd(fd), group(Group::Streams)).build(),
        Request::Send { fd, from, len } => opcode::Send::new(Fd(fd), from, len).flags(send_flags).build(),
        Request::SendMessage { fd, message } => opcode::SendMsg::new(Fd(fd), message).flags(send_flags as u32).build(),
        Request::RecvMessage { fd, message } => opcode::RecvMsg::new(Fd(fd), message).build(),
        Request::RecvMessageMany { fd, message } => {
            opcode::RecvMsgMulti::new(Fd(fd), message, group(Group::Datagrams)).build()
        }
        Request::Read { fd, into, len, offset } => opcode::Read::new(Fd(fd), into, len).offset(offset).build(),
        Request::Write { fd, from, len, offset } => opcode::Write::new(Fd(fd), from, len).offset(offset).build(),
        Request::Poll { fd, interest } => opcode::PollAdd::new(Fd(fd), events(interest)).build(),
        Request::Close { fd } => opcode::Close::new(Fd(fd)).build(),
    }
}

/// A send that answers only if something is left to say, and never later: all at once, or what there was room for.
#[inline]
pub(super) fn quiet_send(request: &Request) -> squeue::Entry {
    encode(request, SEND_FLAGS | libc::MSG_DONTWAIT).flags(squeue::Flags::SKIP_SUCCESS)
}

/// The number of a group in the ring.
pub(super) const fn group(group: Group) -> u16 {
    group as u16
}

/// By exact token: a cancel by descriptor can miss a live operation.
pub(super) fn cancel(target: Token) -> squeue::Entry {
    // CQE_SKIP_SUCCESS (5.17): a successful cancel tells us nothing that its target's own completion does not.
    opcode::AsyncCancel::new(target.to_user_data()).build().flags(squeue::Flags::SKIP_SUCCESS)
}

/// Answers at every write to the counter, without having to be read back.
pub(super) fn doorbell(fd: RawFd) -> squeue::Entry {
    opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build()
}

fn events(interest: Interest) -> u32 {
    let events = match interest {
        Interest::Readable => libc::POLLIN,
        Interest::Writable => libc::POLLOUT,
    };
    events as u32
}
