//! What threads agree by. The loom tests put loom's in its place.

pub(super) use std::{
    hint::spin_loop,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Thread, current, park, yield_now},
};

/// How often a thread looks again before it sleeps: at first without, then with letting others run.
pub(super) const LOOKS: (u32, u32) = (100, 20);
