//! The tests of ringio on the real ring: one binary.

mod attributes;
mod conformance;
mod contract;
mod environments;
mod gauntlet;
mod model;
mod promise;
mod regress;
mod soak;
mod support;
