//! Sockets that are named by files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ringio::{
    BindUnix, BufResult, UnixListener, UnixStream, create_task, open_unix_connection, sleep, start_unix_server,
    wait_for,
};

use super::{Kernel, each_kernel, echo};

/// A directory of this test's: on Linux it goes when the test ends.
pub(super) struct Directory(PathBuf, Kernel);

impl Directory {
    pub(super) fn new(kernel: Kernel, test: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ringio-{test}-{}", std::process::id()));
        if kernel == Kernel::Linux {
            fs::create_dir_all(&path).unwrap();
        }
        Directory(path, kernel)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.1 == Kernel::Linux {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

async fn pair(path: &Path) -> (UnixStream, UnixStream) {
    let listener = UnixListener::bind(path).unwrap();
    let client = UnixStream::connect(path).await.unwrap();
    let server = listener.accept().await.unwrap();
    listener.close().await.unwrap();
    (client, server)
}

async fn read_all(stream: &mut UnixStream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    loop {
        let BufResult(result, buffer) = stream.read(Vec::with_capacity(4096)).await;
        match result {
            Ok(0) => return (all, Ok(())),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Err(error)),
        }
    }
}

fn kind_of<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_path_is_there_while_somebody_listens_and_stays_if_told_so() {
    each_kernel("a_path_is_there_while_somebody_listens_and_stays_if_told_so", async |kernel| {
        let directory = Directory::new(kernel, "conformance-paths");
        let path = directory.join("socket");
        assert_eq!(kind_of(UnixStream::connect(&path).await), Some(io::ErrorKind::NotFound));
        let listener = UnixListener::bind_with(&path, BindUnix { cleanup: false, ..BindUnix::default() }).unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        listener.close().await.unwrap();
        let error = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "it was left behind");
        assert!(error.to_string().contains("socket"), "{error}");
        let listener = UnixListener::bind(&path).unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        listener.close().await.unwrap();
        assert_eq!(kind_of(UnixStream::connect(&path).await), Some(io::ErrorKind::NotFound));
    });
}

#[test]
fn a_listener_that_lost_its_path_leaves_the_file_of_the_next_one() {
    // SV2
    each_kernel("a_listener_that_lost_its_path_leaves_the_file_of_the_next_one", async |kernel| {
        let directory = Directory::new(kernel, "conformance-next");
        let path = directory.join("socket");
        let first = UnixListener::bind(&path).unwrap();
        let second = UnixListener::bind(&path).unwrap();
        first.close().await.unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let server = second.accept().await.unwrap();
        assert_eq!(client.peer_path().unwrap(), Some(path.clone()));
        drop((client, server));
        second.close().await.unwrap();
    });
}

#[test]
fn abstract_names_belong_to_one_socket_and_to_no_file() {
    each_kernel("abstract_names_belong_to_one_socket_and_to_no_file", async |_| {
        let name = format!("\0ringio-conformance-{}", std::process::id());
        assert_eq!(kind_of(UnixStream::connect(&name).await), Some(io::ErrorKind::ConnectionRefused));
        let listener = UnixListener::bind(&name).unwrap();
        assert_eq!(kind_of(UnixListener::bind(&name)), Some(io::ErrorKind::AddrInUse));
        let client = UnixStream::connect(&name).await.unwrap();
        assert_eq!(client.peer_path().unwrap(), Some(PathBuf::from(&name)));
        assert_eq!(client.local_path().unwrap(), None);
        drop(listener.accept().await.unwrap());
        listener.close().await.unwrap();
        drop(UnixListener::bind(&name).unwrap());
    });
}

#[test]
fn both_ends_know_each_other() {
    each_kernel("both_ends_know_each_other", async |kernel| {
        let directory = Directory::new(kernel, "conformance-names");
        let path = directory.join("socket");
        let (client, server) = pair(&path).await;
        assert_eq!((client.local_path().unwrap(), client.peer_path().unwrap()), (None, Some(path.clone())));
        assert_eq!((server.local_path().unwrap(), server.peer_path().unwrap()), (Some(path), None));
        let (one, other) = (client.peer_credentials().unwrap(), server.peer_credentials().unwrap());
        assert_eq!((one.pid, one), (std::process::id() as i32, other));
    });
}

#[test]
fn half_a_connection_is_ended_and_the_other_goes_on() {
    each_kernel("half_a_connection_is_ended_and_the_other_goes_on", async |_| {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        client.write_all(b"question".to_vec()).await.0.unwrap();
        client.write_eof().unwrap();
        let (question, ended) = read_all(&mut server).await;
        assert_eq!((&question[..], ended.is_ok()), (&b"question"[..], true));
        server.write_all(b"answer".to_vec()).await.0.unwrap();
        server.close().await.unwrap();
        assert_eq!(read_all(&mut client).await.0, b"answer");
    });
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_the_next_write() {
    each_kernel("a_peer_that_is_gone_is_noticed_by_the_next_write", async |_| {
        let (mut client, server) = UnixStream::pair().unwrap();
        server.close().await.unwrap();
        let error = client.write_all(vec![1; 1000]).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_a_peer_left_unread_resets_the_connection() {
    each_kernel("what_a_peer_left_unread_resets_the_connection", async |_| {
        let (client, mut server) = UnixStream::pair().unwrap();
        let mut client = client;
        client.write_all(b"unread".to_vec()).await.0.unwrap();
        server.write_all(b"read".to_vec()).await.0.unwrap();
        drop(server);
        let (read, ended) = read_all(&mut client).await;
        assert_eq!(read, b"read");
        // A drop closes gently: it reads what there is first, and so need not reset anything.
        assert!(ended.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |()| true));
    });
}

#[test]
fn a_full_connection_waits_for_its_reader() {
    each_kernel("a_full_connection_waits_for_its_reader", async |kernel| {
        let directory = Directory::new(kernel, "conformance-full");
        let (mut client, mut server) = pair(&directory.join("socket")).await;
        let writing = create_task(async move {
            let sent: Vec<u8> = (0..600_000).map(|index| (index % 251) as u8).collect();
            client.write_all(sent).await.0
        });
        sleep(Duration::from_millis(20)).await.unwrap();
        assert!(!writing.done());
        let (read, _) = read_all(&mut server).await;
        assert_eq!(read.len(), 600_000);
        assert!(read.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
        writing.await.unwrap();
    });
}

#[test]
fn a_full_queue_of_a_listener_makes_others_wait() {
    each_kernel("a_full_queue_of_a_listener_makes_others_wait", async |kernel| {
        let directory = Directory::new(kernel, "conformance-backlog");
        let path = directory.join("socket");
        let listener = UnixListener::bind_with(&path, BindUnix { backlog: 1, ..BindUnix::default() }).unwrap();
        let first = UnixStream::connect(&path).await.unwrap();
        let second = UnixStream::connect(&path).await.unwrap();
        assert_eq!(
            kind_of(wait_for(UnixStream::connect(&path), Duration::from_millis(30)).await),
            Some(io::ErrorKind::TimedOut)
        );
        let waiting = create_task({
            let path = path.clone();
            async move { UnixStream::connect(path).await }
        });
        let accepted = listener.accept().await.unwrap();
        let third = waiting.await.unwrap();
        drop((first, second, third, accepted));
        listener.close().await.unwrap();
    });
}

#[test]
fn a_listener_that_closes_breaks_off_what_waits_for_it() {
    each_kernel("a_listener_that_closes_breaks_off_what_waits_for_it", async |kernel| {
        let directory = Directory::new(kernel, "conformance-broken");
        let path = directory.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        listener.close().await.unwrap();
        let (read, ended) = read_all(&mut client).await;
        assert_eq!((&read[..], kind_of(ended)), (&b""[..], Some(io::ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_server_that_does_not_serve_yet_refuses() {
    // SV1
    each_kernel("a_server_that_does_not_serve_yet_refuses", async |kernel| {
        let directory = Directory::new(kernel, "conformance-serving");
        let path = directory.join("socket");
        let server = start_unix_server(echo, &path).start_serving(false).await.unwrap();
        assert_eq!(kind_of(open_unix_connection(&path).await), Some(io::ErrorKind::ConnectionRefused));
        server.start_serving().unwrap();
        let (mut reader, mut writer) = open_unix_connection(&path).await.unwrap();
        writer.write(b"hello").unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), "hello");
        drop((reader, writer));
        server.close();
        server.wait_closed().await.unwrap();
        let idle = start_unix_server(echo, &path).start_serving(false).await.unwrap();
        idle.close();
        idle.wait_closed().await.unwrap();
        assert_eq!(kind_of(open_unix_connection(&path).await), Some(io::ErrorKind::NotFound));
    });
}
