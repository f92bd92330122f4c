//! A child process with its streams.

use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    io,
    pin::{Pin, pin},
    process::ExitStatus,
    task::Poll,
};

use super::{StreamReader, StreamWriter};
use crate::{
    error::CancelledError,
    process::{CreateSubprocess, Handle, Parts},
    signal::Signal,
};

/// A child process. Dropping it while it runs kills the child (with its process group, if it leads one), which is reported,
/// and reaps it; [`detach`](Process::detach) lets it go on.
///
/// The child is watched by the runtime: it is reaped when it ends, whether anybody waits or not, and its status stays here.
#[doc(alias = "asyncio.subprocess.Process")]
pub struct Process {
    /// Writes to the child, if its standard input is a [`Pipe`](crate::Stdio::Pipe). Dropping it ends the child's input.
    pub stdin: Option<StreamWriter>,
    /// Reads what the child writes to its standard output, if that is a [`Pipe`](crate::Stdio::Pipe).
    pub stdout: Option<StreamReader>,
    /// Reads what the child writes to its standard error, if that is a [`Pipe`](crate::Stdio::Pipe).
    pub stderr: Option<StreamReader>,
    handle: Handle,
    /// What a [`Process::communicate`] that was cancelled has read (PR8).
    read: [Vec<u8>; 2],
    /// One has begun: the input is the runtime's to deliver.
    communicating: bool,
}

impl IntoFuture for CreateSubprocess {
    type Output = io::Result<Process>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Process::new(self.start().await?) })
    }
}

impl Process {
    fn new(parts: Parts) -> io::Result<Process> {
        let Parts { handle, pipes: [stdin, stdout, stderr], limit } = parts;
        Ok(Process {
            stdin: stdin.map(|fd| StreamWriter::from_pipe(fd.into_fd())),
            stdout: stdout.map(|fd| StreamReader::from_pipe(fd.into_fd(), limit)).transpose()?,
            stderr: stderr.map(|fd| StreamReader::from_pipe(fd.into_fd(), limit)).transpose()?,
            handle,
            read: Default::default(),
            communicating: false,
        })
    }

    /// The child's number: the shell's, for [`create_subprocess_shell`](crate::create_subprocess_shell). For reports; once
    /// the child is reaped it may be another's, so signals go by [`send_signal`](Process::send_signal).
    pub fn pid(&self) -> u32 {
        self.handle.pid()
    }

    /// How the child ended: its exit code, or −N for signal N; `None` while it runs.
    #[doc(alias = "asyncio.subprocess.Process.returncode")]
    pub fn returncode(&self) -> Option<i32> {
        self.handle.status().map(returncode)
    }

    /// Waits for the child's end, and for nothing else: processes of its own may still hold its pipes.
    ///
    /// A child that writes to a pipe which nobody reads does not end: use [`communicate`](Process::communicate).
    ///
    /// # Errors
    /// [`CancelledError`](crate::CancelledError).
    ///
    /// # Cancellation
    /// **Nothing lost**: the status stays for the next wait.
    ///
    /// ```
    /// # ringio::run(async {
    /// let process = ringio::create_subprocess_exec("true").await?;
    /// assert!(process.wait().await?.success());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "asyncio.subprocess.Process.wait")]
    pub async fn wait(&self) -> Result<ExitStatus, CancelledError> {
        self.handle.wait().await
    }

    /// Writes `input` to the child and ends its input; reads its output and errors to their ends; waits for its end. All at
    /// once, so that no size of either blocks the other. `None` where there is no pipe.
    ///
    /// That the child reads less than all of the input is no error.
    ///
    /// # Errors
    /// When there is input and no pipe for it, or input after that of an earlier call; why a pipe could not be read;
    /// [`CancelledError`](crate::CancelledError) inside an [`io::Error`].
    ///
    /// # Cancellation
    /// **Nothing lost**: the child lives on, the input is still written, and what was read is kept: call it again, with
    /// `None`, for all of the output.
    #[doc(alias = "asyncio.subprocess.Process.communicate")]
    pub async fn communicate(&mut self, input: Option<&[u8]>) -> io::Result<(Option<Vec<u8>>, Option<Vec<u8>>)> {
        self.feed(input)?;
        let [output, errors] = &mut self.read;
        both(read_to_end(&mut self.stdout, output), read_to_end(&mut self.stderr, errors)).await?;
        self.handle.wait().await?;
        let [output, errors] = std::mem::take(&mut self.read);
        Ok((self.stdout.is_some().then_some(output), self.stderr.is_some().then_some(errors)))
    }

    /// PR7: what was written is the runtime's to deliver, so a cancel does not lose it.
    fn feed(&mut self, input: Option<&[u8]>) -> io::Result<()> {
        let begun = std::mem::replace(&mut self.communicating, true);
        let Some(stdin) = &mut self.stdin else {
            return match input {
                None => Ok(()),
                Some(_) => Err(invalid("there is input, but no pipe for it; start the child with stdin(Stdio::Pipe)")),
            };
        };
        match input {
            Some(_) if begun => return Err(invalid("the input was given already; call communicate(None) to go on")),
            // A child that takes no input any more (or was told that there is none) is none of our business.
            Some(input) => drop(stdin.write(input)),
            None => {}
        }
        stdin.close();
        Ok(())
    }

    /// Sends a signal to the child, and never to a process that got its number later.
    ///
    /// # Errors
    /// [`ProcessLookupError`](crate::ProcessLookupError) inside an [`io::Error`] once the child has ended; what the system
    /// says of the signal, or of a child that changed its user.
    #[doc(alias = "asyncio.subprocess.Process.send_signal")]
    pub fn send_signal(&self, signal: impl Into<Signal>) -> io::Result<()> {
        self.handle.send_signal(signal.into().number())
    }

    /// Asks the child to end: [`Signal::TERM`].
    ///
    /// # Errors
    /// As [`send_signal`](Process::send_signal).
    #[doc(alias = "asyncio.subprocess.Process.terminate")]
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(Signal::TERM)
    }

    /// Ends the child: [`Signal::KILL`].
    ///
    /// # Errors
    /// As [`send_signal`](Process::send_signal).
    #[doc(alias = "asyncio.subprocess.Process.kill")]
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(Signal::KILL)
    }

    /// Sends a signal to the whole process group of a child that leads one
    /// ([`start_new_session`](CreateSubprocess::start_new_session)), whether the child itself has ended or not.
    ///
    /// # Errors
    /// For a child that leads none; [`ProcessLookupError`](crate::ProcessLookupError) inside an [`io::Error`] when nobody is
    /// left in it (before Linux 6.9: once the child has ended).
    #[doc(alias = "os.killpg")]
    pub fn send_signal_group(&self, signal: impl Into<Signal>) -> io::Result<()> {
        self.handle.send_signal_to_group(signal.into().number())
    }

    /// Ends the whole process group of a child that leads one: [`Signal::KILL`].
    ///
    /// # Errors
    /// As [`send_signal_group`](Process::send_signal_group).
    pub fn kill_group(&self) -> io::Result<()> {
        self.send_signal_group(Signal::KILL)
    }

    /// Lets the child go on when this is dropped, and when the runtime ends. As long as the runtime lives it still reaps it;
    /// after that, the next child to be started in this process does.
    pub fn detach(self) {
        self.handle.detach();
    }
}

/// PR4
fn returncode(status: ExitStatus) -> i32 {
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    status.code().or(signal.map(|signal| -signal)).unwrap_or(255)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("communicate: {text}"))
}

/// How much is asked for at a time.
const PIECE_BYTES: usize = 64 * 1024;

async fn read_to_end(reader: &mut Option<StreamReader>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(reader) = reader else { return Ok(()) };
    loop {
        let piece = reader.read(PIECE_BYTES).await?;
        if piece.is_empty() {
            return Ok(());
        }
        into.extend_from_slice(&piece);
    }
}

/// Both to their ends, or to the first error.
async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (false, false);
    poll_fn(|cx| {
        if !first && let Poll::Ready(result) = one.as_mut().poll(cx) {
            first = true;
            result?;
        }
        if !second && let Poll::Ready(result) = other.as_mut().poll(cx) {
            second = true;
            result?;
        }
        if first && second { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
