//! The I/O traits of other crates over a stream, and code of other crates over those.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use ringio::{IoStream, create_task, wait_for};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};

use super::{Connection, is_cancel, on_ring, pairs, turns};
use crate::support::Rng;

async fn joined() -> (IoStream, IoStream) {
    let ((reader, writer), (far_reader, far)): Connection = pairs::streams(64 * 1024).await;
    (IoStream::new(reader, writer), IoStream::new(far_reader, far))
}

#[test]
fn codecs_of_another_crate_work_over_it() {
    // SW9; lessons 33: frames of every size, in both directions at once.
    let mut rng = Rng::new("codecs_of_another_crate_work_over_it");
    on_ring(async move || {
        let (here, there) = joined().await;
        let frames: Vec<Bytes> = (0..200).map(|_| Bytes::from(rng.chunk(60_000))).collect();
        let echo = create_task(async move {
            let mut there = Framed::new(there, LengthDelimitedCodec::new());
            while let Some(frame) = there.next().await {
                there.send(frame?.freeze()).await?;
            }
            SinkExt::<Bytes>::close(&mut there).await
        });
        let (mut sink, mut stream) = Framed::new(here, LengthDelimitedCodec::new()).split();
        let sent = frames.clone();
        let writing = create_task(async move {
            for frame in sent {
                sink.send(frame).await?;
            }
            SinkExt::<Bytes>::close(&mut sink).await
        });
        for expected in &frames {
            assert_eq!(stream.next().await.unwrap().unwrap(), expected[..]);
        }
        assert!(stream.next().await.is_none());
        writing.await.unwrap();
        echo.await.unwrap();
        let (here, there) = joined().await;
        let mut here = Framed::new(here, LinesCodec::new());
        here.send("a line").await.unwrap();
        let (mut reader, _writer) = there.into_halves();
        assert_eq!(reader.readline().await.unwrap(), "a line\n");
    });
}

#[test]
fn both_sets_of_traits_read_write_flush_and_end() {
    on_ring(async || {
        let (mut here, mut there) = joined().await;
        futures::AsyncWriteExt::write_all(&mut here, &[1; 100_000]).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut here, &[2; 100_000]).await.unwrap();
        let reading = create_task(async move {
            let mut text = Vec::new();
            futures::AsyncReadExt::read_to_end(&mut there, &mut text).await?;
            tokio::io::AsyncWriteExt::write_all(&mut there, b"answer").await?;
            futures::AsyncWriteExt::close(&mut there).await?;
            io::Result::Ok(text)
        });
        tokio::io::AsyncWriteExt::flush(&mut here).await.unwrap();
        assert_eq!(here.writer().get_write_buffer_size(), 0);
        tokio::io::AsyncWriteExt::shutdown(&mut here).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut here, &mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        assert!(here.reader().at_eof());
        let text = reading.await.unwrap();
        assert_eq!((text.len(), text[0], text[199_999]), (200_000, 1, 2));
    });
}

#[test]
fn a_cancel_ends_its_waits_and_loses_nothing() {
    // SR10, SW9; lessons 33
    on_ring(async || {
        let (mut here, mut there) = joined().await;
        let task = create_task(async move {
            let mut byte = [0; 4];
            let cancelled = tokio::io::AsyncReadExt::read_exact(&mut here, &mut byte).await.unwrap_err();
            assert!(is_cancel(&cancelled));
            tokio::io::AsyncReadExt::read_exact(&mut here, &mut byte).await?;
            io::Result::Ok((byte, here))
        });
        turns(3).await;
        task.cancel();
        turns(3).await;
        tokio::io::AsyncWriteExt::write_all(&mut there, b"late").await.unwrap();
        let (byte, mut here) = task.await.unwrap();
        assert_eq!(&byte, b"late");
        // What a cancelled write had taken is sent.
        let mut accepted = 0;
        loop {
            let written = tokio::io::AsyncWriteExt::write(&mut here, &[7; 50_000]);
            match wait_for(written, Duration::from_millis(50)).await {
                Ok(count) => accepted += count,
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        let (_reader, mut writer) = here.into_halves();
        writer.close();
        let (mut far_reader, _far) = there.into_halves();
        assert_eq!(far_reader.read_to_end().await.unwrap(), vec![7; accepted]);
    });
}
