//! Contract 8, sendfile.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::Duration,
};

use ringio::{Error, create_task, wait_for};

use super::{on_ring, pairs};
use crate::support::Rng;

/// A file that goes with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Temporary {
        let path = std::env::temp_dir().join(format!("ringio-sendfile-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        Temporary(path)
    }

    fn open(&self) -> File {
        File::open(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_file_is_sent_between_what_is_written() {
    // SW10: offset and count, the end of the file, order among writes.
    let mut rng = Rng::new("a_file_is_sent_between_what_is_written");
    on_ring(async move || {
        let content = rng.bytes(3_000_000);
        let file = Temporary::new("between", &content);
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let reading = create_task(async move { far_reader.read_to_end().await });
        writer.write(b"before").unwrap();
        assert_eq!(writer.sendfile(file.open(), 0, None, false).await.unwrap(), content.len() as u64);
        writer.write(b"between").unwrap();
        assert_eq!(writer.sendfile(&file.open(), 1000, Some(500), false).await.unwrap(), 500);
        assert_eq!(writer.sendfile(&file.open(), 2_999_990, Some(500), false).await.unwrap(), 10);
        assert_eq!(writer.sendfile(&file.open(), 9_999_999, None, false).await.unwrap(), 0);
        assert_eq!(writer.sendfile(&file.open(), 0, Some(0), false).await.unwrap(), 0);
        writer.close();
        let parts = [b"before", &content[..], b"between", &content[1000..1500], &content[2_999_990..]];
        assert!(reading.await.unwrap() == parts.concat());
        assert_eq!(writer.sendfile(&file.open(), 0, None, true).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_is_no_regular_file_needs_the_fallback() {
    // SW10
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let (from, mut to) = io::pipe().unwrap();
        io::Write::write_all(&mut to, b"piped").unwrap();
        drop(to);
        let error = writer.sendfile(&from, 0, None, false).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(matches!(Error::from(error), Error::SendfileNotAvailable(_)));
        assert_eq!(writer.sendfile(&from, 0, None, true).await.unwrap(), 5);
        assert_eq!(far_reader.readexactly(5).await.unwrap(), "piped");
        assert!(writer.sendfile(File::open("/").unwrap(), 0, None, true).await.is_err(), "a directory");
        writer.write(b"fine").unwrap();
        assert_eq!(far_reader.readexactly(4).await.unwrap(), "fine");
    });
}

#[test]
fn a_slow_peer_bounds_what_is_read_ahead_and_a_cancel_stops_there() {
    // SW3, SW9, SW10: what was read is sent whole.
    let mut rng = Rng::new("a_slow_peer_bounds_what_is_read_ahead_and_a_cancel_stops_there");
    on_ring(async move || {
        let content = rng.bytes(32 << 20);
        let file = Temporary::new("slow", &content);
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let waited = wait_for(writer.sendfile(file.open(), 0, None, false), Duration::from_millis(100)).await;
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(writer.get_write_buffer_size() <= 256 << 10);
        writer.close();
        let sent = far_reader.read_to_end().await.unwrap();
        assert!(sent.len() < content.len() && sent == content[..sent.len()], "a prefix of the file");
    });
}
