//! Indices that are shared with the kernel were compared, not subtracted, and hung when they wrapped. Those of the queues have
//! 32 bits and are the io-uring crate's; that of the buffer ring has 16 bits and is ours: here it wraps.

use std::io::Write;

use ringio::{Runner, internals};

use crate::support::{settled, wire};

/// More buffers than 16 bits can count, and bytes of each: so many that one is lent out as it is.
const MESSAGES: usize = 70_000;
const LEN: usize = 4096;

#[test]
fn buffer_ring_goes_on_after_its_index_has_wrapped() {
    for profile in ["multi", "full"] {
        let builder = Runner::builder().buffer_pool(64, LEN as u32).profile(profile).handle_ctrl_c(false);
        let mut runner = builder.build().unwrap();
        if runner.driver_report().unwrap().profile != profile {
            eprintln!("SKIPPED: this kernel has no profile {profile}");
            continue;
        }
        runner.run(async {
            let (mut reader, writer, mut peer) = wire::stream_pair().await;
            for number in 0..MESSAGES {
                let message = [number as u8; LEN];
                peer.write_all(&message).unwrap();
                let bytes = reader.readexactly(LEN).await.unwrap();
                assert!(bytes == message[..], "message {number}");
                let counts = internals::counts();
                assert_eq!(
                    counts.buffers_home + 1,
                    counts.buffers,
                    "message {number} came around the pool, not through it"
                );
            }
            drop((reader, writer));
            settled().await;
        });
    }
}
