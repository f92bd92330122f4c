//! start_tls: a connection whose handshake did not come to its end is closed.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::OnceLock,
};

use ringio::{StreamReader, StreamWriter, Task, create_task, open_connection, start_server};

use super::{super::tls::Identity, Subject, come_about, look};

/// A writer that comes back to its place, however the wait with it ends.
struct Taken {
    writer: Option<StreamWriter>,
    place: Rc<Cell<Option<StreamWriter>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.place.set(self.writer.take());
    }
}

/// Both ends of a connection.
async fn streams() -> ((StreamReader, StreamWriter), (StreamReader, StreamWriter)) {
    let accepted: Rc<RefCell<Option<(StreamReader, StreamWriter)>>> = Rc::default();
    let place = accepted.clone();
    let handler = move |reader, writer| {
        place.replace(Some((reader, writer)));
        async {}
    };
    let server = start_server(handler, "127.0.0.1:0").await.unwrap();
    let here = open_connection(server.sockets()[0]).await.unwrap();
    come_about("the connection is accepted", || accepted.borrow().is_some()).await;
    server.close();
    server.wait_closed().await.unwrap();
    let there = accepted.take().expect("just seen");
    (here, there)
}

/// What comes of the other side's handshake.
type Agreed = Task<(StreamReader, StreamWriter), io::Error>;

/// The unit is a peer that answers.
pub(super) async fn start_tls() -> Subject {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(Identity::new);
    let ((reader, writer), far) = streams().await;
    let (reader, writer) = (Cell::new(Some(reader)), Rc::new(Cell::new(Some(writer))));
    let far = Rc::new(Cell::new(Some(far)));
    let agreed: Rc<RefCell<Option<Agreed>>> = Rc::default();
    let (own, peer, place) = (writer.clone(), far.clone(), agreed.clone());
    Subject {
        wait: Box::new(move || {
            let place = own.clone();
            Box::pin(async move {
                let mut own = Taken { writer: place.take(), place };
                let writer = own.writer.as_mut().expect("it is encrypted once");
                writer.start_tls(identity.client().server_hostname("localhost")).await.map(|()| 1)
            })
        }),
        give: Rc::new(move || {
            let (reader, mut writer) = peer.take().expect("it answers once");
            place.replace(Some(create_task(async move {
                writer.start_tls(identity.server()).await?;
                Ok((reader, writer))
            })));
        }),
        left: look(move |end| {
            let mut reader = reader.take().expect("it ends once");
            let (writer, far, agreed) = (writer.clone(), far.take(), agreed.take());
            async move {
                let mut writer = writer.take().expect("it came back");
                let agreed = match agreed {
                    Some(agreed) => agreed.await,
                    // Nobody answered: what was said is there, and then the end.
                    None => far.ok_or_else(|| io::Error::other("it is there")),
                };
                if end.got == 1 {
                    let (mut far_reader, _far) = agreed.unwrap_or_else(|error| panic!("{}: {error}", end.case));
                    writer.write(b"secret").unwrap();
                    assert_eq!(far_reader.readexactly(6).await.unwrap(), "secret", "{}", end.case);
                    writer.close();
                    writer.wait_closed().await.unwrap();
                    return;
                }
                assert!(writer.is_closing(), "{}", end.case);
                // The other side may be through with it, or not.
                if let Ok((mut far_reader, _far)) = agreed {
                    let rest = far_reader.read_to_end().await;
                    assert!(rest.is_err() || !end.given || rest.is_ok_and(|rest| rest.is_empty()), "{}", end.case);
                }
                let _ = writer.wait_closed().await;
                // Nothing of the peer's side of the handshake comes out as data.
                let read = reader.read(1).await;
                let error = read.map(|data| panic!("{}: {data:?}", end.case)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{}: {error}", end.case);
            }
        }),
    }
}
