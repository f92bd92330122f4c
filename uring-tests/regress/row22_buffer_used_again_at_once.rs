//! Memory was handed back while the kernel still sent from it (zero-copy sends that end before their notification). Whoever
//! writes over a buffer as soon as it comes back, changes nothing of what was sent.

use std::io::Read;

use ringio::{BufResult, TcpStream};

use crate::support::{Rng, each_profile, settled, wire};

const TOTAL: usize = 4 << 20;

#[test]
fn buffers_written_over_as_soon_as_they_come_back() {
    let mut rng = Rng::new("buffers_written_over_as_soon_as_they_come_back");
    each_profile(|_, runner| {
        runner.run(async {
            let (ours, mut peer) = wire::pair();
            let mut stream = TcpStream::from_fd(ours).unwrap();
            let reading = std::thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                all
            });
            let (mut buffer, mut sent) = (Vec::new(), Vec::new());
            while sent.len() < TOTAL {
                let content = rng.chunk(200_000);
                buffer.clear();
                buffer.extend_from_slice(&content);
                let BufResult(count, mut back) = stream.write(buffer).await;
                sent.extend_from_slice(&content[..count.unwrap()]);
                back.fill(0xee);
                buffer = back;
            }
            stream.close().await.unwrap();
            settled().await;
            assert!(reading.join().unwrap() == sent, "what was sent is not what was lent");
        });
    });
}
