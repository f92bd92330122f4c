//! What this kernel is and can.

use std::{fmt, io};

use io_uring::{IoUring, Probe, opcode};

/// A kernel version. Only for behaviour that no probe can see (`kernel.md` calls them known-bad versions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kernel(pub(crate) u32, pub(crate) u32);

impl Kernel {
    pub(crate) fn running() -> Kernel {
        // Not from procfs: there may be none, and no descriptor left to read it with.
        let names = nix::sys::utsname::uname();
        let release = names.as_ref().map(|names| names.release().to_string_lossy()).unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        Kernel(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The operations we know, and whether this kernel has them.
#[derive(Debug, Clone)]
pub(crate) struct Opcodes(Vec<(&'static str, bool)>);

impl Opcodes {
    pub(crate) fn ask(ring: &IoUring) -> io::Result<Opcodes> {
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let known = [
            ("nop", opcode::Nop::CODE),
            ("accept", opcode::Accept::CODE),
            ("connect", opcode::Connect::CODE),
            ("recv", opcode::Recv::CODE),
            ("send", opcode::Send::CODE),
            ("sendmsg", opcode::SendMsg::CODE),
            ("recvmsg", opcode::RecvMsg::CODE),
            ("read", opcode::Read::CODE),
            ("write", opcode::Write::CODE),
            ("poll", opcode::PollAdd::CODE),
            ("close", opcode::Close::CODE),
            ("cancel", opcode::AsyncCancel::CODE),
        ];
        Ok(Opcodes(known.into_iter().map(|(name, code)| (name, probe.is_supported(code))).collect()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
    }
}
