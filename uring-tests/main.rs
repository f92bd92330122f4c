//! The tests of ringio on the real ring: one binary.
