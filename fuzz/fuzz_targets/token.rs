//! libFuzzer's entry to `bodies/token.rs`: signed tokens against another library.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::token::run(data));
