//! Too few descriptors, peers that reset, signals: nothing dies, spins or loses anything.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringio::{
    BufResult, ReportKind, Runner, TcpListener, TcpStream, internals, open_connection, sleep, start_server, wait_for,
};

use super::stages::turns;
use crate::support::{
    PATIENCE, PROFILES, Reports, Rng, alone, each_profile,
    process::{descriptors, processor_time},
    settled,
    signals::{Storm, default_sigpipe},
    wire::{self, connect, fill, pipe, reset, stream_pair, tcp_pair},
};

/// Lets the process open so many more descriptors.
fn allow_more(more: usize) {
    let open: Vec<u32> = descriptors().into_iter().map(|(number, _)| number).collect();
    let last = (0..).filter(|number| !open.contains(number)).nth(more - 1).expect("numbers do not run out");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, u64::from(last) + 1, hard).unwrap();
}

#[test]
fn accept_without_descriptors_pauses_says_so_and_recovers() {
    // kernel pitfall 34
    alone(&accept_without_descriptors_pauses_says_so_and_recovers, || {
        let limits = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        for profile in PROFILES {
            setrlimit(Resource::RLIMIT_NOFILE, limits.0, limits.1).unwrap();
            let reports = Reports::default();
            let builder = Runner::builder().profile(profile).handle_ctrl_c(false);
            let mut runner = reports.hear(builder).build().unwrap();
            runner.run(accept_with_three_descriptors(&reports));
        }
    });
}

/// SV8: a pause, one report, and nobody lost.
async fn accept_with_three_descriptors(reports: &Reports) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| Some(connect(address))).collect();
    allow_more(3);
    let mut accepted = Vec::new();
    for _ in 0..3 {
        accepted.push(wait_for(listener.accept(), PATIENCE).await.expect("three descriptors are left"));
    }
    assert_eq!(reports.of(ReportKind::AcceptPaused), 0);
    let (start, work) = (Instant::now(), processor_time());
    let error = wait_for(listener.accept(), Duration::from_millis(600)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let (elapsed, work) = (start.elapsed(), processor_time() - work);
    assert!(work < elapsed / 10, "pausing {elapsed:?} took {work:?} of a processor");
    assert_eq!(reports.of(ReportKind::AcceptPaused), 1, "{:?}", reports.texts());
    // Descriptors come back one by one, and every client is served.
    let start = Instant::now();
    for client in &mut clients[..17] {
        drop(client.take());
        accepted.pop();
        accepted.push(wait_for(listener.accept(), PATIENCE).await.expect("it recovers"));
    }
    assert!(start.elapsed() < PATIENCE / 2, "it hardly recovers");
    listener.close().await.unwrap();
}

#[test]
fn server_out_of_descriptors_serves_everybody_in_the_end() {
    // kernel pitfall 34, for a server
    alone(&server_out_of_descriptors_serves_everybody_in_the_end, || {
        let reports = Reports::default();
        let mut runner = reports.hear(Runner::builder().handle_ctrl_c(false)).build().unwrap();
        runner.run(async {
            let handler = async |mut reader: ringio::StreamReader, mut writer: ringio::StreamWriter| {
                let line = reader.readline().await?;
                writer.write(&line)
            };
            let server = start_server(handler, "127.0.0.1:0").await.unwrap();
            let mut clients: Vec<_> = (0..30).map(|_| connect(server.sockets()[0])).collect();
            allow_more(2);
            turns(20).await;
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(format!("{number}\n").as_bytes()).unwrap();
            }
            let reading = std::thread::spawn(move || {
                let read = |(number, client)| assert_eq!(wire::read_all(client), format!("{number}\n").into_bytes());
                clients.into_iter().enumerate().for_each(read);
            });
            crate::support::until("everybody is served", || reading.is_finished()).await;
            reading.join().unwrap();
            assert!(reports.of(ReportKind::AcceptPaused) >= 1, "{:?}", reports.texts());
            server.close();
            settled().await;
        });
    });
}

#[test]
fn peer_that_resets_is_an_error_and_nothing_else() {
    each_profile(|_, runner| {
        runner.run(async {
            // Into a waiting read.
            let (mut reader, writer, peer) = stream_pair().await;
            let (read, ()) = futures::join!(wait_for(reader.read(9), PATIENCE), async {
                turns(3).await;
                reset(peer);
            });
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            drop((reader, writer));
            // Into a waiting write, and the writes after it.
            let (ours, peer) = wire::narrow_pair();
            let mut stream = TcpStream::from_fd(ours).unwrap();
            let (write, ()) = futures::join!(wait_for(stream.write_all(vec![1; 1 << 20]), PATIENCE), async {
                turns(3).await;
                reset(peer);
            });
            let BufResult(result, buffer) = write;
            let kind = result.unwrap_err().kind();
            assert!(matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{kind:?}");
            assert_eq!(buffer.len(), 1 << 20);
            assert!(stream.write_all("more").await.0.is_err());
            let _ = stream.close().await;
            // Into a drain; what is written afterwards does not vanish silently (SW1).
            let (_reader, mut writer, peer) = stream_pair().await;
            writer.write_owned(vec![1; 16 << 20]).unwrap();
            let (drained, ()) = futures::join!(wait_for(writer.drain(), PATIENCE), async {
                turns(3).await;
                reset(peer);
            });
            drained.unwrap_err();
            assert!(writer.write(b"more").is_err());
            writer.close();
            assert!(wait_for(writer.wait_closed(), PATIENCE).await.is_err());
            settled().await;
        });
    });
}

#[test]
fn connections_reset_before_they_were_accepted_stop_no_server() {
    // kernel pitfall 33
    each_profile(|_, runner| {
        runner.run(async {
            let server = start_server(async |_, mut writer: ringio::StreamWriter| writer.write(b"here"), "127.0.0.1:0");
            let server = server.backlog(200).await.unwrap();
            let address = server.sockets()[0];
            for _ in 0..5 {
                (0..30).for_each(|_| reset(connect(address)));
                let (mut reader, _writer) = wait_for(open_connection(address), PATIENCE).await.unwrap();
                assert_eq!(wait_for(reader.read(9), PATIENCE).await.unwrap(), "here");
            }
            // And a port where nobody listens.
            server.close();
            settled().await;
            let error = wait_for(TcpStream::connect(address), PATIENCE).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        });
    });
}

#[test]
fn writes_to_a_peer_that_is_gone_do_not_kill() {
    // lessons §3 row 23
    alone(&writes_to_a_peer_that_is_gone_do_not_kill, || {
        default_sigpipe();
        each_profile(|_, runner| {
            runner.run(async {
                let (_reader, mut writer, peer) = stream_pair().await;
                reset(peer);
                crate::support::until("the writer has heard of it", || writer.write(b"hello?").is_err()).await;
                let (mut stream, peer) = tcp_pair();
                reset(peer);
                for _ in 0..3 {
                    let _ = wait_for(stream.write(b"hello?".to_vec()), PATIENCE).await;
                }
                assert!(stream.write("hello?").await.0.is_err());
                // Many pieces leave as one message.
                let (_reader, mut writer, peer) = stream_pair().await;
                drop(peer);
                for _ in 0..20 {
                    let _ = writer.write_owned(vec![1; 10]);
                    let _ = writer.write_owned(vec![1; 10]);
                    turns(2).await;
                }
                assert!(writer.write(b"hello?").is_err());
            });
        });
    });
}

#[test]
fn writes_to_a_pipe_that_is_gone_do_not_kill() {
    // lessons §3 row 23, for pipes
    alone(&writes_to_a_pipe_that_is_gone_do_not_kill, || {
        default_sigpipe();
        each_profile(|_, runner| {
            runner.run(async {
                let (reader, writer) = wire::pipe_out();
                drop(reader);
                let error = wait_for(writer.write(b"hello?".to_vec()), PATIENCE).await.0.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            });
        });
    });
}

/// Everything there is, once.
async fn everything(rng: &mut Rng) {
    for _ in 0..20 {
        internals::nop().await.unwrap();
    }
    let (reader, mut pipe_peer) = pipe();
    let (read, ()) = futures::join!(wait_for(reader.read(vec![0; 64]), PATIENCE), async {
        sleep(rng.micros(3000)).await.unwrap();
        pipe_peer.write_all(b"through the pipe").unwrap();
    });
    assert_eq!(read.0.unwrap(), 16);
    let (pipe_reader, writer) = io::pipe().unwrap();
    let full = fill(&writer);
    let writer = ringio::Descriptor::new(writer.into());
    let emptying = async {
        sleep(Duration::from_millis(2)).await.unwrap();
        wire::read_exactly(&pipe_reader, full)
    };
    let (written, writable, _) = futures::join!(writer.write(vec![1; 9000]), writer.writable(), emptying);
    writable.unwrap();
    assert_eq!(wire::read_exactly(&pipe_reader, written.0.unwrap()).len(), 9000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, server) = futures::join!(TcpStream::connect(listener.local_addr().unwrap()), async {
        sleep(rng.micros(3000)).await.unwrap();
        listener.accept().await
    });
    let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
    let content = rng.bytes(3 << 20);
    let expected = content.clone();
    let receive = async {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let BufResult(count, buffer) = server.read(vec![0; 100_000]).await;
            got.extend_from_slice(&buffer[..count.unwrap()]);
        }
        got
    };
    let (sent, got) = futures::join!(client.write_all(content), receive);
    sent.0.unwrap();
    assert!(got == expected);
    let (mut reader, _writer, mut peer) = stream_pair().await;
    let short = wait_for(reader.readexactly(5), Duration::from_millis(3)).await;
    assert_eq!(short.unwrap_err().kind(), io::ErrorKind::TimedOut);
    peer.write_all(b"after").unwrap();
    assert_eq!(reader.readexactly(5).await.unwrap(), "after");
    let start = Instant::now();
    sleep(Duration::from_millis(15)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(15), "a sleep ended early");
}

#[test]
fn storm_of_signals_disturbs_nothing() {
    // lessons §3 row 13, kernel pitfall 6
    alone(&storm_of_signals_disturbs_nothing, || {
        let mut rng = Rng::new("storm_of_signals_disturbs_nothing");
        let storm = Storm::begin(Duration::from_millis(1));
        each_profile(|_, runner| {
            for _ in 0..5 {
                runner.run(everything(&mut rng));
            }
            runner.run(settled());
        });
        assert!(storm.caught() > 50, "{} signals are no storm", storm.caught());
    });
}
