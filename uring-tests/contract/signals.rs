//! Signals as streams, in processes of their own: dispositions belong to the process.

use std::{io::ErrorKind, time::Duration};

use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Number, raise, sigaction},
    unistd::getpid,
};
use ringio::{
    CancelledError, Signal, Signals, create_subprocess_exec, create_task, current_task, dump_tasks_on, signals,
    testing::{self, Sim},
    wait_for,
};

use super::{forever, is_cancel, turns};
use crate::support::{
    alone,
    process::{assert_descriptors, descriptors},
};

const DEFAULT: usize = 0;
const IGNORED: usize = 1;

/// What is done with a signal now: one of the above, or the address of a handler.
fn action(signal: Number) -> usize {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default runs no code; what was there is put back below.
    let now = unsafe { sigaction(signal, &default) }.unwrap();
    // SAFETY: it was there before.
    unsafe { sigaction(signal, &now) }.unwrap();
    match now.handler() {
        SigHandler::SigDfl => DEFAULT,
        SigHandler::SigIgn => IGNORED,
        SigHandler::Handler(handler) => handler as usize,
        SigHandler::SigAction(handler) => handler as usize,
    }
}

async fn next(stream: &mut Signals) -> Signal {
    wait_for(stream.recv(), super::HANG / 2).await.expect("it was sent")
}

#[test]
fn every_stream_gets_its_signals_and_the_last_one_restores() {
    alone(&every_stream_gets_its_signals_and_the_last_one_restores, || {
        let before = descriptors();
        ringio::run(async {
            let mut one = signals([Signal::USR1, Signal::USR2, Signal::USR1]).unwrap();
            let mut two = signals([Signal::USR1]).unwrap();
            raise(Number::SIGUSR1).unwrap();
            assert_eq!((next(&mut one).await, next(&mut two).await), (Signal::USR1, Signal::USR1));
            // Those that came while nobody waited are there, each as often as it came.
            raise(Number::SIGUSR2).unwrap();
            raise(Number::SIGUSR1).unwrap();
            raise(Number::SIGUSR1).unwrap();
            let mut three = signals([Signal::USR1]).unwrap();
            assert_eq!(
                [next(&mut one).await, next(&mut one).await, next(&mut one).await],
                [Signal::USR1, Signal::USR1, Signal::USR2]
            );
            drop(one);
            assert_eq!(action(Number::SIGUSR2), DEFAULT);
            assert_ne!(action(Number::SIGUSR1), DEFAULT, "two listen");
            assert_eq!([next(&mut two).await, next(&mut two).await], [Signal::USR1; 2]);
            drop(two);
            // One that began later does not get what came before.
            let waiting = create_task(async move { three.recv().await.map(|signal| (signal, three)) });
            turns(3).await;
            assert!(!waiting.done());
            // From another thread, to the process.
            let thread = std::thread::spawn(|| nix::sys::signal::kill(getpid(), Number::SIGUSR1).unwrap());
            let (signal, three) = waiting.await.unwrap();
            thread.join().unwrap();
            assert_eq!(signal, Signal::USR1);
            drop(three);
            assert_eq!(action(Number::SIGUSR1), DEFAULT);
        });
        assert_descriptors(&before);
    });
}

#[test]
fn a_cancelled_wait_loses_no_signal() {
    alone(&a_cancelled_wait_loses_no_signal, || {
        ringio::run(async {
            let mut stream = signals([Signal::USR1]).unwrap();
            for _ in 0..50 {
                let task = create_task(async move {
                    // Whichever the loop saw first; the other one is there for the next wait.
                    let (first, second) = (stream.recv().await, stream.recv().await);
                    let (cancelled, signal) = if first.is_err() { (first, second) } else { (second, first) };
                    assert!(is_cancel(&cancelled.unwrap_err()));
                    std::io::Result::Ok((signal?, stream))
                });
                turns(2).await;
                task.cancel();
                raise(Number::SIGUSR1).unwrap();
                let signal;
                (signal, stream) = task.await.unwrap();
                assert_eq!(signal, Signal::USR1);
                // And one that comes while the wait is dropped.
                let mut wait = Box::pin(stream.recv());
                assert!(futures::poll!(&mut wait).is_pending());
                raise(Number::SIGUSR1).unwrap();
                drop(wait);
                assert_eq!(next(&mut stream).await, Signal::USR1);
            }
        });
    });
}

#[test]
fn what_cannot_be_heard_is_refused_and_handlers_of_others_stay() {
    alone(&what_cannot_be_heard_is_refused_and_handlers_of_others_stay, || {
        extern "C" fn theirs(_: nix::libc::c_int) {}
        let handler = theirs as extern "C" fn(nix::libc::c_int) as usize;
        let action_of = SigAction::new(SigHandler::Handler(theirs), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Number::SIGUSR1, &action_of) }.unwrap();
        ringio::run(async {
            for refused in
                [Signal::KILL, Signal::STOP, Signal::from(11), Signal::from(0), Signal::from(65), Signal::from(32)]
            {
                let error = signals([Signal::USR2, refused]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{refused}");
                assert_eq!(action(Number::SIGUSR2), DEFAULT, "{refused}");
            }
            let stream = signals([Signal::USR1]).unwrap();
            assert_ne!(action(Number::SIGUSR1), handler);
            drop(stream);
            assert_eq!(action(Number::SIGUSR1), handler, "it is put back");
            let stream = signals([Signal::USR1]).unwrap();
            // SAFETY: nothing runs.
            unsafe { nix::sys::signal::signal(Number::SIGUSR1, SigHandler::SigIgn) }.unwrap();
            drop(stream);
            assert_eq!(action(Number::SIGUSR1), IGNORED, "what somebody set meanwhile stays");
        });
    });
}

#[test]
fn many_streams_on_many_threads_come_and_go_under_a_storm() {
    alone(&many_streams_on_many_threads_come_and_go_under_a_storm, || {
        // One that stays: a signal without any listener would end the process.
        ringio::run(async {
            let mut steady = signals([Signal::USR1]).unwrap();
            let before = descriptors();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    std::thread::spawn(|| {
                        ringio::run(async {
                            for _ in 0..100 {
                                let mut stream = signals([Signal::USR1]).unwrap();
                                nix::sys::signal::kill(getpid(), Number::SIGUSR1).unwrap();
                                assert_eq!(next(&mut stream).await, Signal::USR1);
                            }
                        });
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(next(&mut steady).await, Signal::USR1);
            assert_descriptors(&before);
        });
    });
}

#[test]
fn a_child_catches_nothing_of_ours() {
    // PR2: a stream blocks no signal, so children inherit none blocked.
    alone(&a_child_catches_nothing_of_ours, || {
        ringio::run(async {
            let _stream = signals([Signal::TERM]).unwrap();
            let child = create_subprocess_exec("sleep").arg("1000").await.unwrap();
            child.terminate().unwrap();
            child.wait().await.unwrap();
            assert_eq!(child.returncode(), Some(-15));
        });
    });
}

/// Run by `child::scenario` on the first thread of a process, whose SIGINT `run` handles.
pub(super) fn interrupt_stream() {
    let mut kept = None;
    ringio::run(async {
        let mut stream = signals([Signal::INT]).unwrap();
        raise(Number::SIGINT).unwrap();
        raise(Number::SIGINT).unwrap();
        assert_eq!([next(&mut stream).await, next(&mut stream).await], [Signal::INT; 2]);
        assert_eq!(current_task().unwrap().cancelling(), 0, "main is left alone");
        drop(stream);
        raise(Number::SIGINT).unwrap();
        assert_eq!(forever().await, Err(CancelledError), "and now it is not");
        current_task().unwrap().uncancel();
        // One that outlives the run, whose handler is not to be put back.
        kept = Some(signals([Signal::INT]).unwrap());
        ringio::sleep(Duration::from_millis(1)).await.unwrap();
    });
    assert_ne!(action(Number::SIGINT), DEFAULT);
    drop(kept);
    assert_eq!(action(Number::SIGINT), DEFAULT);
    std::process::exit(8);
}

#[test]
fn a_stream_of_ctrl_c_takes_it_from_run_and_gives_it_back() {
    // RUN9, as asyncio's add_signal_handler.
    super::in_time(|| {
        let child = super::child::Scenario::new("interrupt_stream").start();
        assert_eq!(child.finish().1, Ok(8));
    });
}

#[test]
fn signal_has_all_tasks_written_down() {
    #[derive(Clone, Default)]
    struct Page(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    alone(&signal_has_all_tasks_written_down, || {
        let before = descriptors();
        let page = Page::default();
        ringio::run(async {
            dump_tasks_on(Signal::USR1, page.clone()).unwrap();
            ringio::Task::builder().name("sleeps").spawn(forever());
            turns(2).await;
            for round in 1..3 {
                raise(Number::SIGUSR1).unwrap();
                let is_written =
                    || String::from_utf8(page.0.lock().unwrap().clone()).unwrap().matches("\nend\n").count();
                super::until(|| is_written() == round).await;
            }
            assert_eq!(ringio::all_tasks().len(), 2, "who writes is no task of the program's");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("SIGUSR1: 2 tasks\nTask-1 "), "{text}");
        let sleeps = text.lines().filter(|line| line.starts_with("sleeps (id 2, waiting for "));
        assert_eq!(sleeps.filter(|line| line.contains(" s, spawned at ")).count(), 2, "{text}");
        assert_eq!(action(Number::SIGUSR1), DEFAULT, "it ends with the runtime");
        assert_descriptors(&before);
    });
}

/// As on Linux, by `raise`: each stream gets each signal, those that came while nobody waited are there, and a stream that
/// began later does not get what came before.
async fn simulated_signals() {
    let settle = || ringio::sleep(Duration::from_secs(1));
    let mut one = signals([Signal::USR1, Signal::USR2, Signal::USR1]).unwrap();
    let mut two = signals([Signal::USR1]).unwrap();
    testing::raise(Signal::USR1);
    assert_eq!((next(&mut one).await, next(&mut two).await), (Signal::USR1, Signal::USR1));
    testing::raise(Signal::USR2);
    settle().await.unwrap();
    testing::raise(Signal::USR1);
    testing::raise(Signal::USR1);
    settle().await.unwrap();
    let mut three = signals([Signal::USR1]).unwrap();
    let first = [next(&mut one).await, next(&mut one).await];
    assert!([[Signal::USR1; 2], [Signal::USR1, Signal::USR2]].contains(&first), "{first:?}");
    drop((one, two));
    // A cancelled wait takes none; a child's signals are its own.
    testing::raise(Signal::CHLD);
    let waiting = create_task(async move {
        let cancelled = three.recv().await.unwrap_err();
        assert!(is_cancel(&cancelled), "{cancelled}");
        three.recv().await.map(|signal| (signal, three))
    });
    turns(3).await;
    waiting.cancel();
    settle().await.unwrap();
    testing::raise(Signal::USR1);
    let (signal, three) = waiting.await.unwrap();
    assert_eq!(signal, Signal::USR1);
    let error = signals([Signal::KILL]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    drop(three);
    let text = super::panic_text(|| testing::raise(Signal::USR1));
    assert!(text.contains("nobody hears SIGUSR1") && text.contains("signals()"), "{text}");
}

#[test]
fn signals_of_the_simulated_process_are_those_that_are_raised() {
    super::in_time(|| testing::run_virtual(simulated_signals()));
    for seed in 0..50 {
        super::in_time(move || Sim::new(seed).shuffle_tasks().run(simulated_signals()));
    }
}
