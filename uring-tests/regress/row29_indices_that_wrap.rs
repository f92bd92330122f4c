//! Indices that are shared with the kernel were compared, not subtracted, and hung when they wrapped. Those of the queues have
//! 32 bits and are the io-uring crate's; that of the buffer ring has 16 bits and is ours: here it wraps.

use std::io::Write;

use ringio::Runner;

use crate::support::{PROFILES, settled, wire};

/// More buffers than 16 bits can count.
const MESSAGES: usize = 70_000;

#[test]
fn buffer_ring_goes_on_after_its_index_has_wrapped() {
    for profile in PROFILES {
        // A buffer holds one message, or a few: it goes out and comes back each time.
        let mut runner = Runner::builder().buffer_pool(4, 64).profile(profile).handle_ctrl_c(false).build().unwrap();
        runner.run(async {
            let (mut reader, _writer, mut peer) = wire::stream_pair().await;
            let thread = std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    peer.write_all(&[number as u8; 64]).unwrap();
                }
            });
            for number in 0..MESSAGES {
                assert!(reader.readexactly(64).await.unwrap() == [number as u8; 64][..], "message {number}");
            }
            thread.join().unwrap();
            assert_eq!(reader.read(1).await.unwrap(), "");
            drop((reader, _writer));
            settled().await;
        });
    }
}
