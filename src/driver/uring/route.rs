//! How each operation is carried out on this kernel. All that we use exist since 5.11, so "native" is the one route of
//! a kernel we accept; what a probe does not find is an error that names it.

use std::io;

use super::super::Profile;
use crate::sys::Opcodes;

pub(super) struct Routes {
    opcodes: Opcodes,
}

impl Routes {
    pub(super) fn new(opcodes: &Opcodes) -> io::Result<Routes> {
        let missing = opcodes.missing();
        if missing.is_empty() {
            return Ok(Routes { opcodes: opcodes.clone() });
        }
        let text =
            format!("the ring lacks the operations {}; allow them in the ring's restrictions", missing.join(", "));
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    pub(super) fn describe(&self, profile: Profile) -> Vec<(&'static str, &'static str)> {
        let route = |name| match name {
            "accept" if profile.has_multishot() => "multishot",
            "recv" if profile.has_incremental() => "multishot into incremental buffers",
            "recv" if profile.has_multishot() => "multishot into provided buffers",
            "recvmsg" if profile.has_multishot() => "multishot into whole buffers",
            _ => "native",
        };
        self.opcodes.iter().map(|(name, _)| (name, route(name))).collect()
    }
}
