//! libFuzzer's entry to `bodies/event_stream.rs`: events against a client written from the standard.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::event_stream::run(data));
