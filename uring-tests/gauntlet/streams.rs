//! Streams under chance, in both directions of each connection at once: reads of every kind, cancels, drops and timeouts at
//! every await, half-closes, aborts and resets at any point. What comes out is a prefix of what went in, and all of it
//! unless somebody broke the connection.

use std::{cell::Cell, io, rc::Rc};

use ringio::{StreamReader, StreamWriter, create_task, open_connection, start_server};

use super::{
    echo::end,
    seeds::{Run, gauntlet},
};
use crate::{
    contract::chance::{End, read_all, text, write_all},
    support::Rng,
};

/// What one side sends: the other side knows it from the seed.
struct Speech {
    text: bytes::Bytes,
    end: End,
}

fn speech(seed: u64, bytes_max: usize) -> Speech {
    let mut rng = Rng::of(seed);
    let len = rng.below(bytes_max);
    let end = [End::Close, End::HalfClose, End::HalfClose, End::HalfClose, End::Drop, End::Abort][rng.below(6)];
    Speech { text: text(&mut rng, len), end }
}

/// One side of a connection: says its own, and hears the other's.
async fn side(
    (mut reader, writer): (StreamReader, StreamWriter),
    (own, other): (Speech, Speech),
    run: Run,
    mut rng: Rng,
    limit: usize,
) {
    // A side that closes hears no more of the other, which may find its own words unsent.
    let cuts = |end: End| end != End::HalfClose;
    let may_break = run.may_reset() || cuts(own.end) || cuts(other.end);
    let writing = create_task(write_all(writer, own.text, own.end, may_break, Rng::of(rng.next())));
    let (heard, error) = read_all(&mut reader, &mut rng, limit).await;
    drop(writing.await.expect("nobody cancels it"));
    assert!(other.text.starts_with(&heard), "{} bytes are no prefix of {}", heard.len(), other.text.len());
    if !may_break {
        assert!(error.is_none(), "{error:?}");
        assert_eq!(heard.len(), other.text.len());
    }
}

fn workload(run: Run) {
    run.program(async {
        let mut rng = run.rng();
        let limit = 600 + rng.below(5000);
        let (seed, served) = (rng.next(), Rc::new(Cell::new(0_u64)));
        let bytes_max = run.bytes_max().min(run.steps * 100);
        let number = served.clone();
        let handler = move |reader, writer| {
            let number = number.replace(number.get() + 1);
            let speeches = (speech(seed, bytes_max), speech(!seed, bytes_max));
            async move {
                side((reader, writer), speeches, run, Rng::of(seed ^ number), limit).await;
                io::Result::Ok(())
            }
        };
        let server = start_server(handler, "127.0.0.1:0").limit(limit).await.expect("a port is free");
        for turn in 0..1 + rng.below(3) as u64 {
            let opened = open_connection(server.sockets()[0]).limit(limit).await;
            let Ok(halves) = opened else {
                assert!(run.may_reset(), "{opened:?}");
                continue;
            };
            let speeches = (speech(!seed, bytes_max), speech(seed, bytes_max));
            side(halves, speeches, run, Rng::of(seed ^ (turn << 32)), limit).await;
        }
        end(server).await;
    });
}

#[test]
fn both_directions_give_a_prefix_and_all_of_it_unless_they_say_so() {
    gauntlet("both_directions_give_a_prefix_and_all_of_it_unless_they_say_so", &[], workload);
}
