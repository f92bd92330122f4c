//! What does the kernel itself cost? Servers without executor or futures: the floor that ringio is measured against.
//!
//! Guards: the floor of a cell is the best of these, so each is written as well as we can write it. They share
//! `ring` (set-up, push, one enter per turn) and `buffers` (provided-buffer rings), which the load generator uses too.

pub(crate) mod buffers;
mod bulk;
mod epoll;
mod multishot;
mod oneshot;
mod pool;
pub(crate) mod ring;

use std::{io, net::TcpListener};

use crate::{raw::multishot::Pool, serve::Role};

pub(crate) fn epoll(listener: TcpListener, role: Role) -> io::Result<()> {
    epoll::serve(listener, role)
}

pub(crate) fn oneshot(listener: TcpListener, role: Role) -> io::Result<()> {
    match role {
        Role::Echo => oneshot::serve(listener),
        Role::Sink | Role::Source => bulk::serve(listener, role),
    }
}

pub(crate) fn multishot(listener: TcpListener, role: Role) -> io::Result<()> {
    match role {
        Role::Echo | Role::Sink => multishot::serve(listener, role, Pool::Whole),
        Role::Source => bulk::serve(listener, role),
    }
}

pub(crate) fn incremental(listener: TcpListener, role: Role) -> io::Result<()> {
    match role {
        Role::Echo | Role::Sink => multishot::serve(listener, role, Pool::Incremental),
        Role::Source => bulk::serve(listener, role),
    }
}

/// Descriptors are closed by hand here: a raw loop has no owners.
fn close(fd: std::os::fd::RawFd) {
    // SAFETY: close takes no memory. Each caller gives up its only copy of `fd`.
    unsafe { libc::close(fd) };
}
