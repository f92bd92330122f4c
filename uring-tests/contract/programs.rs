//! Programs as users write them, which have to compile and to run: those of asyncio's documentation first.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use ringio::{
    BufResult, CancelledError, Outcome, StreamReader, StreamWriter, create_task, run, sleep, start_server, timeout,
    wait_for,
};

use super::{Trace, in_time, on_ring, pairs};

/// The unit of time of these programs.
const S: Duration = Duration::from_millis(1);

async fn cancel_me(trace: Trace) -> Result<(), CancelledError> {
    trace.add("before");
    let r = sleep(3_600_000 * S).await;
    if r.is_err() {
        trace.add("cancel sleep");
    }
    trace.add("after");
    r
}

#[test]
fn task_cancel_from_the_documentation() {
    in_time(|| {
        let trace = Trace::default();
        run(async {
            let t = create_task(cancel_me(trace.clone()));
            sleep(S).await?;
            t.cancel();
            match t.await {
                Err(CancelledError) => trace.add("main(): cancel_me is cancelled now"),
                Ok(()) => trace.add("main(): too late"),
            }
            Ok::<_, CancelledError>(())
        })
        .unwrap();
        assert_eq!(trace.take(), "before cancel sleep after main(): cancel_me is cancelled now");
    });
}

async fn echo(mut r: StreamReader, mut w: StreamWriter) -> io::Result<()> {
    loop {
        let b = r.read(16384).await?;
        if b.is_empty() {
            break;
        }
        w.write(&b)?;
        w.drain().await?;
    }
    w.close();
    w.wait_closed().await
}

#[test]
fn echo_server() {
    on_ring(async || {
        let s = start_server(echo, "127.0.0.1:0").backlog(128).await.unwrap();
        let address = pairs::address(&s);
        let serving = s.clone();
        let serve = create_task(async move { serving.serve_forever().await });
        let (mut r, mut w) = ringio::open_connection(address).await.unwrap();
        w.write(b"hello").unwrap();
        w.write_eof().unwrap();
        assert_eq!(r.readexactly(5).await.unwrap(), "hello");
        assert_eq!(r.read(1).await.unwrap(), "");
        s.close();
        serve.await.unwrap();
    });
}

#[test]
fn server_with_state_and_a_limit_on_each_line() {
    on_ring(async || {
        let st = Rc::new(RefCell::new(5));
        let seen = st.clone();
        let s = start_server(
            move |mut r, mut w| {
                let st = st.clone();
                async move {
                    let b = wait_for(r.readline(), 5000 * S).await?;
                    *st.borrow_mut() += 1;
                    w.write(&b)?;
                    io::Result::Ok(())
                }
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let (mut r, mut w) = ringio::open_connection(pairs::address(&s)).await.unwrap();
        w.write(b"line\n").unwrap();
        assert_eq!(r.readline().await.unwrap(), "line\n");
        assert_eq!(*seen.borrow(), 6);
    });
}

#[test]
fn server_with_an_async_closure_that_returns_nothing() {
    on_ring(async || {
        let s = start_server(
            async |mut r: StreamReader, mut w: StreamWriter| {
                while let Ok(b) = r.readline().await {
                    if w.write(&b).is_err() {
                        break;
                    }
                    if b.is_empty() {
                        break;
                    }
                }
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let (mut r, mut w) = ringio::open_connection(pairs::address(&s)).await.unwrap();
        w.write(b"a\nb\n").unwrap();
        assert_eq!(r.readline().await.unwrap(), "a\n");
        assert_eq!(r.readline().await.unwrap(), "b\n");
    });
}

async fn limited_line(mut r: StreamReader, limit: Duration) -> io::Result<()> {
    let line = timeout(limit, async |_| {
        let l = r.readline().await?;
        io::Result::Ok(l)
    })
    .await?;
    assert_eq!(line, "x\n");
    create_task(async {
        let _ = sleep(S).await;
    });
    create_task(async {
        sleep(S).await?;
        Ok::<_, CancelledError>(7)
    });
    Ok(())
}

#[test]
fn line_under_a_timeout() {
    on_ring(async || {
        let ((reader, _writer), (_far_reader, mut far)) = pairs::streams(64).await;
        far.write(b"x\n").unwrap();
        limited_line(reader, 5000 * S).await.unwrap();
        let ((reader, _writer), _far) = pairs::streams(64).await;
        assert_eq!(limited_line(reader, S).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

async fn boxed() -> Result<i32, Box<dyn std::error::Error>> {
    sleep(S).await?;
    let t = create_task(async {
        sleep(S).await?;
        let x: i32 = "4".parse()?;
        Ok::<_, Box<dyn std::error::Error>>(x)
    });
    let v = t.await?;
    let u = wait_for(factorial_io(3), 5000 * S).await?;
    Ok(v + i32::try_from(u)?)
}

async fn factorial_io(n: u64) -> io::Result<u64> {
    let mut f = 1;
    for i in 2..=n {
        sleep(S).await?;
        f *= i;
    }
    Ok(f)
}

#[test]
fn boxed_errors_pass_through() {
    on_ring(async || {
        assert_eq!(boxed().await.unwrap(), 10);
        let failed = create_task(async {
            let x: i32 = "four".parse()?;
            Ok::<_, Box<dyn std::error::Error>>(x)
        });
        assert!(failed.await.unwrap_err().is::<std::num::ParseIntError>());
        let cancelled = create_task(boxed());
        cancelled.cancel();
        let any = cancelled.to_any();
        assert!(cancelled.await.is_err() && any.cancelled());
    });
}

#[test]
fn timeout_around_an_owned_buffer_gives_the_buffer_back() {
    // design 5: BufResult(Err(TimedOut), buffer), and a task's result is the pair.
    on_ring(async || {
        let (mut here, mut there) = pairs::sockets().await;
        let BufResult(read, buffer) = timeout(S, async |_| here.read(vec![7u8; 4]).await).await;
        assert_eq!((read.unwrap_err().kind(), buffer), (io::ErrorKind::TimedOut, vec![7; 4]));
        there.write_all("late").await.0.unwrap();
        let task = create_task(async move { here.read(vec![0; 9]).await });
        let (count, buffer) = task.await.unwrap();
        assert_eq!((count, &buffer[..4]), (4, &b"late"[..]));
    });
}

#[test]
fn outcome_is_what_a_body_may_return() {
    assert!(Err::<(), _>(CancelledError).is_cancelled());
    assert!(!io::Result::Ok(1).is_cancelled());
    assert_eq!(().into_result(), Ok(()));
    assert_eq!(BufResult(io::Result::Ok(1), "b").into_result().unwrap(), (1, "b"));
}
