//! Sending a file.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use super::StreamWriter;
use crate::{
    error::SendfileNotAvailableError,
    executor::{Leaf, wait},
    op::ReadAt,
};

/// Read at a time, and queued ahead of the peer.
const PIECE_BYTES: usize = 128 * 1024;

impl StreamWriter {
    /// Sends `count` bytes of a file from `offset` on, or all up to its end, behind what was written before. Returns how many
    /// bytes were queued: fewer than `count` where the file ends before. One piece is read while the one before is being
    /// sent, so a large file needs little memory.
    ///
    /// What is no regular file, or goes through TLS, is sent by the slower way only where `fallback` allows it: then a file
    /// that cannot seek is read from where it stands.
    ///
    /// # Errors
    /// [`SendfileNotAvailableError`](crate::SendfileNotAvailableError) without `fallback`; what read(2) says; when the
    /// connection is lost or closed; [`CancelledError`](crate::CancelledError). All inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Effect unknown**: what was read before is still sent, and nothing after it.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("ringio-doc-sendfile-{}", std::process::id()));
    /// std::fs::write(&path, "what a file holds")?;
    /// # ringio::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = ringio::open_connection_from(here.into()).await?;
    /// # let (mut reader, _writer) = ringio::open_connection_from(there.into()).await?;
    /// let file = std::fs::File::open(&path)?;
    /// assert_eq!(writer.sendfile(&file, 5, Some(6), false).await?, 6);
    /// assert_eq!(reader.readexactly(6).await?, "a file");
    /// # std::io::Result::Ok(()) })?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "asyncio.loop.sendfile")]
    pub async fn sendfile(
        &mut self,
        file: impl AsFd,
        offset: u64,
        count: Option<u64>,
        fallback: bool,
    ) -> io::Result<u64> {
        self.socket().check_writable()?;
        let file = File::from(file.as_fd().try_clone_to_owned()?);
        let is_regular = file.metadata()?.is_file();
        if !fallback && (!is_regular || self.socket().layer().is_some()) {
            return Err(SendfileNotAvailableError.into());
        }
        let file = Rc::new(OwnedFd::from(file));
        let port = self.socket().port().clone();
        let mut sent = 0;
        while count.is_none_or(|count| sent < count) {
            let left = count.map_or(u64::MAX, |count| count - sent);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let read = ReadAt {
                file: file.clone(),
                buffer: Vec::with_capacity(len),
                offset: is_regular.then_some(offset + sent),
                len,
            };
            let piece = Leaf::new(&port, read).await?;
            if piece.is_empty() {
                break;
            }
            sent += piece.len() as u64;
            self.write_owned(piece)?;
            wait(|cx| self.socket().poll_queued_at_most(PIECE_BYTES, cx.waker())).await??;
        }
        Ok(sent)
    }
}
