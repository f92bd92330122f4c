//! One operation per direction: the second one does not compile. SR8.

use ringio::{StreamReader, TcpStream};

pub async fn two_reads(mut stream: TcpStream) {
    let first = stream.read(Vec::with_capacity(16));
    let second = stream.read(Vec::with_capacity(16)); //~ cannot borrow `stream` as mutable more than once
    let _ = first.await;
    let _ = second.await; //~
}

pub async fn two_lines(mut reader: StreamReader) {
    let first = reader.readline();
    let second = reader.readline(); //~ cannot borrow `reader` as mutable more than once
    let _ = first.await;
    let _ = second.await; //~
}
