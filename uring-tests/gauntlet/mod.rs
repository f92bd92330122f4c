//! The promise, in the simulated kernel: every hardship, every order, any number of seeds.

mod world;
