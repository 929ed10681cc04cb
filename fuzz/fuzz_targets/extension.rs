//! libFuzzer's entry to `bodies/extension.rs`: offers of permessage-deflate against a parser of the grammar.

#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::extension::run(data));
