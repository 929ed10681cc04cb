//! libFuzzer's entry to `bodies/tls_receive.rs`: records of a client in any cut, whole and changed.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::tls_receive::run(data));
