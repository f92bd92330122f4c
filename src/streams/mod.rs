//! asyncio's streams: buffered reading and writing, and servers.

mod connection;
mod feed;
mod lines;
mod reader;
mod separators;
mod server;
mod writer;

pub use connection::{OpenConnection, open_connection};
pub use feed::Feed;
pub use lines::Lines;
pub use reader::StreamReader;
pub use separators::Separators;
pub use server::{Server, StartServer, start_server};
pub use writer::StreamWriter;
