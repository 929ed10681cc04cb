//! libFuzzer's entry to `bodies/deflated.rs`: compressed messages in any cut against what was deflated.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::deflated::run(data));
