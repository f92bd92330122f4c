//! An echo server that changes one byte in 100,000. Guards: the load generator notices.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
};

use crate::serve::{ECHO_LEN, Role, listen};

pub(crate) fn serve(_role: Role) -> io::Result<()> {
    for stream in listen()?.incoming() {
        let stream = stream?;
        thread::spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; ECHO_LEN];
    let mut echoed = 0;
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        if echoed / 100_000 != (echoed + len) / 100_000 {
            buffer[len - 1] ^= 1;
        }
        echoed += len;
        stream.write_all(&buffer[..len])?;
    }
}
