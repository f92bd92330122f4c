//! Programs that nobody here wrote, as peers: openssl, curl, and Python's asyncio and ssl in both directions. Where one of
//! them is not installed, its test says so.

use std::{
    fs, io,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use ringio::{StreamReader, StreamWriter, Tls, open_connection, start_server};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{on_ring, until};

/// A certificate for `localhost`, as files for others and as configurations for us.
struct Identity {
    directory: PathBuf,
    server: Tls,
    client: Tls,
}

impl Identity {
    fn new(test: &str) -> Identity {
        let directory = std::env::temp_dir().join(format!("ringio-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let chain = vec![made.cert.der().clone()];
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Identity { directory, server: Tls::server(Arc::new(server)), client: Tls::client(Arc::new(client)) }
    }

    fn certificate(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Whether a program is there; says so if not.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Runs a program on a thread of its own, feeds it `input`, and waits for its output while the loop goes on.
async fn run(mut command: Command, input: &'static [u8]) -> String {
    let running = thread::spawn(move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    while !running.is_finished() {
        ringio::sleep(std::time::Duration::from_millis(2)).await.unwrap();
    }
    let output = running.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

async fn echo_lines(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            return Ok(());
        }
        writer.write_owned(line)?;
        writer.drain().await?;
    }
}

async fn page(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    reader.readuntil("\r\n\r\n").await?;
    let body = "x".repeat(300_000);
    writer
        .write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes())?;
    writer.write(body.as_bytes())
}

#[test]
fn curl_gets_a_page_plain_and_encrypted() {
    if !has("curl") {
        return;
    }
    on_ring(async || {
        let identity = Identity::new("curl");
        let plain = start_server(page, "127.0.0.1:0").await.unwrap();
        let secret = start_server(page, "127.0.0.1:0").tls(identity.server.clone()).await.unwrap();
        for (scheme, server) in [("http", &plain), ("https", &secret)] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20", "--cacert"]);
            curl.arg(identity.certificate()).arg(format!("{scheme}://localhost:{}/", server.sockets()[0].port()));
            curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", server.sockets()[0].port())]);
            assert_eq!(run(curl, b"").await.len(), 300_000);
        }
    });
}

#[test]
fn openssl_verifies_talks_and_hears_the_end() {
    if !has("openssl") {
        return;
    }
    on_ring(async || {
        let identity = Identity::new("openssl");
        // One line, and then the server ends it well: s_client ends too.
        let once = async |mut reader: StreamReader, mut writer: StreamWriter| {
            let line = reader.readline().await?;
            writer.write_owned(line)
        };
        for version in ["-tls1_2", "-tls1_3"] {
            let server = start_server(once, "127.0.0.1:0").tls(identity.server.clone()).await.unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(["s_client", "-quiet", "-verify_return_error", version, "-CAfile"]);
            openssl.arg(identity.certificate());
            openssl.args(["-servername", "localhost", "-connect", &server.sockets()[0].to_string()]);
            assert_eq!(run(openssl, b"hello there\n").await, "hello there\n");
            server.close();
            until(|| server.clients() == 0).await;
        }
    });
}

const PYTHON_CLIENT: &str = "
import asyncio, ssl, sys
async def main(port, ca):
    for context in (None, ssl.create_default_context(cafile=ca)):
        port, rest = port.split(',', 1) if ',' in port else (port, '')
        name = 'localhost' if context else None
        reader, writer = await asyncio.open_connection('127.0.0.1', int(port), ssl=context, server_hostname=name)
        port = rest
        data = bytes(range(10)) * 50_000 + b'\\n'
        for _ in range(4):
            writer.write(b'line\\n' + data.replace(b'\\n', b' ').strip()[:60_000] + b'\\n')
            assert await reader.readline() == b'line\\n'
            assert len(await reader.readline()) == 60_001
        writer.close()
        await writer.wait_closed()
    print('fine')
asyncio.run(main(sys.argv[1], sys.argv[2]))
";

#[test]
fn python_is_a_client_plain_and_encrypted() {
    if !has("python3") {
        return;
    }
    on_ring(async || {
        let identity = Identity::new("python-client");
        let plain = start_server(echo_lines, "127.0.0.1:0").await.unwrap();
        let secret = start_server(echo_lines, "127.0.0.1:0").tls(identity.server.clone()).await.unwrap();
        let ports = format!("{},{}", plain.sockets()[0].port(), secret.sockets()[0].port());
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON_CLIENT, &ports]).arg(identity.certificate());
        assert_eq!(run(python, b"").await, "fine\n");
    });
}

const PYTHON_SERVER: &str = "
import asyncio, ssl, sys
async def main(port, cert, key):
    done = asyncio.Event()
    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        done.set()
    context = None
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
    server = await asyncio.start_server(echo, '127.0.0.1', int(port), ssl=context)
    async with server:
        await done.wait()
        await asyncio.sleep(0.05)
    print('fine')
asyncio.run(main(*sys.argv[1:]))
";

fn python_server(address: SocketAddr, files: Option<&Path>) -> Command {
    let mut python = Command::new("python3");
    let file = |name: &str| files.map_or(PathBuf::new(), |directory| directory.join(name));
    python.args(["-c", PYTHON_SERVER, &address.port().to_string()]).arg(file("cert.pem")).arg(file("key.pem"));
    python
}

#[test]
fn python_is_a_server_plain_and_encrypted() {
    if !has("python3") {
        return;
    }
    on_ring(async || {
        let identity = Identity::new("python-server");
        for secret in [false, true] {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let python = python_server(address, secret.then_some(&identity.directory));
            let serving = ringio::create_task(async move { io::Result::Ok(run(python, b"").await) });
            let (mut reader, mut writer) = loop {
                let connecting = open_connection(("localhost", address.port()));
                let connecting = if secret { connecting.tls(identity.client.clone()) } else { connecting };
                match connecting.await {
                    Ok(connection) => break connection,
                    // It is not there yet.
                    Err(_) => ringio::sleep(std::time::Duration::from_millis(20)).await.unwrap(),
                }
                assert!(!serving.done());
            };
            let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
            let much = sent.clone();
            let writing = ringio::create_task(async move {
                for piece in much.chunks(70_000) {
                    writer.write(piece)?;
                    writer.drain().await?;
                }
                io::Result::Ok(writer)
            });
            assert!(reader.readexactly(sent.len()).await.unwrap() == sent);
            let mut writer = writing.await.unwrap();
            writer.close();
            writer.wait_closed().await.unwrap();
            assert_eq!(serving.await.unwrap(), "fine\n");
        }
    });
}
