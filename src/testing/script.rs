//! Programs of the simulated world.

use std::{rc::Rc, time::Duration};

use super::time::with_world;
use crate::{
    driver::sim::{Act, Script as Acts},
    signal::Signal,
};

/// What a child process of the simulated world does: one thing after the other, on virtual time, then it exits with code 0.
#[derive(Debug, Clone, Default)]
#[must_use = "a script is for testing::program()"]
pub struct Script(Acts);

impl Script {
    /// Does nothing, and exits with code 0.
    pub fn new() -> Script {
        Script::default()
    }

    fn then(mut self, act: Act) -> Script {
        self.0.acts.push(act);
        self
    }

    /// Writes to its standard output, waiting for room; it dies of [`Signal::PIPE`] when nobody reads.
    pub fn stdout(self, bytes: impl AsRef<[u8]>) -> Script {
        self.then(Act::Write(1, Rc::from(bytes.as_ref())))
    }

    /// The same to its standard error.
    pub fn stderr(self, bytes: impl AsRef<[u8]>) -> Script {
        self.then(Act::Write(2, Rc::from(bytes.as_ref())))
    }

    /// Copies its standard input to its standard output, up to the end.
    pub fn echo(self) -> Script {
        self.then(Act::Echo)
    }

    /// Reads its standard input up to the end.
    pub fn swallow(self) -> Script {
        self.then(Act::Swallow)
    }

    /// Sleeps.
    pub fn sleep(self, time: Duration) -> Script {
        self.then(Act::Sleep(time))
    }

    /// Closes its standard input, so that whoever writes to it hears of it.
    pub fn close_stdin(self) -> Script {
        self.then(Act::Close(0))
    }

    /// Closes its standard output.
    pub fn close_stdout(self) -> Script {
        self.then(Act::Close(1))
    }

    /// Closes its standard error.
    pub fn close_stderr(self) -> Script {
        self.then(Act::Close(2))
    }

    /// Starts another process, as a shell does with `&`, which does what `script` says and is not waited for: it goes on when
    /// this one has ended, has the same standard streams and holds them open, and is in the same process group.
    ///
    /// ```
    /// use ringio::{Stdio, create_subprocess_exec, testing::{self, Script}};
    /// use std::time::Duration;
    ///
    /// testing::run_virtual(async {
    ///     let late = Script::new().sleep(Duration::from_secs(60)).stdout("late\n");
    ///     testing::program("daemon", move |_| Script::new().background(late.clone()).stdout("early\n"));
    ///     let mut process = create_subprocess_exec("daemon").stdout(Stdio::Pipe).await?;
    ///     assert!(process.wait().await?.success());
    ///     assert_eq!(testing::elapsed(), Duration::ZERO);
    ///     let (output, _) = process.communicate(None).await?;
    ///     assert_eq!(output.as_deref(), Some(&b"early\nlate\n"[..]));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn background(self, script: Script) -> Script {
        self.then(Act::Leave(script.0))
    }

    /// Ends with this exit code.
    pub fn exit(self, code: i32) -> Script {
        self.then(Act::Exit(code))
    }

    /// Ends as if by this signal.
    pub fn die(self, signal: impl Into<Signal>) -> Script {
        self.then(Act::Die(signal.into().number()))
    }

    /// Does nothing any more, until a signal ends it.
    pub fn hang(self) -> Script {
        self.then(Act::Hang)
    }

    /// [`Signal::TERM`] does nothing to it.
    pub fn ignore_term(mut self) -> Script {
        self.0.ignores_term = true;
        self
    }

    /// Somebody else takes its status, as `waitpid(-1)` elsewhere in the process would. Where the kernel still tells how it
    /// ended (the profile `full`), that is known; else 255 stands for it.
    pub fn status_stolen(mut self) -> Script {
        self.0.stolen = true;
        self
    }
}

/// From now on there is such a program in the simulated world: [`create_subprocess_exec`](crate::create_subprocess_exec) runs
/// what `script` returns for its arguments. A program is found by its path, or by the last part of that. A child's
/// environment, directory, user and groups say nothing, and `pre_exec` is not called; inherited streams have no input and
/// take any output.
///
/// ```
/// use ringio::{Stdio, create_subprocess_exec, testing::{self, Script}};
/// use std::time::Duration;
///
/// testing::run_virtual(async {
///     testing::program("backup", |arguments| match arguments {
///         [to] => Script::new().sleep(Duration::from_secs(3600)).stdout(format!("saved to {to}\n")),
///         _ => Script::new().stderr("usage: backup TO\n").exit(2),
///     });
///     let mut process = create_subprocess_exec("backup").arg("tape").stdout(Stdio::Pipe).await?;
///     let (output, _) = process.communicate(None).await?;
///     assert_eq!(output.as_deref(), Some(&b"saved to tape\n"[..]));
///     assert_eq!(process.returncode(), Some(0));
///     assert_eq!(testing::elapsed(), Duration::from_secs(3600));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn program(name: impl Into<String>, script: impl Fn(&[String]) -> Script + 'static) {
    let name = name.into();
    with_world(|world| world.add_program(name, move |arguments| script(arguments).0));
}
