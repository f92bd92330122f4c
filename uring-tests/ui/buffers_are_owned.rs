//! What is lent to the kernel is moved into the operation: it may not be borrowed.

use ringio::{StreamWriter, TcpStream};

pub async fn read_into_borrowed_memory(mut stream: TcpStream) {
    let mut buffer = [0u8; 16];
    let _ = stream.read(&mut buffer[..]).await; //~ cannot be received into: an operation owns its buffer
    buffer[0] = 1;
}

pub async fn write_borrowed_memory(mut stream: TcpStream) {
    let text = String::from("hello");
    let _ = stream.write(text.as_bytes()).await; //~ `text` does not live long enough
    drop(text);
}

pub async fn write_no_bytes(mut stream: TcpStream) {
    let _ = stream.write(5u32).await; //~ note: give a `Vec<u8>`, `Bytes`, `Box<[u8]>` or another owned buffer
    let _ = stream.write("a literal lasts for ever").await;
}

pub fn write_owned_wants_to_own(mut writer: StreamWriter) {
    let text = vec![1u8, 2, 3];
    let _ = writer.write_owned(&text[..]); //~ `text` does not live long enough
    let _ = writer.write_owned(text);
}
