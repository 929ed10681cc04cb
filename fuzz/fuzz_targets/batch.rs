//! libFuzzer's entry to `bodies/batch.rs`: batches against what `serde_json` reads in them.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::batch::run(data));
