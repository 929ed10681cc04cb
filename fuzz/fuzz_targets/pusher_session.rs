//! libFuzzer's entry to `bodies/pusher_session.rs`: a client's messages against the protocol's rules.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::pusher_session::run(data));
