//! The tests of ringio on the real ring: one binary.

mod contract;
mod gauntlet;
mod promise;
mod support;
