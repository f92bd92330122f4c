//! A socket address in the form the kernel reads and writes.

use std::{net::SocketAddr, path::PathBuf};

use nix::sys::socket::{SockaddrLike, SockaddrStorage, UnixAddr};

use super::unix::path_of;

/// An internet address, or the name of a socket on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Address {
    Internet(SockaddrStorage),
    Unix(UnixAddr),
}

impl Address {
    /// What stands at `address`; `None` for what is neither.
    ///
    /// # Safety
    /// An address of `len` bytes stands there.
    pub(crate) unsafe fn from_raw(address: *const libc::sockaddr, len: u32) -> Option<Address> {
        // SAFETY: passed on to our caller.
        if i32::from(unsafe { &*address }.sa_family) == libc::AF_UNIX {
            // SAFETY: as above, and the family says that it is one.
            return unsafe { UnixAddr::from_raw(address, Some(len)) }.map(Address::from);
        }
        // SAFETY: as above.
        unsafe { SockaddrStorage::from_raw(address, Some(len)) }.map(Address::Internet)
    }

    /// For the kernel to read while the address stays where it is.
    pub(crate) fn as_raw(&self) -> (*const libc::sockaddr, u32) {
        match self {
            Address::Internet(address) => (address.as_ptr(), address.len()),
            Address::Unix(address) => (address.as_ptr().cast(), address.len()),
        }
    }

    /// As the standard library writes it; `None` for what is no internet address.
    pub(crate) fn internet(&self) -> Option<SocketAddr> {
        match self {
            Address::Internet(address) => to_std(address),
            Address::Unix(_) => None,
        }
    }

    /// The path of a Unix socket, if it has one.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Address::Internet(_) => None,
            Address::Unix(address) => path_of(address),
        }
    }

    pub(super) fn as_nix(&self) -> &dyn SockaddrLike {
        match self {
            Address::Internet(address) => address,
            Address::Unix(address) => address,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Internet(address.into())
    }
}

impl From<UnixAddr> for Address {
    fn from(address: UnixAddr) -> Address {
        Address::Unix(address)
    }
}

/// The other direction; `None` for what is no internet address.
pub(super) fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(std::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}
