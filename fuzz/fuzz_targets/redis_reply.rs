//! libFuzzer's entry to `bodies/redis_reply.rs`: replies of Redis in any cut against a model.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::redis_reply::run(data));
