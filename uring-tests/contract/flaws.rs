//! Contract 14: flaws of asyncio's, as regressions of ours. Those pinned elsewhere: 1 (`cancel`, C10), 2 (`cancel`, C11),
//! 3 (`timeout`, TO10), 14 (`streams`, SV5), 16 (`streams`, SR5), 17 (`shutdown`), 21 (`streams`, SR7).

use std::{io, time::Duration};

use ringio::{CancelledError, create_task, timeout, yield_now};

use super::{Trace, cancel::me, forever, is_cancel, on_ring, pairs, turns};

#[test]
fn clean_up_of_a_task_cancelled_before_its_start_runs() {
    // 2
    on_ring(async || {
        let trace = Trace::default();
        let log = trace.clone();
        let guard = super::Dropped(trace.clone(), "captured");
        let task = create_task(async move {
            let _guard = guard;
            let ended = yield_now().await;
            log.add("cleaned");
            ended
        });
        task.cancel();
        assert_eq!(task.await, Err(CancelledError));
        assert_eq!(trace.take(), "cleaned captured");
    });
}

#[test]
fn nested_timeouts_keep_their_cancels_apart() {
    // 4 (gh-116720), for the scopes that there are: the inner one's is caught, then the outer one's comes.
    on_ring(async || {
        let short = Duration::from_millis(1);
        let result = timeout(None, async |outer| {
            for _ in 0..3 {
                let inner = timeout(short, async |_| io::Result::Ok(forever().await?)).await;
                assert_eq!(inner.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            outer.reschedule(std::time::Instant::now()).unwrap();
            io::Result::Ok(forever().await?)
        })
        .await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(me().cancelling(), 0);
        turns(2).await;
    });
}

#[test]
fn write_without_drain_is_an_error_once_the_connection_is_lost() {
    // 13: it does not vanish silently.
    on_ring(async || {
        let ((_reader, mut writer), far) = pairs::streams(64).await;
        drop(far);
        let mut refused = None;
        for _ in 0..10_000 {
            if let Err(error) = writer.write(&[0; 1024]) {
                refused = Some(error.kind());
                break;
            }
            turns(1).await;
        }
        assert!(matches!(refused, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)), "{refused:?}");
        assert!(writer.drain().await.is_err());
    });
}

#[test]
fn close_of_a_peer_that_does_not_read_ends() {
    // 12 (gh-83939): wait_closed after the peer has gone with data unsent.
    on_ring(async || {
        let ((_reader, mut writer), far) = pairs::streams(64).await;
        writer.write_owned(vec![1; 32 << 20]).unwrap();
        turns(5).await;
        writer.close();
        drop(far);
        assert!(writer.wait_closed().await.is_err(), "not everything can have been sent");
    });
}

#[test]
fn cancelled_wait_closed_leaves_the_next_one_alone() {
    // 20
    on_ring(async || {
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        const SIZE: usize = 32 << 20;
        writer.write_owned(vec![1; SIZE]).unwrap();
        writer.close();
        let task = create_task(async move {
            let first = writer.wait_closed().await;
            let second = writer.wait_closed().await;
            io::Result::Ok((first.is_err_and(|error| is_cancel(&error)), second.is_ok()))
        });
        turns(5).await;
        task.cancel();
        turns(5).await;
        assert!(!task.done());
        assert_eq!(far_reader.readexactly(SIZE).await.unwrap().len(), SIZE);
        assert_eq!(far_reader.read(1).await.unwrap(), "");
        assert_eq!(task.await.unwrap(), (true, true));
    });
}

#[test]
fn a_listener_survives_a_cancelled_server_task() {
    // 14, SV6: closing one server and starting another on its port works at once.
    on_ring(async || {
        let server = ringio::start_server(async |_, _| {}, "127.0.0.1:0").await.unwrap();
        let address = pairs::address(&server);
        server.close();
        server.wait_closed().await.unwrap();
        let listener = ringio::TcpListener::bind(address);
        assert!(listener.is_ok(), "{listener:?}");
    });
}
