//! The tests of ringio on the real ring: one binary.

mod contract;
mod promise;
mod support;
