//! asyncio's streams: buffered reading and writing, and servers.

mod connection;
mod feed;
mod reader;
mod server;
mod writer;

pub use connection::{OpenConnection, open_connection};
pub use feed::Feed;
pub use reader::StreamReader;
pub use server::{Server, StartServer, start_server};
pub use writer::StreamWriter;
