//! Files: the same ones on Linux and in the simulation, which reads them when it likes and as much as it likes.

use std::{fs, fs::File};

use ringio::{open_unix_connection, start_unix_server};

use super::{each_kernel, unix::Directory};

#[test]
fn a_file_is_sent_whole() {
    // SW10
    let path = std::env::temp_dir().join(format!("ringio-conformance-file-{}", std::process::id()));
    let content: Vec<u8> = (0..300_001).map(|index| (index % 251) as u8).collect();
    fs::write(&path, &content).unwrap();
    each_kernel("a_file_is_sent_whole", async |kernel| {
        let directory = Directory::new(kernel, "conformance-files");
        let socket = directory.join("socket");
        let source = path.clone();
        let server = start_unix_server(
            move |_reader, mut writer: ringio::StreamWriter| {
                let source = source.clone();
                async move {
                    let file = File::open(source)?;
                    assert_eq!(writer.sendfile(&file, 1, None, false).await?, 300_000);
                    assert_eq!(writer.sendfile(&file, 299_999, Some(9), false).await?, 2);
                    std::io::Result::Ok(())
                }
            },
            &socket,
        )
        .await
        .unwrap();
        let (mut reader, writer) = open_unix_connection(&socket).await.unwrap();
        let received = reader.read_to_end().await.unwrap();
        assert!(received[..300_000] == content[1..] && received[300_000..] == content[299_999..]);
        drop((reader, writer));
        server.close();
        server.wait_closed().await.unwrap();
    });
    fs::remove_file(&path).unwrap();
}
