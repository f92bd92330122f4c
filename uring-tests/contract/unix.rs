//! Contract 8 over Unix sockets.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use ringio::{
    BindUnix, BufResult, ExtraInfo, PeerCredentials, StreamReader, StreamWriter, UnixListener, UnixStream, create_task,
    open_unix_connection, start_unix_server,
};

use super::{is_cancel, on_ring, turns};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ringio-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let data = reader.read_to_end().await?;
    writer.write_owned(data)
}

#[test]
fn unix_connections_are_streams() {
    // OC1, SW5, SW6, SV3
    on_ring(async || {
        let directory = Directory::new("streams");
        let path = directory.socket();
        let server = start_unix_server(echo, &path).backlog(7).limit(1024).await.unwrap();
        assert!(server.is_serving() && server.sockets().is_empty());
        assert_eq!(server.paths(), std::slice::from_ref(&path));
        let (mut reader, mut writer) = open_unix_connection(&path).limit(16).await.unwrap();
        assert!(writer.can_write_eof());
        let big: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        writer.write(&big).unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), big);
        assert_eq!(writer.get_extra_info("peername"), Some(ExtraInfo::Path(path.clone())));
        assert_eq!(writer.get_extra_info("sockname"), Some(ExtraInfo::Path(PathBuf::new())));
        let process = std::process::id() as i32;
        assert!(
            matches!(writer.get_extra_info("peercred"), Some(ExtraInfo::Credentials(PeerCredentials { pid, .. })) if pid == process)
        );
        assert_eq!(writer.get_extra_info("pipe"), None);
        server.close();
        server.wait_closed().await.unwrap();
        assert!(!path.exists());
        let error = open_unix_connection(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("socket"), "{error}");
        assert!(open_unix_connection(&path).limit(0).await.is_err());
    });
}

#[test]
fn a_socket_that_was_left_is_replaced_and_another_file_is_not() {
    // SV2
    on_ring(async || {
        let directory = Directory::new("stale");
        let path = directory.socket();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let server = start_unix_server(echo, &path).await.unwrap();
        drop(open_unix_connection(&path).await.unwrap());
        server.close();
        fs::write(&path, "somebody's").unwrap();
        let error = start_unix_server(echo, &path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&format!("{path:?} is already in use")), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        let missing = start_unix_server(echo, directory.0.join("no/such")).await.unwrap_err();
        assert!(missing.to_string().contains("no/such"), "{missing}");
        let long = start_unix_server(echo, directory.0.join("x".repeat(200))).await.unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn only_its_own_file_is_removed_at_close_and_only_if_wanted() {
    // SV2
    on_ring(async || {
        let directory = Directory::new("cleanup");
        let path = directory.socket();
        let first = start_unix_server(echo, &path).await.unwrap();
        let second = start_unix_server(echo, &path).await.unwrap();
        first.close();
        assert!(path.exists(), "it is the second one's");
        second.close();
        assert!(!path.exists());
        let kept = start_unix_server(echo, &path).cleanup_socket(false).await.unwrap();
        kept.close();
        assert!(path.exists());
        // Never served, and dropped: closed as well.
        let idle = start_unix_server(echo, &path).start_serving(false).await.unwrap();
        assert!(path.exists() && !idle.is_serving());
        assert_eq!(open_unix_connection(&path).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        idle.start_serving().unwrap();
        drop(open_unix_connection(&path).await.unwrap());
        idle.close();
        assert!(!path.exists());
    });
}

#[test]
fn permissions_stand_from_the_beginning() {
    // SV2
    on_ring(async || {
        let directory = Directory::new("mode");
        let path = directory.socket();
        for mode in [0o600, 0o640] {
            let listener =
                UnixListener::bind_with(&path, BindUnix { mode: Some(mode), ..BindUnix::default() }).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            listener.close().await.unwrap();
        }
    });
}

#[test]
fn abstract_names_belong_to_no_file() {
    // SV2
    on_ring(async || {
        let name = format!("\0ringio-test-{}", std::process::id());
        let server = start_unix_server(echo, &name).await.unwrap();
        let error = start_unix_server(echo, &name).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let (mut reader, mut writer) = open_unix_connection(&name).await.unwrap();
        assert_eq!(writer.get_extra_info("peername"), Some(ExtraInfo::Path(name.clone().into())));
        writer.write(b"hi").unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), "hi");
        server.close();
        server.wait_closed().await.unwrap();
        assert_eq!(open_unix_connection(&name).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn owned_buffers_travel_and_come_back() {
    on_ring(async || {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        assert_eq!(here.peer_credentials().unwrap().pid, std::process::id() as i32);
        assert_eq!(here.peer_path().unwrap(), None);
        let reading = create_task(async move {
            let read = there.read(Vec::with_capacity(8)).await.0;
            (read, ()).0
        });
        turns(2).await;
        reading.cancel();
        assert!(is_cancel(&reading.await.unwrap_err()));
        let BufResult(written, text) = here.write_all("x".repeat(10)).await;
        assert_eq!((text.len(), written.is_ok()), (10, written.is_ok()), "the buffer comes back either way");
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.write_all(vec![5u8; 100]).await.0.unwrap();
        here.write_eof().unwrap();
        let mut total = 0;
        loop {
            let BufResult(count, _) = there.read(vec![0; 64]).await;
            match count.unwrap() {
                0 => break,
                count => total += count,
            }
        }
        assert_eq!(total, 100);
        there.close().await.unwrap();
        here.close().await.unwrap();
    });
}

#[test]
fn cancelled_accept_leaves_the_connection_to_the_next() {
    // SV9
    on_ring(async || {
        let directory = Directory::new("accept");
        let listener = UnixListener::bind(directory.socket()).unwrap();
        let accepting = listener.clone();
        let task = create_task(async move { accepting.accept().await.map(drop) });
        turns(3).await;
        task.cancel();
        let mut client = UnixStream::connect(directory.socket()).await.unwrap();
        assert!(is_cancel(&task.await.unwrap_err()));
        client.write_all("hello").await.0.unwrap();
        let mut server = listener.accept().await.unwrap();
        assert_eq!(server.local_path().unwrap(), Some(directory.socket()));
        let BufResult(count, buffer) = server.read(vec![0; 16]).await;
        assert_eq!(&buffer[..count.unwrap()], b"hello");
    });
}
