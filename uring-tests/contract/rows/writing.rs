//! Waits for what was written: it is sent, and the connection closed, whatever becomes of them.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use futures::future::LocalBoxFuture;
use ringio::{
    BufResult, StreamReader, StreamWriter, Task, TcpListener, TcpStream, create_task, open_connection, wait_for,
};

use super::{Subject, look};

/// What is written at a time, and when that is too much.
const PIECE_BYTES: usize = 8 * 1024;
const HIGH_BYTES: usize = 4 * 1024;

/// A connection that takes no more, because nobody reads at the other end.
struct Stuffed {
    writer: StreamWriter,
    _reader: StreamReader,
    far: Cell<Option<TcpStream>>,
    reading: RefCell<Option<Task<(), io::Error>>>,
    written: usize,
}

fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

impl Stuffed {
    fn write(&mut self) {
        let piece: Vec<u8> = (self.written..self.written + PIECE_BYTES).map(pattern).collect();
        self.written += PIECE_BYTES;
        self.writer.write_owned(piece).unwrap();
    }

    async fn new(stuff: bool) -> Stuffed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (reader, mut writer) = open_connection(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        writer.set_write_buffer_limits(HIGH_BYTES, HIGH_BYTES / 4).unwrap();
        let (far, reading) = (Cell::new(Some(far)), RefCell::default());
        let mut stuffed = Stuffed { writer, _reader: reader, far, reading, written: 0 };
        if stuff {
            stuffed.write();
            while wait_for(stuffed.writer.flush(), Duration::from_secs(1)).await.is_ok() {
                stuffed.write();
            }
            // In a slow world it was not stuck, and goes on: so nothing may happen between this and the wait.
            while stuffed.writer.get_write_buffer_size() <= HIGH_BYTES {
                stuffed.write();
            }
        }
        stuffed
    }

    /// Everything arrives, in its order, and the end after it if there is one.
    fn read(&self, to_the_end: bool) {
        let mut far = self.far.take().expect("it is read once");
        let written = self.written;
        let reading = create_task(async move {
            let (mut count, mut buffer) = (0, vec![0; 64 * 1024]);
            while count < written || to_the_end {
                let BufResult(read, back) = far.read(buffer).await;
                buffer = back;
                match read? {
                    0 => break,
                    more => {
                        assert!(buffer[..more].iter().zip(count..).all(|(byte, position)| *byte == pattern(position)));
                        count += more;
                    }
                }
                buffer.resize(64 * 1024, 0);
            }
            assert_eq!(count, written, "what was written is sent");
            Ok(())
        });
        self.reading.replace(Some(reading));
    }
}

/// One of the waits for a writer.
type Wait = fn(&StreamWriter) -> LocalBoxFuture<'_, io::Result<()>>;

/// The unit is a reader at the other end.
fn waiting(stuffed: Stuffed, to_the_end: bool, wait: Wait) -> Subject {
    let stuffed = Rc::new(stuffed);
    let (waited, read) = (stuffed.clone(), stuffed.clone());
    Subject {
        wait: Box::new(move || {
            let stuffed = waited.clone();
            Box::pin(async move { wait(&stuffed.writer).await.map(|()| 1) })
        }),
        give: Rc::new(move || read.read(to_the_end)),
        left: look(move |end| {
            let stuffed = stuffed.clone();
            async move {
                if !end.given {
                    stuffed.read(to_the_end);
                }
                let reading = stuffed.reading.take().expect("somebody reads by now");
                reading.await.unwrap_or_else(|error| panic!("{}: {error}", end.case));
                // It may be waited for again, and again.
                for _ in 0..2 {
                    wait(&stuffed.writer).await.unwrap_or_else(|error| panic!("{}: again: {error}", end.case));
                }
            }
        }),
    }
}

pub(super) async fn drain() -> Subject {
    waiting(Stuffed::new(true).await, false, |writer| Box::pin(writer.drain()))
}

pub(super) async fn flush() -> Subject {
    waiting(Stuffed::new(true).await, false, |writer| Box::pin(writer.flush()))
}

/// SW4
pub(super) async fn wait_closed() -> Subject {
    let mut stuffed = Stuffed::new(true).await;
    stuffed.writer.close();
    waiting(stuffed, true, |writer| Box::pin(writer.wait_closed()))
}

/// Nothing holds the close up: the kernel is asked for it, and answers.
pub(super) async fn wait_closed_at_once() -> Subject {
    let mut stuffed = Stuffed::new(false).await;
    stuffed.writer.close();
    waiting(stuffed, true, |writer| Box::pin(writer.wait_closed()))
}
