#![no_main]

#[path = "../bodies/readuntil.rs"]
mod readuntil;

libfuzzer_sys::fuzz_target!(|data: &[u8]| readuntil::check(data));
