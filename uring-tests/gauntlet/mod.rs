//! The promise, in the simulated kernel: every hardship, every order, any number of seeds.
//!
//! A workload is a function of a [`Run`](seeds::Run). It is run with fresh seeds for `RINGIO_GAUNTLET_SECONDS` (3 unless
//! set); a failure is made smaller (fewer faults, fewer steps) and printed as the line that does the same again. With
//! `RINGIO_SEED` set, only that run is done.

mod children;
mod echo;
mod ends;
mod flood;
mod local;
mod proxy;
mod requests;
mod seeds;
mod storm;
mod streams;
mod trees;
mod world;
