//! libFuzzer's entry to `bodies/mask.rs`: unmasking against the oracle.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::mask::run(data));
