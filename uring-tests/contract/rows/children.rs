//! Child processes of the simulation.

use std::{cell::Cell, rc::Rc};

use ringio::{
    Process, Stdio, create_subprocess_exec,
    testing::{self, Script},
};

use super::{Left, MOMENT, Subject, come_about, look};

/// Whether the child that was started last has ended, if there was one.
fn last_has_ended() -> bool {
    let trace = testing::trace();
    let last = |word: &str| {
        let line = trace.iter().rposition(|line| line.split_whitespace().rev().nth(1) == Some(word));
        line.map_or(0, |line| line + 1)
    };
    last("child") <= last("ended")
}

/// PR10: the kernel answers by itself, and nobody gets what was not returned.
pub(super) async fn spawn() -> Subject {
    testing::program("worker", |_| Script::new().hang());
    let place: Rc<Cell<Option<Process>>> = Rc::default();
    let started = place.clone();
    Subject {
        wait: Box::new(move || {
            let place = place.clone();
            Box::pin(async move {
                let process = create_subprocess_exec("worker").stdin(Stdio::Pipe).stdout(Stdio::Pipe).await;
                if process.is_err() {
                    assert!(last_has_ended(), "a start that was cancelled returns when there is no child");
                }
                place.set(Some(process?));
                Ok(1)
            })
        }),
        give: Rc::new(|| ()),
        left: look(move |end| {
            let started = started.take();
            async move {
                assert_eq!(started.is_some(), end.got == 1, "{}", end.case);
                if let Some(process) = started {
                    assert!(!last_has_ended() && process.returncode().is_none(), "{}: it runs", end.case);
                    process.kill().unwrap();
                    process.wait().await.unwrap();
                    assert_eq!(process.returncode(), Some(-9));
                } else {
                    // A drop does not wait.
                    come_about("there is no child", last_has_ended).await;
                }
            }
        }),
    }
}

/// PR5: the unit is the end of the child.
pub(super) async fn wait() -> Subject {
    testing::program("worker", |_| Script::new().hang());
    let process = Rc::new(create_subprocess_exec("worker").await.unwrap());
    let killed = process.clone();
    Subject {
        wait: Box::new(move || {
            let process = process.clone();
            Box::pin(async move {
                let status = process.wait().await?;
                assert_eq!((status.code(), process.returncode()), (None, Some(-9)));
                Ok(1)
            })
        }),
        give: Rc::new(move || killed.kill().unwrap()),
        left: Left::Free,
    }
}

/// A process that comes back to its place, however the wait with it ends.
struct Taken {
    process: Option<Process>,
    place: Rc<Cell<Option<Process>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.place.set(self.process.take());
    }
}

const OUTPUT: &str = "one\nwhat is given once\ntwo\nthree\n";

/// PR8: the child goes through many stages, the last one at the moment at which the clock ends the wait.
pub(super) async fn communicate() -> Subject {
    testing::program("talker", |_| {
        Script::new().stdout("one\n").echo().stderr("alas\n").stdout("two\n").sleep(MOMENT).stdout("three\n").exit(3)
    });
    let talker = create_subprocess_exec("talker").stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    let place = Rc::new(Cell::new(Some(talker.await.unwrap())));
    let again = place.clone();
    Subject {
        wait: Box::new(move || {
            let place = place.clone();
            Box::pin(async move {
                let mut own = Taken { process: place.take(), place };
                let process = own.process.as_mut().expect("one talks to it at a time");
                let (output, errors) = process.communicate(Some(b"what is given once\n")).await?;
                assert_eq!((output.as_deref(), errors.as_deref()), (Some(OUTPUT.as_bytes()), Some(&b"alas\n"[..])));
                Ok(1)
            })
        }),
        give: Rc::new(|| ()),
        left: look(move |end| {
            let process = again.take();
            async move {
                let mut process = process.expect("it came back");
                let (output, errors) =
                    process.communicate(None).await.unwrap_or_else(|error| panic!("{}: {error}", end.case));
                let (output, errors) = (output.unwrap(), errors.unwrap());
                let (left, alas) = if end.got == 1 { ("", "") } else { (OUTPUT, "alas\n") };
                assert_eq!((text(&output), text(&errors)), (left, alas), "{}", end.case);
                assert_eq!(process.returncode(), Some(3), "{}", end.case);
            }
        }),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}
