//! libFuzzer's entry to `bodies/upgrade.rs`: the opening handshake against the conditions of RFC 6455 §4.2.1.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::upgrade::run(data));
