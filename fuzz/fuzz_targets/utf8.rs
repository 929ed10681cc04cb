//! libFuzzer's entry to `bodies/utf8.rs`: UTF-8 in any cut against std.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::utf8::run(data));
