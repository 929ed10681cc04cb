//! libFuzzer's entry to `bodies/pusher_rest.rs`: signed requests of Pusher's HTTP API against the rules.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::pusher_rest::run(data));
