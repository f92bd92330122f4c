//! Datagrams over UDP.

use std::{fmt, io, net::SocketAddr, rc::Rc};

use bytes::Bytes;

use super::ToAddresses;
use crate::{
    buf::{BufResult, IoBuf, IoBufMut, fill},
    executor::{Leaf, context, wait},
    op::{Datagrams, SendDatagram},
};

/// A UDP socket. Buffers are moved into each call and come back with its result.
///
/// ```
/// # use ringio::{BufResult, UdpSocket};
/// # ringio::run(async {
/// let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// here.send_to("ping", there.local_addr()?).await.0?;
/// let BufResult(received, buffer) = there.recv_from(vec![0; 1500]).await;
/// let (count, from) = received?;
/// assert_eq!((&buffer[..count], from), (&b"ping"[..], here.local_addr()?));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.loop.create_datagram_endpoint")]
pub struct UdpSocket {
    socket: Rc<Datagrams>,
}

impl UdpSocket {
    /// A socket bound to `address`; port 0 lets the system choose. A name is refused: looking it up could take long.
    ///
    /// # Errors
    /// When the address is in use, not this machine's, or malformed: the message names it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn bind(address: impl ToAddresses) -> io::Result<UdpSocket> {
        let port = context::with(|runtime| runtime.port.clone());
        let mut last = None;
        for address in address.to_addresses().known()? {
            match port.calls().udp_socket(address) {
                Ok(fd) => return Ok(UdpSocket { socket: Datagrams::new(&port, fd) }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    /// From now on datagrams are sent to and received from `address` alone, and its refusals are errors.
    ///
    /// # Errors
    /// What connect(2) says; a name.
    pub fn connect(&self, address: impl ToAddresses) -> io::Result<()> {
        let mut last = io::ErrorKind::InvalidInput.into();
        for address in address.to_addresses().known()? {
            match self.socket.port().calls().connect_datagrams(self.socket.fd(), &address.into()) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a datagram to whom the socket is connected; returns how many bytes.
    ///
    /// # Errors
    /// What sendmsg(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped. A delivered cancel says that nothing was sent.
    pub async fn send<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        let send = SendDatagram::new(self.socket.clone(), None, buffer);
        let (result, buffer) = Leaf::new(self.socket.port(), send).await;
        BufResult(result, buffer)
    }

    /// Sends a datagram to `address`; returns how many bytes.
    ///
    /// # Errors
    /// What sendmsg(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped. A delivered cancel says that nothing was sent.
    pub async fn send_to<B: IoBuf>(&self, buffer: B, address: SocketAddr) -> BufResult<usize, B> {
        let send = SendDatagram::new(self.socket.clone(), Some(address.into()), buffer);
        let (result, buffer) = Leaf::new(self.socket.port(), send).await;
        BufResult(result, buffer)
    }

    /// The next datagram, and where it came from.
    ///
    /// # Errors
    /// What recvmsg(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a datagram that arrives meanwhile is there for the next receive.
    pub async fn recv(&self) -> io::Result<(Bytes, SocketAddr)> {
        let (datagram, from) = wait(|cx| self.socket.poll_take(cx.waker())).await??;
        let from = from.and_then(|from| from.internet());
        Ok((datagram, from.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a datagram without a sender"))?))
    }

    /// The next datagram, into `buffer`, and where it came from. What does not fit is cut off, as the kernel does.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back, and a datagram that arrives meanwhile is there for the next receive.
    pub async fn recv_from<B: IoBufMut>(&self, mut buffer: B) -> BufResult<(usize, SocketAddr), B> {
        let result = self.recv().await.map(|(datagram, from)| (fill(&mut buffer, &datagram), from));
        BufResult(result, buffer)
    }

    /// The address on this side.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.port().calls().local_address(self.socket.fd())
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("local", &self.local_addr().ok()).finish()
    }
}
