//! Lengths were cut to 32 bits: a transfer of 4 GiB became one of nothing, which a reader takes for the end.

use std::io::Write;

use ringio::{BufResult, Descriptor, TcpStream};

use crate::support::{each_profile, wire};

/// Zero in 32 bits. Nobody touches more than its first pages, so that is all there is of it.
const WRAPS: usize = 1 << 32;

#[test]
fn transfers_of_four_gigabytes_are_cut_and_never_wrap() {
    each_profile(|_, runner| {
        runner.run(async {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(b"into a large buffer").unwrap();
            let input = Descriptor::new(reader.into());
            let BufResult(count, buffer) = input.read(vec![0; WRAPS]).await;
            assert_eq!(&buffer[..count.unwrap()], b"into a large buffer");
            let (ours, mut peer) = wire::narrow_pair();
            let mut stream = TcpStream::from_fd(ours).unwrap();
            let BufResult(count, buffer) = stream.write(buffer).await;
            let count = count.unwrap();
            assert!(count > 0, "a transfer of 4 GiB became one of nothing");
            peer.write_all(b"and back").unwrap();
            let BufResult(count, buffer) = stream.read(buffer).await;
            assert_eq!(&buffer[..count.unwrap()], b"and back");
        });
    });
}
