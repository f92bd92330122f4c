//! The tests of ringio on the real ring: one binary.

mod attributes;
mod conformance;
mod contract;
mod gauntlet;
mod model;
mod environments;
mod gauntlet;
mod promise;
mod regress;
mod soak;
mod support;
