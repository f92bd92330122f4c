//! Calls on sockets that never wait.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{
            self, AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, getsockname, getsockopt,
            setsockopt, sockopt,
        },
    },
};

use super::{Address, address::to_std};

/// A new TCP socket for `address`'s family, closed in children.
pub(crate) fn stream_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?)
}

/// How to listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenOptions {
    pub(crate) backlog: u32,
    pub(crate) reuse_port: bool,
    pub(crate) keep_alive: bool,
}

/// A socket bound to `address` that does not listen yet: connections are refused.
pub(crate) fn bind_to_listen(address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
    let fd = stream_socket(&address)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if options.reuse_port {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if options.keep_alive {
        // What is accepted has it from its listener.
        setsockopt(&fd, sockopt::KeepAlive, &true)?;
    }
    bound_to(&fd, address)?;
    Ok(fd)
}

pub(crate) fn start_listening(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX).min(libc::SOMAXCONN))?;
    Ok(socket::listen(&fd, backlog)?)
}

/// A UDP socket bound to `address`.
pub(crate) fn udp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::Udp)?;
    bound_to(&fd, address)?;
    Ok(fd)
}

/// Connecting what sends datagrams never waits: it sets where they go.
pub(crate) fn connect_datagrams(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    Ok(socket::connect(fd.as_raw_fd(), address.as_nix())?)
}

/// Binds a socket that will connect; the error names the address (OC5).
pub(crate) fn bind_to_connect(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    socket::bind(fd.as_raw_fd(), Address::from(address).as_nix()).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("cannot bind to the local address {address}: {error}"))
    })
}

/// Whether an error says that this machine does not have the family of an address.
pub(crate) fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT)) || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Binds `fd`; the error names the address.
fn bound_to(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    socket::bind(fd.as_raw_fd(), Address::from(address).as_nix()).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}; choose another port, or port 0"))
    })
}

pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    to_std(&getsockname(fd.as_raw_fd())?).ok_or_else(not_internet)
}

pub(crate) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    to_std(&socket::getpeername(fd.as_raw_fd())?).ok_or_else(not_internet)
}

fn not_internet() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the socket has no internet address")
}

pub(crate) fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::TcpNoDelay, &on)?)
}

/// A clear error for what cannot be read and written as a stream.
pub(crate) fn is_stream_socket(fd: BorrowedFd<'_>) -> io::Result<()> {
    let wrong = |what: &str| {
        let text = format!("descriptor {} is {what}; a connected or listening stream socket is needed", fd.as_raw_fd());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    match getsockopt(&fd, sockopt::SockType) {
        Ok(SockType::Stream) => Ok(()),
        Ok(_) => Err(wrong("a socket of another type")),
        Err(Errno::ENOTSOCK) => Err(wrong("no socket")),
        Err(errno) => Err(errno.into()),
    }
}

/// Ends the writing direction. Not through the ring, which would hand it to a worker thread, behind a close that follows
/// it. That the peer is gone already is no error: the effect is the same.
pub(crate) fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    match socket::shutdown(fd.as_raw_fd(), socket::Shutdown::Write) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// From now on closing it throws away what is not sent yet, and resets the connection.
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?)
}

/// Whether bytes wait in the socket.
pub(crate) fn has_unread(fd: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    matches!(socket::recv(fd.as_raw_fd(), &mut byte, flags), Ok(1))
}

/// Closes at once. Linux releases the number even when it reports an error, so there is nothing to do about one.
pub(crate) fn close(fd: OwnedFd) {
    drop(fd);
}

/// A counter that ends a wait when it is written.
pub(crate) fn doorbell_fd() -> io::Result<OwnedFd> {
    let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    Ok(event.into())
}

pub(crate) fn ring_doorbell(fd: impl AsFd) {
    // EAGAIN means that the counter is full, so the bell is ringing already.
    let _ = nix::unistd::write(fd, &1u64.to_ne_bytes());
}
