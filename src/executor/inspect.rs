//! Answers `ringio-ps`, which asks a running program for its tasks (IN5, IN6).
//!
//! A task that nobody sees listens on a unix socket. To whoever connects it writes all tasks down as they are at that moment,
//! between two steps, and closes: no request, no thread, no signal. What each task waits for is found out there and then
//! from where the waits are (the table of operations, sockets, listeners, timers, other tasks).
//!
//! ```text
//! ringio 1 THREAD
//! task  ID  NAME  STATE  BODY  SPAWNED AT  IDS OF AWAITERS  WAITS  MILLISECONDS SINCE ITS LAST STEP
//! end
//! ```
//! Tabulators stand between fields, commas and `; ` in lists; `\t`, `\n` and `\\` for themselves in a field. Without the last line it was cut off.

use std::{
    env,
    fmt::{self, Write},
    future::poll_fn,
    io,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{Alarm, Runtime, Waiter, context, wait};
use crate::{
    op::{Acceptor, Segment, Socket, Taken},
    sys,
};

/// The first word of an answer, and the second one: which form it has.
const GREETING: &str = "ringio 1";

const VARIABLE: &str = "RINGIO_INSPECT";

/// How long listening pauses when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn is_wanted() -> bool {
    env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Lets `runtime` answer as soon as it runs.
pub(super) fn begin(runtime: &Runtime) -> io::Result<()> {
    let listener = sys::listen_for_inspection().map_err(|error| {
        let text = format!("cannot listen for ringio-ps: {error}; build the runtime with `.inspect(false)`");
        io::Error::new(error.kind(), text)
    })?;
    let acceptor = Acceptor::new(&runtime.port, listener);
    runtime.attend(serve(acceptor));
    runtime.note_steps();
    Ok(())
}

impl Runtime {
    /// From now on it is known since when each task waits.
    pub(crate) fn note_steps(&self) {
        self.inspected.set(true);
    }
}

/// Notes when the tasks that are ready take their steps: now. So it is known since when they wait.
#[cold]
pub(super) fn note_steps(runtime: &Runtime) {
    let now = runtime.port.clock().now();
    runtime.ready.each(|task| task.core().set_stepped(now));
}

async fn serve(acceptor: Rc<Acceptor>) {
    struct Close(Rc<Acceptor>);
    impl Drop for Close {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let acceptor = Close(acceptor);
    loop {
        match wait(|cx| acceptor.0.poll_take(cx.waker())).await {
            Ok(Ok(Taken::Connection(socket, _))) => answer(&socket),
            Ok(Ok(Taken::Exhausted(_))) => pause().await,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn pause() {
    let deadline = context::with(|runtime| runtime.port.clock().now().after(PAUSE));
    let mut armed = false;
    poll_fn(|cx| {
        context::with(|runtime| {
            if !armed {
                armed = true;
                runtime.timers.borrow_mut().insert(deadline, Alarm::Wake(Waiter::of(cx.waker())));
            }
            if runtime.port.clock().now() < deadline { Poll::Pending } else { Poll::Ready(()) }
        })
    })
    .await;
}

/// What is written is sent, and the connection closed after it, by the loop: nobody waits for a slow reader. One that has
/// gone away already is no loss.
fn answer(socket: &Rc<Socket>) {
    let text = if socket.is_same_user() { context::with(describe) } else { "refused\n".to_owned() };
    let _ = socket.write(Segment::Shared(text.into()));
    socket.close();
}

fn describe(runtime: &Runtime) -> String {
    let mut text = format!("{GREETING} {}\n", sys::this_thread());
    for task in runtime.snapshot() {
        let awaiters: Vec<String> = task.awaited_by.iter().map(u64::to_string).collect();
        let fields = [
            &task.id.to_string(),
            &*task.name,
            &task.state.to_string(),
            task.body_type_name,
            &task.spawned_at.to_string(),
            &awaiters.join(","),
            &task.waits_for.join("; "),
            &task.idle.map_or_else(String::new, |idle| idle.as_millis().to_string()),
        ];
        text.push_str("task");
        for field in fields {
            write!(text, "\t{}", Escaped(field)).expect("a String takes everything");
        }
        text.push('\n');
    }
    text.push_str("end\n");
    text
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\t' => f.write_str("\\t"),
            '\n' => f.write_str("\\n"),
            '\\' => f.write_str("\\\\"),
            other => f.write_char(other),
        })
    }
}
