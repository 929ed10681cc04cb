//! libFuzzer's entry to `bodies/forwarded.rs`: the client behind proxies against a model.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::forwarded::run(data));
