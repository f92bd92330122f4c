//! A chat: what one says, all others hear. `chat 127.0.0.1:8888` serves until Ctrl-C (connect with `nc`); without an address
//! two guests of its own talk. A guest who does not listen is shown out, and holds nobody up.

use std::{cell::RefCell, collections::BTreeMap, env, io, rc::Rc};

use bytes::Bytes;
use ringio::{StreamReader, StreamWriter};

type Guests = Rc<RefCell<BTreeMap<u64, StreamWriter>>>;

const UNHEARD_BYTES_MAX: usize = 64 * 1024;

/// Tells everybody but `from`.
fn tell(guests: &Guests, from: u64, line: &Bytes) {
    guests.borrow_mut().retain(|number, guest| {
        let heard = *number == from || guest.write_owned(line.clone()).is_ok();
        if !heard {
            guest.abort();
        }
        heard
    });
}

async fn guest(guests: Guests, number: u64, mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    writer.set_write_buffer_max(UNHEARD_BYTES_MAX);
    guests.borrow_mut().insert(number, writer);
    tell(&guests, number, &format!("guest {number} comes\n").into());
    let talked = async {
        loop {
            let line = reader.readline().await?;
            if line.is_empty() {
                return Ok(());
            }
            let said = [format!("guest {number}: ").as_bytes(), line.trim_ascii_end(), b"\n"].concat();
            tell(&guests, number, &said.into());
        }
    };
    let talked = talked.await;
    drop(guests.borrow_mut().remove(&number));
    tell(&guests, number, &format!("guest {number} goes\n").into());
    talked
}

async fn talk(address: std::net::SocketAddr) -> io::Result<()> {
    let (mut ann_hears, mut ann) = ringio::open_connection(address).await?;
    let (mut bob_hears, mut bob) = ringio::open_connection(address).await?;
    assert_eq!(ann_hears.readline().await?, "guest 1 comes\n");
    bob.write(b"hello\n")?;
    assert_eq!(ann_hears.readline().await?, "guest 1: hello\n");
    ann.write(b"at last\n")?;
    assert_eq!(bob_hears.readline().await?, "guest 0: at last\n");
    ann.close();
    assert_eq!(bob_hears.readline().await?, "guest 0 goes\n");
    println!("they have talked");
    Ok(())
}

fn main() -> io::Result<()> {
    ringio::run(async {
        let (guests, count) = (Guests::default(), std::cell::Cell::new(0));
        let door = move |reader, writer| guest(guests.clone(), count.replace(count.get() + 1), reader, writer);
        let address = env::args().nth(1);
        let server = ringio::start_server(door, address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        println!("chatting on {}", server.sockets()[0]);
        match address {
            Some(_) => server.serve_forever().await,
            None => talk(server.sockets()[0]).await,
        }
    })
}
