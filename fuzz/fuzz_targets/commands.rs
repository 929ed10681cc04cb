//! libFuzzer's entry to `bodies/commands.rs`: messages of clients of `/channels` against the model's reading of them.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::commands::run(data));
