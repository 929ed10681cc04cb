//! libFuzzer's entry to `bodies/pusher_fallback.rs`: sessions over HTTP requests against a client that reads them.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::pusher_fallback::run(data));
