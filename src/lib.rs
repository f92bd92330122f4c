//! **ringio** is Python asyncio's high-level API as an io_uring completion runtime for Linux: one ring and one loop per
//! thread, owned buffers, and cancellation that loses nothing.
//!
//! > Cancel anything, at any await: no byte, no connection, no buffer and no child process is lost. And it costs what the
//! > kernel costs.
//!
//! ```
//! use std::{io, time::Duration};
//! use ringio::{StreamReader, StreamWriter};
//!
//! async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
//!     loop {
//!         let data = reader.read(64 * 1024).await?;
//!         if data.is_empty() {
//!             return Ok(());
//!         }
//!         writer.write_owned(data)?;
//!         writer.drain().await?;
//!     }
//! }
//!
//! ringio::run(async {
//!     let server = ringio::start_server(echo, "127.0.0.1:0").await?;
//!     let (mut reader, mut writer) = ringio::open_connection(server.sockets()[0]).await?;
//!     writer.write(b"hello\n")?;
//!     let line = ringio::wait_for(reader.readline(), Duration::from_secs(1)).await?;
//!     assert_eq!(line, "hello\n");
//!     io::Result::Ok(())
//! })
//! .unwrap();
//! ```
//!
//! Everything is at the crate's root, under asyncio's names. A cancel is a value: a wait that is cancelled returns
//! [`CancelledError`], the task may wait in its clean-up, and hands it on with `?`. Nothing here is [`Send`]: tasks stay
//! on their thread and cost no atomics there.
//!
//! Longer texts: [`_docs`].

// In reading order: a file uses only what stands above it, or its own folder.
mod buf;
mod clock;
mod error;
#[cfg(feature = "testing")]
mod rng;
mod sys;

mod driver;

mod op;

mod executor;
mod scope;

mod sync;

mod task;
mod thread;

mod fs;
mod net;
mod process;
mod signal;

mod streams;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;

pub mod _docs {
    //! The long texts.

    #[doc = include_str!("_docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("_docs/cancellation.md")]
    pub mod cancellation {}
    #[doc = include_str!("_docs/reliability.md")]
    pub mod reliability {}
    #[doc = include_str!("_docs/coming_from_asyncio.md")]
    pub mod coming_from_asyncio {}
    #[doc = include_str!("_docs/coming_from_tokio.md")]
    pub mod coming_from_tokio {}
    #[doc = include_str!("_docs/performance.md")]
    pub mod performance {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("_docs/simulation.md")]
    pub mod simulation {}
    #[doc = include_str!("_docs/decisions.md")]
    pub mod decisions {}
    #[doc = include_str!("_docs/changelog.md")]
    pub mod changelog {}
}

pub use buf::{BufResult, IoBuf, IoBufMut, Slice};
pub use driver::DriverReport;
pub use error::{
    BarrierError, BrokenBarrierError, CancelledError, Error, ExceptionGroup, GetError, GroupError, InTime,
    IncompleteReadError, InvalidStateError, LimitOverrunError, NoPartiesError, NotLockedError, Outcome,
    ProcessLookupError, PutError, QueueEmpty, QueueFull, QueueShutDown, ReleasedTooOftenError,
    SendfileNotAvailableError, TaskDoneError, TaskError, TimeoutError, TryGetError, TryPutError, WaitForError,
    cancelled,
};
pub use executor::{
    ErrorReport, ReportKind, Runner, RunnerBuilder, TaskSnapshot, TaskState, at_close, driver_report, is_debug, run,
    set_debug,
};
pub use fs::Descriptor;
pub use net::{
    Addresses, Bind, BindUnix, ConnectError, Family, PeerCredentials, TcpListener, TcpStream, ToAddresses, UdpSocket,
    UnixDatagram, UnixListener, UnixStream,
};
pub use process::{CreateSubprocess, Stdio, create_subprocess_exec, create_subprocess_shell};
pub use signal::{Signal, Signals, dump_tasks_on, signals};
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
pub use streams::io_stream::IoStream;
#[cfg(feature = "tls")]
pub use streams::tls::Tls;
pub use streams::{
    ExtraInfo, Feed, Lines, OpenConnection, OpenUnixConnection, Process, Separators, Server, StartServer,
    StartUnixServer, StreamReader, StreamWriter, open_connection, open_connection_from, open_unix_connection,
    start_server, start_unix_server,
};
pub use sync::{
    Barrier, BarrierStatistics, BoundedSemaphore, Condition, ConditionGuard, ConditionStatistics, Event,
    EventStatistics, Items, LifoQueue, Lock, LockGuard, LockStatistics, Mutex, MutexGuard, Permit, PriorityQueue,
    Queue, QueueSender, QueueStatistics, Semaphore, SemaphoreStatistics,
};
pub use task::{
    AnyTask, AsCompleted, AsTask, Batch, CallGraph, CallbackId, Cancellable, Completions, Context, ContextVar, Frame,
    FrameLimits, Gather, GatherResults, GroupClosedError, NextCompleted, ReturnWhen, Shield, Sleep, SleepError,
    StartError, Starting, Task, TaskBuilder, TaskGroup, TaskStatus, Tasks, Timeout, Token, Wait, WaitDone, Waited,
    YieldNow, all_tasks, as_completed, cancellable, capture_call_graph, create_task, current_task, dump_tasks,
    format_call_graph, gather, print_call_graph, shield, shielded, sleep, sleep_secs, sleep_until, sleep_with, timeout,
    timeout_at, wait, wait_for, yield_now,
};
#[doc(hidden)]
pub use task::{Gathering, test_in_time};
pub use thread::{
    LoopClosedError, LoopHandle, Mailbox, MailboxSender, MailboxStatistics, ThreadsafeError, ThreadsafeTask,
    ThreadsafeWait, ToThread, run_coroutine_threadsafe, to_thread, to_thread_uncancellable,
};

#[cfg(feature = "macros")]
pub use ringio_macros::{main, test};
