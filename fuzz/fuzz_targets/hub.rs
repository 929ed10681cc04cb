//! libFuzzer's entry to `bodies/hub.rs`: hub operations against a plain model.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::hub::run(data));
