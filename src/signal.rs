//! Signals of this process, as a stream.

use std::{fmt, io, rc::Rc};

use crate::{
    driver::{Hearing, Interest},
    executor::{Leaf, context},
    op::{Port, Ready, Source},
    sys::number,
};

/// A signal, by its number.
///
/// ```
/// use ringio::Signal;
/// assert_eq!(Signal::TERM, Signal::from(15));
/// assert_eq!(Signal::INT.to_string(), "SIGINT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The signals that have names here.
macro_rules! named {
    ($($(#[$docs:meta])* $name:ident;)*) => {
        impl Signal {
            $($(#[$docs])* pub const $name: Signal = Signal(number::$name);)*
        }
        const NAMES: &[(Signal, &str)] = &[$((Signal::$name, concat!("SIG", stringify!($name)))),*];
    };
}

named! {
    /// A timer of the process ran out.
    ALRM;
    /// A child ended or stopped. Children of ours are waited for without it.
    CHLD;
    /// Go on.
    CONT;
    /// The terminal is gone; by custom: read your configuration again.
    HUP;
    /// Ctrl-C.
    INT;
    /// End; it cannot be refused.
    KILL;
    /// A write to a pipe that nobody reads.
    PIPE;
    /// Ctrl-\.
    QUIT;
    /// Stop; it cannot be refused.
    STOP;
    /// Please end.
    TERM;
    /// Ctrl-Z.
    TSTP;
    /// Whatever the program says.
    USR1;
    /// Whatever the program says.
    USR2;
    /// The terminal has another size.
    WINCH;
}

impl Signal {
    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl From<i32> for Signal {
    fn from(number: i32) -> Signal {
        Signal(number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(signal, _)| signal == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hears these signals from now on, in place of their default action, until the stream is dropped. Any number of streams
/// may hear the same signal; each gets it. When the last one goes, what was done with the signal before is done again.
///
/// In a simulated world they are those of the simulated process: `testing::raise` sends them.
///
/// A stream of [`Signal::INT`] takes Ctrl-C from [`run`](crate::run), which cancels its main future otherwise.
///
/// # Errors
/// For a signal that cannot be heard (SIGKILL, SIGSTOP, errors of the program such as SIGSEGV, no signal at all); when
/// descriptors have run out.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// use ringio::{Signal, create_subprocess_exec, signals};
///
/// ringio::run(async {
///     let mut hangups = signals([Signal::HUP])?;
///     let kill = create_subprocess_exec("kill").args(["-HUP", &std::process::id().to_string()]).await?;
///     assert_eq!(hangups.recv().await?, Signal::HUP);
///     kill.wait().await?;
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "asyncio.loop.add_signal_handler")]
#[track_caller]
pub fn signals(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
    let port = context::with(|runtime| runtime.port.clone());
    let mut numbers: Vec<i32> = signals.into_iter().map(Signal::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let (counter, listener) = port.calls().hear(&numbers)?;
    let heard = listener.counts_before();
    Ok(Signals { _listener: listener, source: Source::new(&port, counter), port, heard })
}

/// A stream of signals; made by [`signals`].
pub struct Signals {
    // Dropped before its counter is closed.
    _listener: Hearing,
    source: Rc<Source>,
    port: Rc<Port>,
    /// How many of each have been received.
    heard: Vec<(i32, u32)>,
}

/// From now on each `signal` of the process has this thread's runtime write down what all its tasks wait for
/// ([`dump_tasks`](crate::dump_tasks)), with a line before and after it. By custom: [`Signal::USR1`], to standard error.
///
/// The loop itself writes, between two steps: one that a task holds up answers later (see
/// [`RunnerBuilder::watchdog`](crate::RunnerBuilder::watchdog)). From now on it notes when the tasks take their steps, so that
/// it is known for how long they wait. Until the end of the runtime;
/// errors of `out` are ignored.
///
/// # Errors
/// As [`signals`].
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// # ringio::run(async {
/// ringio::dump_tasks_on(ringio::Signal::USR1, std::io::stderr())
/// # }).unwrap();
/// ```
#[track_caller]
pub fn dump_tasks_on(signal: Signal, mut out: impl io::Write + 'static) -> io::Result<()> {
    let mut heard = signals([signal])?;
    context::with(|runtime| runtime.note_steps());
    let attendant = async move {
        while heard.recv().await.is_ok() {
            let text = context::with(|runtime| runtime.dump());
            let count = text.lines().count();
            let _ = write!(out, "{signal}: {count} tasks\n{text}end\n").and_then(|()| out.flush());
        }
    };
    context::with(|runtime| runtime.attend(attendant));
    Ok(())
}

impl Signals {
    /// Waits for the next signal. Those that came since the last call are there; of several at once, the lowest number
    /// comes first. (The system itself makes one of the same signal sent twice in a short while.)
    ///
    /// # Errors
    /// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: a signal that comes is there for the next call.
    pub async fn recv(&mut self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.take() {
                return Ok(signal);
            }
            Leaf::new(&self.port, Ready { owner: self.source.clone(), interest: Interest::Readable }).await?;
            // First emptied, then looked at: what comes in between writes again.
            self.source.as_fd().into_iter().for_each(|counter| self.port.calls().clear_counter(counter));
        }
    }

    fn take(&mut self) -> Option<Signal> {
        let calls = self.port.calls();
        let (number, heard) = self.heard.iter_mut().find(|(number, heard)| calls.signal_count(*number) != *heard)?;
        *heard = heard.wrapping_add(1);
        Some(Signal(*number))
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signals: Vec<Signal> = self.heard.iter().map(|(number, _)| Signal(*number)).collect();
        f.debug_struct("Signals").field("signals", &signals).finish()
    }
}
