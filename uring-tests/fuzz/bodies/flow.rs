//! The reader's flow control, over a connection of the simulated kernel: whatever is read, begun and dropped, what comes is
//! what was sent, nothing stands still, and no more than twice the limit is taken ahead.
//!
//! Input: the limit, then steps: what is done, and with how many bytes.

use std::{cell::Cell, pin::pin, time::Duration};

use ringio::{
    CancelledError, StreamReader, create_task, open_connection, sleep, start_server, testing::run_virtual, wait_for,
};

/// What is in the two sockets of a connection comes at once, before the kernel can be told to stop.
const ON_THE_WAY: usize = 2 * 256 * 1024;

const STEPS_MAX: usize = 200;

/// Runs one input; panics where something is wrong.
pub(crate) fn check(data: &[u8]) {
    let (first, steps) = data.split_first().unwrap_or((&0, &[]));
    run_virtual(run(1 + usize::from(*first) * 64, steps));
}

async fn run(limit: usize, steps: &[u8]) {
    let steps: Vec<(u8, usize)> =
        steps.chunks_exact(2).take(STEPS_MAX).map(|step| (step[0], amount(step[1]))).collect();
    let to_send = steps.iter().filter(|(what, _)| what % 8 < 3).map(|(_, bytes)| bytes).sum();
    let (asked, orders) = futures::channel::mpsc::unbounded::<usize>();
    let orders = Cell::new(Some(orders));
    let handler = move |_: StreamReader, mut writer: ringio::StreamWriter| {
        let orders = orders.take();
        async move {
            let (mut orders, mut sent) = (orders.expect("one connection"), 0);
            while let Some(bytes) = futures::StreamExt::next(&mut orders).await {
                let piece: Vec<u8> = (sent..sent + bytes).map(pattern).collect();
                sent += bytes;
                writer.write(&piece)?;
            }
            writer.close();
            writer.wait_closed().await
        }
    };
    let server = start_server(handler, "127.0.0.1:0").await.expect("a port is free");
    let (mut reader, _writer) = open_connection(server.sockets()[0]).limit(limit).await.expect("it listens");
    let mut read = 0;
    // What may be taken ahead: twice the limit, and for a read that was given up twice what was there.
    let mut ahead_max = 2 * limit;
    for (what, bytes) in steps {
        match what % 8 {
            0..3 => asked.unbounded_send(bytes).expect("the handler waits for it"),
            3 => sleep(Duration::from_micros(bytes as u64)).await.expect("nobody cancels it"),
            4 => {
                ahead_max = ahead_max.max(2 * buffered(&reader));
                let mut begun = pin!(reader.readexactly(usize::MAX / 2));
                assert!(futures::poll!(begun.as_mut()).is_pending());
            }
            5 => {
                let read_now = wait_for(reader.readexactly(bytes), Duration::from_micros(5)).await;
                read += read_now.map_or(0, |data| verified(&data, read));
            }
            _ => {
                let read_now = wait_for(reader.read(bytes), Duration::from_micros(5)).await;
                read += read_now.map_or(0, |data| verified(&data, read));
            }
        }
        // A read that wants more than the limit may have it.
        if what % 8 != 4 && what % 8 != 5 {
            let ahead = buffered(&reader);
            assert!(
                ahead <= ahead_max + ON_THE_WAY + amount(u8::MAX),
                "{ahead} bytes are buffered, the limit is {limit}"
            );
        }
    }
    drop(asked);
    let rest = create_task(async move { Ok::<_, CancelledError>(reader.read_to_end().await) });
    let rest = rest.await.expect("nobody cancels it").expect("the peer ends well");
    assert_eq!(read + verified(&rest, read), to_send);
    server.close();
    server.wait_closed().await.expect("nobody cancels it");
}

/// From nothing to some 16 KiB.
fn amount(byte: u8) -> usize {
    usize::from(byte) * usize::from(byte) / 4 + 1
}

fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(2654435761) >> 16) as u8
}

fn verified(data: &[u8], at: usize) -> usize {
    assert!(data.iter().enumerate().all(|(index, byte)| *byte == pattern(at + index)), "wrong bytes behind {at}");
    data.len()
}

fn buffered(reader: &StreamReader) -> usize {
    let text = format!("{reader:?}");
    let number = text.split("buffered: ").nth(1).and_then(|rest| rest.split(',').next());
    number.and_then(|number| number.parse().ok()).expect("its Debug form says how much is buffered")
}
