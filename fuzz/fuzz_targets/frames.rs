//! libFuzzer's entry to `bodies/frames.rs`: frames in any cut against a decoder of whole frames.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::frames::run(data));
