//! asyncio's "Get HTTP headers": `http_headers http://example.com/path/page.html`; without an argument it asks a server of
//! its own. An `https` address needs the feature `tls`, and roots to trust: see `Tls`.

use std::{env, io};

use ringio::{StreamReader, StreamWriter};

async fn print_http_headers(url: &str) -> io::Result<usize> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let (mut reader, mut writer) = ringio::open_connection(address).await?;

    let query = format!("HEAD /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    writer.write(query.as_bytes())?;
    let mut headers = 0;
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !line.is_empty() {
            println!("HTTP header> {line}");
            headers += 1;
        }
    }

    // Ignore the body, close the socket
    writer.close();
    writer.wait_closed().await?;
    Ok(headers)
}

async fn answer(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let request = reader.readuntil("\r\n\r\n").await?;
    assert!(request.starts_with(b"HEAD /page HTTP/1.0\r\n"), "{request:?}");
    writer.writelines(["HTTP/1.0 200 OK\r\n", "Content-Type: text/plain\r\n", "Content-Length: 0\r\n", "\r\n"])
}

fn main() -> io::Result<()> {
    ringio::run(async {
        if let Some(url) = env::args().nth(1) {
            return print_http_headers(&url).await.map(drop);
        }
        let server = ringio::start_server(answer, "127.0.0.1:0").await?;
        let url = format!("http://{}/page", server.sockets()[0]);
        assert_eq!(print_http_headers(&url).await?, 3);
        Ok(())
    })
}
