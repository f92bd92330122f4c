//! Operations that the kernel cannot carry out at once took a thread each: hundreds of `iou-wrk`. Ours are those that it waits
//! for without one.

use futures::future::join_all;
use ringio::{TcpListener, create_task};

use crate::support::{alone, each_profile, process::threads, settled, wire};

#[test]
fn thousand_waits_take_no_thread() {
    alone(&thousand_waits_take_no_thread, || {
        let _more = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard)
        });
        each_profile(|_, runner| {
            runner.run(async {
                let before = threads();
                let (mut reading, mut writing, mut peers) = (Vec::new(), Vec::new(), Vec::new());
                for _ in 0..400 {
                    let (input, peer) = wire::pipe();
                    reading.push(create_task(async move { input.read(vec![0; 8]).await.0 }));
                    peers.push(peer);
                    let (full, writer) = std::io::pipe().unwrap();
                    wire::fill(&writer);
                    let output = ringio::Descriptor::new(writer.into());
                    writing.push(create_task(async move { output.write(vec![1; 9000]).await.0 }));
                    drop(full);
                }
                let listeners: Vec<_> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
                let accepting: Vec<_> = listeners
                    .into_iter()
                    .map(|listener| create_task(async move { listener.accept().await.map(drop) }))
                    .collect();
                for _ in 0..5 {
                    ringio::yield_now().await.unwrap();
                    assert!(threads() <= before + 2, "{} threads were {before}", threads());
                }
                for peer in &peers {
                    nix::unistd::write(peer, b"end").unwrap();
                }
                assert!(join_all(reading).await.into_iter().all(|read| read.unwrap() == 3));
                assert!(join_all(writing).await.into_iter().all(|written| written.is_err()), "nobody reads there");
                for task in accepting {
                    task.cancel();
                    task.await.unwrap_err();
                }
                settled().await;
                assert!(threads() <= before + 2, "{} threads were {before}", threads());
            });
        });
    });
}
