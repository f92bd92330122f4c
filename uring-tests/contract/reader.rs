//! Contract 8, StreamReader: fed by hand, so that every chunk falls where the test wants it.

use std::{io, pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use ringio::{
    BufResult, CancelledError, Error, Feed, IncompleteReadError, LimitOverrunError, StreamReader, Task, create_task,
    sleep, timeout, wait_for,
};

use super::{is_cancel, on_ring, pairs, turns, until};
use crate::support::Rng;

fn fed(limit: usize, chunks: &[&'static str]) -> (StreamReader, Feed) {
    let (reader, feed) = StreamReader::for_test(limit).unwrap();
    chunks.iter().for_each(|chunk| feed.feed_data(*chunk));
    (reader, feed)
}

/// A task with any result.
fn background<T: 'static>(body: impl Future<Output = T> + 'static) -> Task<T, CancelledError> {
    create_task(async { Ok(body.await) })
}

#[track_caller]
fn overrun(error: io::Error) -> (usize, bool) {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let Error::LimitOverrun(LimitOverrunError { consumed, found }) = Error::from(error) else {
        panic!("another error")
    };
    (consumed, found)
}

#[track_caller]
fn incomplete(error: io::Error) -> (Vec<u8>, Option<usize>) {
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let Error::IncompleteRead(IncompleteReadError { partial, expected }) = Error::from(error) else {
        panic!("another error")
    };
    (partial.to_vec(), expected)
}

#[test]
fn a_limit_of_zero_is_refused() {
    // OC6, SR11
    on_ring(async || {
        assert_eq!(StreamReader::for_test(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn read_is_not_bound_by_the_limit_and_read_to_end_takes_all() {
    // SR1
    on_ring(async || {
        let (mut reader, feed) = fed(3, &["li", "ne1", "line2"]);
        assert_eq!(reader.read(5).await.unwrap(), "li");
        let reading = background(async move { (reader.read_to_end().await, reader) });
        turns(3).await;
        assert!(!reading.done());
        feed.feed_data("more");
        feed.feed_eof();
        let (all, mut reader) = reading.await.unwrap();
        assert_eq!(all.unwrap(), "ne1line2more");
        assert_eq!(reader.read_to_end().await.unwrap(), "");
        assert!(reader.at_eof());
    });
}

#[test]
fn read_into_fills_an_owned_buffer_and_gives_it_back() {
    // SR1, SR10
    on_ring(async || {
        let (mut reader, feed) = fed(8, &["hello"]);
        let BufResult(count, buffer) = reader.read_into(vec![0u8; 0]).await;
        assert_eq!((count.unwrap(), buffer.len()), (0, 0));
        let BufResult(count, buffer) = reader.read_into(vec![9u8; 3]).await;
        assert_eq!((count.unwrap(), &buffer[..]), (3, &b"hel"[..]));
        let BufResult(count, buffer) = reader.read_into(buffer).await;
        assert_eq!((count.unwrap(), &buffer[..]), (2, &b"lo"[..]));
        let BufResult(timed_out, buffer) = wait_for(reader.read_into(buffer), Duration::from_millis(1)).await;
        assert_eq!(timed_out.unwrap_err().kind(), io::ErrorKind::TimedOut);
        feed.feed_data("x");
        feed.set_exception(io::ErrorKind::ConnectionReset.into());
        let BufResult(count, buffer) = reader.read_into(buffer).await;
        assert_eq!(count.unwrap(), 1);
        let BufResult(failed, _) = reader.read_into(buffer).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn readuntil_finds_separators_across_chunks() {
    // SR3
    on_ring(async || {
        let (mut reader, feed) = fed(64, &["one<", "s", "ep", "", ">two<sep>thr<se"]);
        assert_eq!(reader.readuntil(b"<sep>").await.unwrap(), "one<sep>");
        assert_eq!(reader.readuntil("<sep>").await.unwrap(), "two<sep>");
        let task = background(async move { (reader.readuntil(b"<sep>".to_vec()).await, reader) });
        turns(3).await;
        feed.feed_data("p>");
        let (found, mut reader) = task.await.unwrap();
        assert_eq!(found.unwrap(), "thr<sep>");
        feed.feed_data("a\0b");
        assert_eq!(reader.readuntil(0u8).await.unwrap(), "a\0");
    });
}

#[test]
fn of_several_separators_the_one_that_ends_first_wins() {
    // SR3: whatever the order they are named in, and even where a longer one ends first.
    on_ring(async || {
        let (mut reader, _feed) = fed(64, &["l1\r\nl2\nl3\r", "\nABCDEFG rest;"]);
        for expected in ["l1\r\n", "l2\n", "l3\r\n"] {
            assert_eq!(reader.readuntil(["\n", "\r\n"]).await.unwrap(), expected);
        }
        assert_eq!(reader.readuntil([&b"CDEFG"[..], &b"BCDE"[..], b"G"]).await.unwrap(), "ABCDE");
        assert_eq!(reader.readuntil(&["; ", ";"][..]).await.unwrap(), "FG rest;");
    });
}

#[test]
fn empty_separators_are_refused() {
    // SR3
    on_ring(async || {
        let (mut reader, _feed) = fed(64, &["data"]);
        let none: [&str; 0] = [];
        for error in [
            reader.readuntil(b"").await.unwrap_err(),
            reader.readuntil(none).await.unwrap_err(),
            reader.readuntil(["\n", ""]).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(reader.read(9).await.unwrap(), "data");
    });
}

#[test]
fn early_end_of_readuntil_says_what_had_come_and_empties_the_buffer() {
    // SR4
    on_ring(async || {
        let (mut reader, feed) = fed(64, &["some dataAAA"]);
        feed.feed_eof();
        assert_eq!(incomplete(reader.readuntil(b"AAAA").await.unwrap_err()), (b"some dataAAA".to_vec(), None));
        assert!(reader.at_eof());
    });
}

#[test]
fn readuntil_over_the_limit_leaves_the_data() {
    // SR4: "not found" counts what cannot belong to a separator, "found" what stands before it.
    on_ring(async || {
        let (mut reader, feed) = fed(3, &["some dataAA"]);
        assert_eq!(overrun(reader.readuntil(b"AAA").await.unwrap_err()), (9, false));
        feed.feed_data("A");
        assert_eq!(overrun(reader.readuntil(b"AAA").await.unwrap_err()), (9, true));
        assert_eq!(reader.read(100).await.unwrap(), "some dataAAA");
        let (mut reader, _feed) = fed(3, &["123", "END456", "7"]);
        assert_eq!(reader.readuntil(b"END").await.unwrap(), "123END", "the limit does not count the separator");
        assert_eq!(overrun(reader.readuntil(["E", "N"]).await.unwrap_err()), (4, false));
    });
}

#[test]
fn readuntil_is_as_a_plain_search_however_the_chunks_fall() {
    // SR3, SR10: against a model; every other read is first cancelled.
    let mut rng = Rng::new("readuntil_is_as_a_plain_search_however_the_chunks_fall");
    on_ring(async move || {
        for _ in 0..300 {
            let text: Vec<u8> = (0..1 + rng.below(60)).map(|_| b"abc"[rng.below(3)]).collect();
            let separators: Vec<Vec<u8>> =
                (0..1 + rng.below(3)).map(|_| (0..1 + rng.below(4)).map(|_| b"abc"[rng.below(3)]).collect()).collect();
            let (mut reader, feed) = StreamReader::for_test(1 << 20).unwrap();
            let (mut fed, mut taken) = (0, 0);
            loop {
                let left = &text[taken..];
                let end =
                    (1..=left.len()).find(|end| separators.iter().any(|separator| left[..*end].ends_with(separator)));
                let needed = taken + end.unwrap_or(left.len());
                let known = std::rc::Rc::new(std::cell::Cell::new(false));
                let done = known.clone();
                let wanted = separators.clone();
                let task = background(async move {
                    if wanted.len().is_multiple_of(2) {
                        let cancelled = timeout(Duration::ZERO, async |_| reader.readuntil(&wanted[..]).await).await;
                        if !matches!(&cancelled, Err(error) if error.kind() == io::ErrorKind::TimedOut) {
                            done.set(true);
                            return (cancelled, reader);
                        }
                    }
                    let found = reader.readuntil(&wanted[..]).await;
                    done.set(true);
                    (found, reader)
                });
                while fed < needed {
                    turns(rng.below(3)).await;
                    let chunk = (1 + rng.below(8)).min(text.len() - fed);
                    feed.feed_data(text[fed..fed + chunk].to_vec());
                    fed += chunk;
                }
                if end.is_none() {
                    feed.feed_eof();
                }
                until(|| known.get()).await;
                let (found, back) = task.await.unwrap();
                reader = back;
                match end {
                    Some(end) => assert_eq!(found.unwrap(), left[..end], "{separators:?} in {text:?}"),
                    None => {
                        assert_eq!(incomplete(found.unwrap_err()).0, left);
                        break;
                    }
                }
                taken = needed;
            }
        }
    });
}

#[test]
fn skip_line_goes_on_behind_a_line_that_was_too_long() {
    // SR5, flaw 16: the error says how much and whether the end was there; nothing behind the line is lost.
    on_ring(async || {
        let (mut reader, feed) = fed(4, &["1234567"]);
        assert_eq!(overrun(reader.readline().await.unwrap_err()), (7, false));
        let task = background(async move { (reader.skip_line().await, reader) });
        turns(2).await;
        feed.feed_data("89");
        turns(2).await;
        feed.feed_data("0\nok\n123456\nfine\nlast");
        let (skipped, mut reader) = task.await.unwrap();
        assert_eq!(skipped.unwrap(), 4);
        assert_eq!(reader.readline().await.unwrap(), "ok\n");
        assert_eq!(overrun(reader.readline().await.unwrap_err()), (6, true));
        assert_eq!(reader.readline().await.unwrap(), "fine\n");
        feed.feed_eof();
        assert_eq!(reader.skip_line().await.unwrap(), 4);
        assert_eq!(reader.skip_line().await.unwrap(), 0);
    });
}

#[test]
fn lines_end_with_the_stream() {
    // SR6
    on_ring(async || {
        let (mut reader, feed) = fed(64, &["one\n", "\ntwo"]);
        feed.feed_eof();
        let mut lines = reader.lines();
        for expected in ["one\n", "\n", "two"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected);
        }
        assert!(lines.next().await.unwrap().is_none());
        let (mut reader, feed) = fed(4, &["12", "3\n123456\n", "ab"]);
        let task = create_task(async move {
            let lines: Vec<_> = StreamExt::collect(reader.lines()).await;
            Ok::<_, io::Error>(lines)
        });
        turns(3).await;
        feed.feed_data("c\n");
        feed.feed_eof();
        let lines = task.await.unwrap();
        assert_eq!(lines[0].as_ref().unwrap(), "123\n");
        assert!(lines[1].is_err(), "too long");
        assert_eq!(lines[2].as_ref().unwrap(), "abc\n");
        assert_eq!(lines.len(), 3);
    });
}

#[test]
fn cancelled_stream_of_lines_loses_nothing() {
    // SR10
    on_ring(async || {
        let (mut reader, feed) = fed(64, &["begun"]);
        let task = create_task(async move {
            let mut lines = reader.lines();
            let first = std::future::poll_fn(|cx| Pin::new(&mut lines).poll_next(cx)).await;
            assert!(is_cancel(&first.unwrap().unwrap_err()));
            StreamExt::next(&mut lines).await.unwrap()
        });
        turns(2).await;
        task.cancel();
        turns(2).await;
        feed.feed_data(" and done\n");
        assert_eq!(task.await.unwrap(), "begun and done\n");
    });
}

#[test]
fn data_comes_before_the_error_that_ended_the_stream() {
    // SR7, flaw 21
    on_ring(async || {
        let (mut reader, feed) = fed(64, &["line\nhalf"]);
        feed.set_exception(io::Error::from_raw_os_error(104));
        assert_eq!(reader.readline().await.unwrap(), "line\n");
        assert_eq!(reader.readline().await.unwrap_err().raw_os_error(), Some(104));
        assert_eq!(reader.readuntil("x").await.unwrap_err().raw_os_error(), Some(104));
        assert_eq!(reader.readexactly(5).await.unwrap_err().raw_os_error(), Some(104));
        assert_eq!(reader.read_to_end().await.unwrap_err().raw_os_error(), Some(104));
        assert!(!reader.at_eof());
        assert_eq!(reader.readexactly(4).await.unwrap(), "half");
        assert!(reader.at_eof());
        assert_eq!(reader.read(1).await.unwrap_err().raw_os_error(), Some(104));
        assert_eq!(reader.skip_line().await.unwrap_err().raw_os_error(), Some(104));
    });
}

#[test]
fn unread_data_is_bounded_and_reading_starts_it_again() {
    // SR9: a peer that writes and a reader that does not read.
    on_ring(async || {
        const LIMIT: usize = 16 * 1024;
        let ((mut reader, _writer), (_far_reader, mut far)) = pairs::streams(LIMIT).await;
        assert!(wait_for(reader.read(1), Duration::from_millis(1)).await.is_err());
        const SIZE: usize = 64 << 20;
        far.write_owned(vec![7; SIZE]).unwrap();
        let stuck = |far: &ringio::StreamWriter| far.get_write_buffer_size();
        let mut before = usize::MAX;
        // Until nothing moves any more.
        while stuck(&far) != before {
            before = stuck(&far);
            sleep(Duration::from_millis(20)).await.unwrap();
        }
        let text = format!("{reader:?}");
        let buffered: usize = text.split("buffered: ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        // What the kernel had already received when the stop was asked for comes on top: all that the pool begins with, at most.
        assert!(buffered <= 2 * LIMIT + (2 << 20), "{buffered} bytes are buffered");
        assert!(before > SIZE / 2, "the peer was held up: {before}");
        // Reading more than the limit at once starts it again.
        assert_eq!(reader.readexactly(SIZE).await.unwrap().len(), SIZE);
    });
}

#[test]
fn who_gave_up_wanting_much_is_not_received_for() {
    // SR9, SR10: of a read of everything that was cancelled nothing stays but what had come, and what the limit allows.
    const SENT: usize = 8 << 20;
    ringio::testing::run_virtual(async {
        let far = std::rc::Rc::new(std::cell::Cell::new(None));
        let place = far.clone();
        let handler = move |_: StreamReader, writer: ringio::StreamWriter| {
            place.set(Some(writer));
            async {}
        };
        let server = ringio::start_server(handler, "127.0.0.1:0").await.unwrap();
        let (mut reader, _writer) = ringio::open_connection(server.sockets()[0]).limit(1000).await.unwrap();
        let wanted = wait_for(reader.read_to_end(), Duration::from_secs(1)).await;
        assert_eq!(wanted.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut writer = far.take().unwrap();
        writer.write(&vec![7; SENT]).unwrap();
        // Virtual time: all that can happen does.
        sleep(Duration::from_secs(60)).await.unwrap();
        let taken = SENT - writer.get_write_buffer_size();
        assert!(taken < SENT / 2, "{taken} bytes were taken, which nobody reads");
        assert_eq!(reader.read(1).await.unwrap(), [7][..]);
        writer.close();
        assert_eq!(reader.read_to_end().await.unwrap().len(), SENT - 1);
    });
}
