//! What there is to know about a connection.

use std::{net::SocketAddr, os::fd::RawFd, path::PathBuf};

use super::StreamWriter;
use crate::{
    net::{PeerCredentials, credentials},
    op::Kind,
};

/// What [`StreamWriter::get_extra_info`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtraInfo {
    /// `peername` and `sockname` of an internet connection.
    Address(SocketAddr),
    /// `peername` and `sockname` of a Unix socket; empty where it is bound to no path.
    Path(PathBuf),
    /// `socket` and `pipe`: the number of the descriptor, good until the connection is closed.
    Descriptor(RawFd),
    /// `peercred` of a Unix socket.
    Credentials(PeerCredentials),
    /// `cipher`, `version`, `alpn` and `server_hostname` of a TLS connection.
    Text(String),
    /// `peercert` of a TLS connection: the chain, each as DER, the peer's own first.
    Certificates(Vec<Vec<u8>>),
}

impl StreamWriter {
    /// Something about the connection, by asyncio's name for it: `peername`, `sockname`, `socket`, `pipe`, `peercred`; with
    /// TLS also `peercert`, `cipher`, `version`, `alpn`, `server_hostname`. `None` where there is no such thing.
    ///
    /// ```
    /// # use ringio::ExtraInfo;
    /// # ringio::run(async {
    /// # let server = ringio::start_server(async |_, _| {}, "127.0.0.1:0").await?;
    /// # let address = server.sockets()[0];
    /// let (_reader, writer) = ringio::open_connection(address).await?;
    /// assert_eq!(writer.get_extra_info("peername"), Some(ExtraInfo::Address(address)));
    /// assert_eq!(writer.get_extra_info("shoe size"), None);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.StreamWriter.get_extra_info")]
    pub fn get_extra_info(&self, name: &str) -> Option<ExtraInfo> {
        let socket = self.socket();
        let is_pipe = socket.kind() == Kind::Pipe;
        match name {
            "peername" => match socket.peer_address() {
                Ok(address) => Some(ExtraInfo::Address(address)),
                Err(_) => path(socket.peer_path().ok()?),
            },
            "sockname" => match socket.local_address() {
                Ok(address) => Some(ExtraInfo::Address(address)),
                Err(_) => path(socket.local_path().ok()?),
            },
            "socket" if !is_pipe => self.descriptor(),
            "pipe" if is_pipe => self.descriptor(),
            "peercred" => self.peer_credentials().ok().map(ExtraInfo::Credentials),
            "peercert" => {
                let chain = socket.layer()?.certificates();
                (!chain.is_empty()).then_some(ExtraInfo::Certificates(chain))
            }
            _ => socket.layer()?.describe(name).map(ExtraInfo::Text),
        }
    }

    fn descriptor(&self) -> Option<ExtraInfo> {
        Some(self.socket().raw_fd()).filter(|fd| *fd >= 0).map(ExtraInfo::Descriptor)
    }

    /// The process on the other side of a Unix socket.
    ///
    /// # Errors
    /// For any other connection, and for one that is gone.
    pub fn peer_credentials(&self) -> std::io::Result<PeerCredentials> {
        let credentials = credentials(self.socket())?;
        match credentials.pid {
            0 => {
                Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "only Unix sockets know their peer's process"))
            }
            _ => Ok(credentials),
        }
    }
}

fn path(path: Option<PathBuf>) -> Option<ExtraInfo> {
    Some(ExtraInfo::Path(path.unwrap_or_default()))
}
