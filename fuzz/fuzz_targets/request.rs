//! libFuzzer's entry to `bodies/request.rs`: HTTP requests in any cut against a parser of whole requests.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::request::run(data));
