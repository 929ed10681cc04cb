//! libFuzzer's entry to `bodies/proxy_header.rs`: PROXY headers in any cut against a model.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::proxy_header::run(data));
