//! Contract 8 with TLS.

use std::{
    cell::Cell,
    io::{self, Write},
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use ringio::{
    ExtraInfo, ReportKind, Server, StreamReader, StreamWriter, Tls, create_task, open_connection, open_connection_from,
    open_unix_connection, start_server, start_unix_server, wait_for,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::{Reports, in_time, is_cancel, on_ring, pairs, turns, until};
use crate::support::{Rng, wire};

/// A certificate that is its own authority, for `localhost` and 127.0.0.1.
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    pub(super) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        Identity { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], PrivatePkcs8KeyDer::from(self.key.clone()).into())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    fn server_config(&self) -> ServerConfig {
        let (chain, key) = self.chain();
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }

    fn client_config(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }

    pub(super) fn server(&self) -> Tls {
        Tls::server(Arc::new(self.server_config()))
    }

    pub(super) fn client(&self) -> Tls {
        Tls::client(Arc::new(self.client_config()))
    }
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read(64 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_owned(data)?;
        writer.drain().await?;
    }
}

async fn echo_server(tls: Tls) -> Server {
    start_server(echo, "127.0.0.1:0").tls(tls).await.unwrap()
}

async fn is_served(server: &Server, client: Tls) -> bool {
    let (mut reader, mut writer) = open_connection(pairs::address(server)).tls(client).await.unwrap();
    writer.write(b"hi").unwrap();
    reader.readexactly(2).await.unwrap() == "hi"
}

/// The four halves of one encrypted connection.
async fn pair(identity: &Identity, limit: usize) -> super::Connection {
    let ((mut reader, mut writer), (mut far_reader, mut far)) = pairs::streams(limit).await;
    let client = identity.client().server_hostname("localhost");
    let server = identity.server();
    let agreed = create_task(async move {
        far.start_tls(server).await?;
        io::Result::Ok(far)
    });
    writer.start_tls(client).await.unwrap();
    let _ = (&mut reader, &mut far_reader);
    ((reader, writer), (far_reader, agreed.await.unwrap()))
}

#[test]
fn both_calls_encrypt_and_everything_arrives() {
    // OC7, SW5, SW6, SR1-SR5
    on_ring(async || {
        let identity = Identity::new();
        let mut config = identity.server_config();
        config.alpn_protocols = vec![b"other".to_vec(), b"echo".to_vec()];
        let server = echo_server(Tls::server(Arc::new(config))).await;
        let mut config = identity.client_config();
        config.alpn_protocols = vec![b"echo".to_vec()];
        let port = pairs::address(&server).port();
        let client = Tls::client(Arc::new(config));
        let (mut reader, mut writer) = open_connection(("localhost", port)).tls(client).limit(1024).await.unwrap();
        assert!(!writer.can_write_eof());
        assert_eq!(writer.write_eof().unwrap_err().kind(), io::ErrorKind::Unsupported);
        let text = |name| match writer.get_extra_info(name) {
            Some(ExtraInfo::Text(text)) => text,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text("alpn"), "echo");
        assert_eq!(text("version"), "TLSv1_3");
        assert!(text("cipher").starts_with("TLS13_"));
        let chain = vec![identity.certificate.to_vec()];
        assert_eq!(writer.get_extra_info("peercert"), Some(ExtraInfo::Certificates(chain)));
        assert_eq!(writer.get_extra_info("server_hostname"), None);
        writer.writelines(["one\n", "two\n"]).unwrap();
        assert_eq!(reader.readline().await.unwrap(), "one\n");
        assert_eq!(reader.readuntil("o\n").await.unwrap(), "two\n");
        let big: Vec<u8> = (0..5_000_000u32).map(|n| (n / 3) as u8).collect();
        let sent = big.clone();
        let writing = create_task(async move {
            for piece in sent.chunks(100_003) {
                writer.write(piece)?;
                writer.drain().await?;
            }
            io::Result::Ok(writer)
        });
        assert_eq!(reader.readexactly(big.len()).await.unwrap(), big);
        let mut writer = writing.await.unwrap();
        writer.write(b"bye").unwrap();
        assert_eq!(reader.readexactly(3).await.unwrap(), "bye");
        writer.close();
        writer.wait_closed().await.unwrap();
        server.close();
        server.wait_closed().await.unwrap();
    });
}

#[test]
fn a_close_ends_the_stream_well_on_the_other_side() {
    // SW4, SR6
    on_ring(async || {
        let identity = Identity::new();
        let ((mut reader, mut writer), (mut far_reader, mut far)) = pair(&identity, 64).await;
        assert!(
            matches!(far.get_extra_info("server_hostname"), Some(ExtraInfo::Text(name)) if name == "localhost"),
            "SNI"
        );
        writer.write(&[1; 100_000]).unwrap();
        writer.close();
        assert_eq!(far_reader.read_to_end().await.unwrap(), vec![1; 100_000]);
        assert!(far_reader.at_eof());
        writer.wait_closed().await.unwrap();
        assert_eq!(reader.read(1).await.unwrap(), "");
        far.close();
        far.wait_closed().await.unwrap();
    });
}

#[test]
fn what_is_not_trusted_is_refused_and_the_others_are_served() {
    // OC7: verification is on; a failed handshake closes, is reported, and harms nobody else.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let (identity, stranger) = (Identity::new(), Identity::new());
            let server = echo_server(identity.server()).await;
            let address = pairs::address(&server);
            let error = open_connection(address).tls(stranger.client()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let error = error.into_inner().unwrap().downcast::<rustls::Error>().unwrap();
            assert!(matches!(*error, rustls::Error::InvalidCertificate(_)), "{error}");
            let wrong = identity.client().server_hostname("example.org");
            let error = open_connection(address).tls(wrong).await.unwrap_err();
            assert!(error.to_string().contains("example.org"), "{error}");
            for name in ["", "no name"] {
                let nameless = identity.client().server_hostname(name);
                let error = open_connection(address).tls(nameless).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            }
            assert!(is_served(&server, identity.client()).await);
            until(|| server.clients() == 0).await;
        });
        let failed: Vec<_> = reports.kinds().into_iter().filter(|kind| *kind == ReportKind::HandshakeFailed).collect();
        assert!(failed.len() >= 2, "{:?}", reports.texts());
    });
}

#[test]
fn clients_can_be_asked_for_their_certificate() {
    // OC7, SW6
    on_ring(async || {
        let (identity, member) = (Identity::new(), Identity::new());
        let verifier = WebPkiClientVerifier::builder(Arc::new(member.roots())).build().unwrap();
        let (chain, key) = identity.chain();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
        let seen: Rc<Cell<Option<usize>>> = Rc::default();
        let place = seen.clone();
        let handler = move |_, writer: StreamWriter| {
            if let Some(ExtraInfo::Certificates(chain)) = writer.get_extra_info("peercert") {
                place.set(Some(chain.len()));
            }
            async {}
        };
        let server = start_server(handler, "127.0.0.1:0").tls(Tls::server(Arc::new(config))).await.unwrap();
        let (chain, key) = member.chain();
        let config = ClientConfig::builder().with_root_certificates(identity.roots());
        let config = config.with_client_auth_cert(chain, key).unwrap();
        let known = Tls::client(Arc::new(config));
        let (mut reader, _writer) = open_connection(pairs::address(&server)).tls(known).await.unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), "");
        assert_eq!(seen.take(), Some(1));
        // With TLS 1.3 a client hears of it with its first read.
        let connected = open_connection(pairs::address(&server)).tls(identity.client()).await;
        if let Ok((mut reader, _writer)) = connected {
            let error = reader.read(1).await.unwrap_err();
            assert!(error.to_string().contains("CertificateRequired"), "{error}");
        }
        assert_eq!(seen.take(), None);
    });
}

#[test]
fn start_tls_goes_on_with_the_same_reader_and_writer() {
    // SW7 (gh-142352): the client does not wait for the answer, so its hello has arrived with the line.
    on_ring(async || {
        let identity = Identity::new();
        let upgrade = identity.server();
        let server = start_server(
            move |mut reader: StreamReader, mut writer: StreamWriter| {
                let upgrade = upgrade.clone();
                async move {
                    assert_eq!(reader.readline().await?, "STARTTLS\n");
                    turns(10).await;
                    writer.write(b"go on\n")?;
                    writer.start_tls(upgrade).await?;
                    echo(reader, writer).await
                }
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let (mut reader, mut writer) = open_connection(pairs::address(&server)).await.unwrap();
        writer.write(b"STARTTLS\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), "go on\n");
        writer.start_tls(identity.client().server_hostname("localhost")).await.unwrap();
        writer.write(b"secret").unwrap();
        assert_eq!(reader.readexactly(6).await.unwrap(), "secret");
        let twice = writer.start_tls(identity.client().server_hostname("localhost")).await.unwrap_err();
        assert_eq!(twice.kind(), io::ErrorKind::InvalidInput);
        writer.write(b"still").unwrap();
        assert_eq!(reader.readexactly(5).await.unwrap(), "still");
    });
}

#[test]
fn start_tls_while_somebody_reads_is_refused() {
    // SW7
    on_ring(async || {
        let identity = Identity::new();
        let ((mut reader, mut writer), (_far_reader, mut far)) = pairs::streams(64).await;
        let reading = create_task(async move { reader.read(2).await });
        turns(2).await;
        let error = writer.start_tls(identity.client().server_hostname("localhost")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        far.write(b"ok").unwrap();
        assert_eq!(reading.await.unwrap(), "ok", "it is a plain connection still");
    });
}

#[test]
fn a_handshake_has_a_time_limit_and_its_cancel_closes() {
    // OC7, OC8
    on_ring(async || {
        let identity = Identity::new();
        let ((_reader, mut writer), (mut far_reader, _far)) = pairs::streams(64).await;
        let slow = identity.client().server_hostname("localhost").handshake_timeout(Duration::from_millis(20));
        assert_eq!(writer.start_tls(slow).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(writer.is_closing());
        assert!(!far_reader.read_to_end().await.unwrap().is_empty(), "a hello, and the end");
        let silent = wire::listener();
        let address = silent.local_addr().unwrap();
        let client = identity.client();
        let task = create_task(async move { open_connection(address).tls(client).await.map(drop) });
        turns(5).await;
        let _peer = wire::accept(&silent);
        turns(3).await;
        task.cancel();
        assert!(is_cancel(&task.await.unwrap_err()));
    });
}

#[test]
fn what_a_peer_said_in_a_handshake_that_was_given_up_is_no_data() {
    // OC8: it had arrived, and its end too, when the wait was dropped.
    on_ring(async || {
        let identity = Identity::new();
        let ((mut reader, mut writer), (_far_reader, mut far)) = pairs::streams(1024).await;
        {
            let mut agreeing = std::pin::pin!(writer.start_tls(identity.client().server_hostname("localhost")));
            assert!(futures::poll!(agreeing.as_mut()).is_pending());
            far.write(b"no hello").unwrap();
            far.close();
            far.wait_closed().await.unwrap();
            turns(10).await;
        }
        writer.wait_closed().await.unwrap();
        let error = reader.read(100).await.unwrap_err();
        assert!(error.kind() == io::ErrorKind::ConnectionAborted && error.to_string().contains("handshake"), "{error}");
        assert_eq!(writer.write(b"late").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn hundreds_that_never_say_hello_are_let_go_and_the_others_are_served() {
    // OC7, OC8: half a handshake each, until the time is over.
    on_ring(async || {
        let identity = Identity::new();
        let limit = Duration::from_secs(2);
        let server = echo_server(identity.server().handshake_timeout(limit)).await;
        let address = pairs::address(&server);
        let silent = thread::spawn(move || {
            let mut silent: Vec<_> = (0..500).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            for peer in silent.iter_mut().step_by(2) {
                // The header of a record that never comes.
                peer.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
            }
            silent
        });
        until(|| silent.is_finished()).await;
        let silent = silent.join().unwrap();
        assert!(is_served(&server, identity.client()).await);
        until(|| server.clients() == 0).await;
        assert!(is_served(&server, identity.client()).await);
        drop(silent);
    });
}

#[test]
fn garbage_and_resets_instead_of_a_hello_do_not_stop_the_server() {
    // OC8: hostile peers: a clear error, the others are served.
    in_time(|| {
        let reports = Reports::default();
        let mut runner = reports.runner();
        runner.run(async {
            let identity = Identity::new();
            let server = echo_server(identity.server()).await;
            let address = pairs::address(&server);
            for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0x16, 3, 1, 0xff, 0xff, 1], b""] {
                let (mut reader, mut writer) = open_connection(address).await.unwrap();
                writer.write(garbage).unwrap();
                writer.write_eof().unwrap();
                let _ = reader.read_to_end().await;
            }
            let (_reader, mut writer) = open_connection(address).await.unwrap();
            writer.write(&[0x16, 3, 1]).unwrap();
            writer.flush().await.unwrap();
            writer.abort();
            assert!(is_served(&server, identity.client()).await);
            until(|| server.clients() == 0).await;
        });
        let texts = reports.texts();
        assert_eq!(texts.len(), 5, "{texts:?}");
        assert!(texts.iter().all(|text| text.contains("the TLS handshake with 127.0.0.1:")), "{texts:?}");
    });
}

#[test]
fn a_truncated_stream_is_an_error_behind_its_data() {
    // SR7: the end of the connection is not the end of the stream.
    on_ring(async || {
        let identity = Identity::new();
        let config = Arc::new(identity.server_config());
        let listener = wire::listener();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let mut stream = wire::accept(&listener);
            let mut session = rustls::ServerConnection::new(config).unwrap();
            let mut tls = rustls::Stream::new(&mut session, &mut stream);
            tls.write_all(b"part of a mess").unwrap();
            tls.flush().unwrap();
        });
        let (mut reader, _writer) = open_connection(address).tls(identity.client()).await.unwrap();
        let error = reader.readexactly(100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("without ending the TLS stream"), "{error}");
        assert_eq!(reader.read(100).await.unwrap(), "part of a mess");
        assert!(reader.read(1).await.is_err());
        peer.join().unwrap();
    });
}

#[test]
fn cancelled_reads_of_an_encrypted_stream_lose_nothing() {
    // SR10, SW9: against pieces of any size, with timeouts that race them.
    let mut rng = Rng::new("cancelled_reads_of_an_encrypted_stream_lose_nothing");
    on_ring(async move || {
        let identity = Identity::new();
        let ((mut reader, _writer), (_far_reader, mut far)) = pair(&identity, 4096).await;
        let sent = rng.bytes(300_000);
        let (mut pieces, text) = (Rng::new("its pieces"), sent.clone());
        let writing = create_task(async move {
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((1 + pieces.below(9000)).min(rest.len()));
                far.write(piece)?;
                let _ = wait_for(far.drain(), pieces.micros(50)).await;
                rest = behind;
                if pieces.below(4) == 0 {
                    ringio::sleep(pieces.micros(300)).await?;
                }
            }
            far.close();
            io::Result::Ok(())
        });
        let mut received = Vec::new();
        loop {
            let exact = rng.below(2) == 0;
            let limit = rng.micros(400);
            let wanted = 1 + rng.below(3000);
            let read = match exact {
                true => wait_for(reader.readexactly(wanted), limit).await,
                false => wait_for(reader.read(wanted), limit).await,
            };
            match read {
                Ok(data) if data.is_empty() => break,
                Ok(data) => received.extend_from_slice(&data),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let ringio::Error::IncompleteRead(error) = ringio::Error::from(error) else { panic!("torn") };
                    received.extend_from_slice(&error.partial);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        writing.await.unwrap();
        assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    });
}

#[test]
fn a_close_does_not_wait_for_ever_for_a_peer_that_does_not_read() {
    // OC7, SW4: the shutdown's time limit.
    on_ring(async || {
        let identity = Identity::new();
        let ((_reader, mut writer), (_far_reader, mut far)) = pairs::streams(64).await;
        let server = identity.server();
        let agreed = create_task(async move {
            far.start_tls(server).await?;
            io::Result::Ok(far)
        });
        let client = identity.client().server_hostname("localhost").shutdown_timeout(Duration::from_millis(20));
        writer.start_tls(client).await.unwrap();
        let _far = agreed.await.unwrap();
        writer.write(&vec![7; 32 << 20]).unwrap();
        writer.close();
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    });
}

#[test]
fn unix_and_adopted_sockets_are_encrypted_too() {
    // OC1, OC7
    on_ring(async || {
        let identity = Identity::new();
        let name = format!("\0ringio-tls-{}", std::process::id());
        let server = start_unix_server(echo, &name).tls(identity.server()).await.unwrap();
        let (mut reader, mut writer) = open_unix_connection(&name).await.unwrap();
        writer.start_tls(identity.client().server_hostname("localhost")).await.unwrap();
        writer.write(b"hi").unwrap();
        assert_eq!(reader.readexactly(2).await.unwrap(), "hi");
        let client = identity.client().server_hostname("localhost");
        let (mut reader, mut writer) = open_unix_connection(&name).tls(client).await.unwrap();
        writer.write(b"at once").unwrap();
        assert_eq!(reader.readexactly(7).await.unwrap(), "at once");
        let nameless = open_unix_connection(&name).tls(identity.client());
        assert_eq!(nameless.await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        server.close();
        let server = echo_server(identity.server()).await;
        let socket = std::net::TcpStream::connect(pairs::address(&server)).unwrap();
        let nameless = open_connection_from(socket.try_clone().unwrap().into()).tls(identity.client());
        assert_eq!(nameless.await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let socket = std::net::TcpStream::connect(pairs::address(&server)).unwrap();
        let client = identity.client().server_hostname("localhost");
        let (mut reader, mut writer) = open_connection_from(socket.into()).tls(client).await.unwrap();
        writer.write(b"hi").unwrap();
        assert_eq!(reader.readexactly(2).await.unwrap(), "hi");
    });
}
