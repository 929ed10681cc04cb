//! libFuzzer's entry to `bodies/pusher_presence.rs`: members against a plain list.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::pusher_presence::run(data));
