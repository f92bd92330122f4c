//! What threads agree by. The loom tests put loom's in its place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
