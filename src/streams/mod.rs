//! asyncio's streams: buffered reading and writing, and servers.

mod connection;
mod extra;
mod feed;
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
pub(crate) mod io_stream;
#[cfg(feature = "futures-io")]
mod io_stream_futures;
#[cfg(feature = "tokio-io")]
mod io_stream_tokio;
mod lines;
mod reader;
mod sendfile;
mod separators;
mod server;
mod start;
mod subprocess;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod writer;

pub use connection::{OpenConnection, OpenUnixConnection, open_connection, open_connection_from, open_unix_connection};
pub use extra::ExtraInfo;
pub use feed::Feed;
pub use lines::Lines;
pub use reader::StreamReader;
pub use separators::Separators;
pub use server::Server;
pub use start::{StartServer, StartUnixServer, start_server, start_unix_server};
pub use subprocess::Process;
pub use writer::StreamWriter;
