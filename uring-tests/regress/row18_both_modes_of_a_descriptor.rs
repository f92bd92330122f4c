//! A descriptor that was adopted in its blocking mode hung the thread; one in its other mode gave EAGAIN. Both are waited for.

use std::{
    io::{Read, Write},
    os::fd::OwnedFd,
};

use ringio::{BufResult, Descriptor, TcpStream, create_task};

use crate::{
    promise::turns,
    support::{each_profile, settled, wire},
};

/// More than the buffers of a narrow connection hold.
const MUCH: usize = 64 * 1024;

const MODES: [fn(&OwnedFd); 2] = [|fd| wire::blocking(fd), |fd| wire::nonblocking(fd)];

#[test]
fn connections_in_either_mode_wait_and_let_others_run() {
    each_profile(|_, runner| {
        for mode in MODES {
            runner.run(async {
                let (ours, mut peer) = wire::pair();
                mode(&ours);
                let mut stream = TcpStream::from_fd(ours).unwrap();
                let (read, ()) = futures::join!(stream.read(vec![0; 64]), async {
                    turns(5).await;
                    peer.write_all(b"late").unwrap();
                });
                assert_eq!(&read.1[..read.0.unwrap()], b"late");
                drop((stream, peer));
                let (ours, mut peer) = wire::narrow_pair();
                mode(&ours);
                let mut stream = TcpStream::from_fd(ours).unwrap();
                let writing = create_task(async move {
                    let BufResult(result, _) = stream.write_all(vec![5; MUCH]).await;
                    result
                });
                turns(5).await;
                assert!(!writing.done(), "so much fits nowhere");
                let reading = std::thread::spawn(move || {
                    let mut all = Vec::new();
                    peer.read_to_end(&mut all).unwrap();
                    all.len()
                });
                writing.await.unwrap();
                settled().await;
                assert_eq!(reading.join().unwrap(), MUCH);
            });
        }
    });
}

#[test]
fn pipes_in_either_mode_wait_and_let_others_run() {
    each_profile(|_, runner| {
        for mode in MODES {
            runner.run(async {
                let (reader, mut writer) = std::io::pipe().unwrap();
                let reader = OwnedFd::from(reader);
                mode(&reader);
                let input = Descriptor::new(reader);
                let (read, ()) = futures::join!(input.read(vec![0; 64]), async {
                    turns(5).await;
                    writer.write_all(b"late").unwrap();
                });
                assert_eq!(read.0.unwrap(), 4);
                let (reader, writer) = std::io::pipe().unwrap();
                let filled = wire::fill(&writer);
                let writer = OwnedFd::from(writer);
                mode(&writer);
                let output = Descriptor::new(writer);
                let (written, emptied) = futures::join!(output.write(vec![1; 9000]), async {
                    turns(5).await;
                    wire::read_exactly(&reader, filled).len()
                });
                assert!(written.0.unwrap() > 0);
                assert_eq!(emptied, filled);
            });
        }
    });
}
