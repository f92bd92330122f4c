//! Any descriptor that can be read or written in order.

use std::{fmt, io, os::fd::OwnedFd, rc::Rc};

use crate::{
    buf::{BufResult, IoBuf, IoBufMut},
    driver::Interest,
    executor::{Leaf, context, wait},
    op::{Port, ReadInto, Ready, Source, Way, WriteFrom},
};

/// A pipe, a terminal, an event counter: any descriptor that is read and written in order. For sockets see
/// [`TcpStream`](crate::TcpStream).
///
/// ```
/// # use ringio::{BufResult, Descriptor};
/// # ringio::run(async {
/// let (reader, writer) = std::io::pipe()?;
/// let (reader, writer) = (Descriptor::new(reader.into()), Descriptor::new(writer.into()));
/// writer.write(b"ping").await.0?;
/// let BufResult(count, buffer) = reader.read(Vec::with_capacity(16)).await;
/// assert_eq!((count?, &buffer[..]), (4, &b"ping"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct Descriptor {
    port: Rc<Port>,
    source: Rc<Source>,
}

impl Descriptor {
    /// Takes a descriptor over. It is closed when this is dropped and the last operation on it has ended.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn new(fd: OwnedFd) -> Descriptor {
        let port = context::with(|runtime| runtime.port.clone());
        Descriptor { source: Source::new(&port, fd), port }
    }

    /// Reads at least one byte into `buffer`, over its content; zero at the end.
    ///
    /// # Errors
    /// What read(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the buffer comes back; what a dropped read got is there for the next one.
    pub async fn read<B: IoBufMut>(&self, mut buffer: B) -> BufResult<usize, B> {
        loop {
            let (result, back) = self.read_once(buffer).await;
            match result {
                // It is not to wait by itself, and this kernel takes that literally.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer = back,
                result => return BufResult(result, back),
            }
            if let Err(error) = self.readable().await {
                return BufResult(Err(error), buffer);
            }
        }
    }

    async fn read_once<B: IoBufMut>(&self, mut buffer: B) -> (io::Result<usize>, B) {
        let turn = match wait(|cx| self.source.poll_turn(Way::Read, cx.waker())).await {
            Ok(turn) => turn,
            Err(cancelled) => return (Err(cancelled.into()), buffer),
        };
        let left = self.source.take_left_behind(&mut buffer);
        if left > 0 || buffer.buf_capacity() == 0 {
            return (Ok(left), buffer);
        }
        Leaf::new(&self.port, ReadInto { turn, buffer }).await
    }

    /// Writes some of `buffer` and returns how many bytes.
    ///
    /// # Errors
    /// What write(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown** when the future is dropped. A delivered cancel says what was written: the count, or that it
    /// was nothing.
    pub async fn write<B: IoBuf>(&self, mut buffer: B) -> BufResult<usize, B> {
        loop {
            let (result, back) = self.write_once(buffer).await;
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer = back,
                result => return BufResult(result, back),
            }
            if let Err(error) = self.writable().await {
                return BufResult(Err(error), buffer);
            }
        }
    }

    async fn write_once<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        let turn = match wait(|cx| self.source.poll_turn(Way::Write, cx.waker())).await {
            Ok(turn) => turn,
            Err(cancelled) => return (Err(cancelled.into()), buffer),
        };
        Leaf::new(&self.port, WriteFrom { turn, buffer }).await
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// What poll(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: nothing is taken.
    #[doc(alias = "asyncio.loop.add_reader")]
    pub async fn readable(&self) -> io::Result<()> {
        Leaf::new(&self.port, Ready { owner: self.source.clone(), interest: Interest::Readable }).await
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// What poll(2) says; [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: nothing is written.
    #[doc(alias = "asyncio.loop.add_writer")]
    pub async fn writable(&self) -> io::Result<()> {
        Leaf::new(&self.port, Ready { owner: self.source.clone(), interest: Interest::Writable }).await
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("fd", &self.source.raw_fd()).finish()
    }
}
