//! One body of tests, on the ring and in the simulation: what holds on Linux has to hold there, or the simulation proves
//! nothing. Where it differs, `src/_docs/simulation.md` says so.

mod children;
mod datagrams;
mod files;
mod pipes;
mod sockets;
mod unix;

use std::{io, time::Duration};

use ringio::{
    Descriptor, Runner, StreamReader, StreamWriter, sleep,
    testing::{self, Faults, Sim},
};

use crate::support::{PROFILES, Rng, each_profile};

/// What a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Linux,
    Simulated,
}

impl Kernel {
    /// A pipe of this kernel: the end that is read, and the one that is written.
    pub(crate) fn pipe(self) -> io::Result<(Descriptor, Descriptor)> {
        if self == Kernel::Simulated {
            return testing::pipe();
        }
        let (reader, writer) = io::pipe()?;
        Ok((Descriptor::new(reader.into()), Descriptor::new(writer.into())))
    }
}

/// Gives back what comes until the end, at once.
pub(crate) async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let data = reader.read_to_end().await?;
    writer.write_owned(data)
}

/// What comes of `attempt` once no child that another test is starting has a copy of the descriptor any more.
pub(crate) async fn soon<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    for _ in 0..10_000 {
        match attempt() {
            Ok(value) => return value,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(Duration::from_millis(1)).await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it is in use for ever");
}

/// Hostile worlds that each test is run in, beside the kind ones.
const HOSTILE: usize = 20;

/// What the hostile worlds may have.
const HARDSHIPS: Faults = Faults::all().difference(Faults::RESET.union(Faults::LOSS).union(Faults::SMALL));

/// Runs a test on Linux and in the simulation, with each set of kernel features, and in hostile worlds. Resets
/// and losses are left out, because they take away what the tests look for; and sockets that hold less than Linux's.
pub(crate) fn each_kernel(test: &str, body: impl AsyncFn(Kernel)) {
    each_profile(|_, runner: &mut Runner| runner.run(body(Kernel::Linux)));
    for profile in PROFILES {
        let sim = Sim::new(0).faults(Faults::empty()).runner(|builder| builder.profile(profile));
        sim.run(body(Kernel::Simulated));
    }
    let mut rng = Rng::new(test);
    for _ in 0..HOSTILE {
        Sim::new(rng.next()).faults(HARDSHIPS).run(body(Kernel::Simulated));
    }
}
