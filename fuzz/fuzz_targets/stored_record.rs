//! libFuzzer's entry to `bodies/stored_record.rs`: publications as Redis keeps them, read by hand too.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::stored_record::run(data));
