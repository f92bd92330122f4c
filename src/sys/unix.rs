//! Sockets that are named by files.

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockname, getsockopt, sockopt},
        stat::{Mode, fchmod},
    },
};

use super::Address;

/// A socket that is named by a file, closed in children.
pub(crate) fn unix_socket(datagrams: bool) -> io::Result<OwnedFd> {
    let kind = if datagrams { SockType::Datagram } else { SockType::Stream };
    Ok(socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?)
}

/// Two of them, connected.
pub(crate) fn unix_pair(datagrams: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = if datagrams { SockType::Datagram } else { SockType::Stream };
    Ok(socket::socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The address a path stands for; with a zero byte in front it is a name of no file (an abstract one).
pub(crate) fn unix_address(path: &Path) -> io::Result<Address> {
    let bytes = path.as_os_str().as_bytes();
    let address = match bytes.split_first() {
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path of a Unix socket is empty")),
        Some((0, name)) => UnixAddr::new_abstract(name),
        Some(_) => UnixAddr::new(path),
    };
    address.map(Address::from).map_err(|errno| {
        if errno != Errno::ENAMETOOLONG {
            return errno.into();
        }
        let text = format!("{}: a Unix socket's path has at most 107 bytes; choose a shorter one", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

/// The file of a bound socket, as it was made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> Option<SocketFile> {
        let file = fs::symlink_metadata(path).ok()?;
        Some(SocketFile { path: path.to_owned(), device: file.dev(), inode: file.ino() })
    }
}

/// SV2: takes it away, unless another one stands there by now.
pub(crate) fn remove_socket_file(file: &SocketFile) {
    let still =
        fs::symlink_metadata(&file.path).is_ok_and(|found| (found.dev(), found.ino()) == (file.device, file.inode));
    if still {
        // Somebody else may take it away in between: then it is gone, as it should be.
        let _ = fs::remove_file(&file.path);
    }
}

/// SV2: binds to `path`, over a socket that was left there, and never over another file. `mode` are the permissions of the
/// new file.
pub(crate) fn bind_unix(fd: BorrowedFd<'_>, path: &Path, mode: Option<u32>) -> io::Result<Option<SocketFile>> {
    let address = unix_address(path)?;
    if !is_abstract(path) && fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    if let Some(mode) = mode {
        // Before the bind, which makes the file with them: it is never there with others.
        fchmod(fd, Mode::from_bits_truncate(mode))?;
    }
    socket::bind(fd.as_raw_fd(), address.as_nix()).map_err(|errno| {
        let error = io::Error::from(errno);
        let what = if errno == Errno::EADDRINUSE {
            format!("address {path:?} is already in use; choose another path, or remove the file")
        } else {
            format!("cannot listen on {path:?}: {error}")
        };
        io::Error::new(error.kind(), what)
    })?;
    Ok(if is_abstract(path) { None } else { SocketFile::of(path) })
}

/// The path of a socket on this side, if it has one; abstract names begin with a zero byte.
pub(crate) fn unix_local_path(fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
    Ok(path_of(&getsockname::<UnixAddr>(fd.as_raw_fd())?))
}

/// The path of the other side.
pub(crate) fn unix_peer_path(fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
    Ok(path_of(&socket::getpeername::<UnixAddr>(fd.as_raw_fd())?))
}

pub(super) fn path_of(address: &UnixAddr) -> Option<PathBuf> {
    if let Some(name) = address.as_abstract() {
        let bytes: Vec<u8> = std::iter::once(0).chain(name.iter().copied()).collect();
        return Some(PathBuf::from(OsStr::from_bytes(&bytes)));
    }
    address.path().map(Path::to_owned)
}

/// Process, user and group of whoever connected.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    let peer = getsockopt(&fd, sockopt::PeerCredentials)?;
    Ok((peer.pid(), peer.uid(), peer.gid()))
}
