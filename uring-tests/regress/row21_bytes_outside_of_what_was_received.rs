//! A buffer said that more of it was filled than was, or a window let go of what stood around it. Windows at random, against
//! a plain vector.

use ringio::{BufResult, IoBuf};

use crate::support::{Rng, each_profile, wire};

const LEN: usize = 300;

#[test]
fn windows_receive_inside_their_bounds_and_say_how_much() {
    let mut rng = Rng::new("windows_receive_inside_their_bounds_and_say_how_much");
    each_profile(|_, runner| {
        runner.run(async {
            let (input, mut pipe) = wire::pipe();
            for _ in 0..300 {
                let before = rng.bytes(LEN);
                let begin = rng.below(LEN);
                let end = begin + 1 + rng.below(LEN - begin);
                let sent = rng.chunk(2 * LEN);
                std::io::Write::write_all(&mut pipe, &sent).unwrap();
                let mut model = before.clone();
                let mut rest = &sent[..];
                // A window of a window is one into the same memory.
                let inner = rng.below(end - begin);
                let BufResult(count, window) = input.read(before.slice(begin..end).slice(inner..)).await;
                let count = count.unwrap();
                assert_eq!(count, rest.len().min(end - begin - inner));
                model[begin + inner..begin + inner + count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                let whole = window.into_inner().into_inner();
                assert!(whole.len() >= begin + inner + count);
                assert_eq!(whole[..begin + inner + count], model[..begin + inner + count]);
                while !rest.is_empty() {
                    let BufResult(count, buffer) = input.read(Vec::with_capacity(64)).await;
                    let count = count.unwrap();
                    assert_eq!(buffer, rest[..count], "a vector is as long as what was received");
                    rest = &rest[count..];
                }
            }
        });
    });
}
