//! The bodies of the fuzz targets, over their corpora and over random inputs.
//!
//! What each asserts stands in `fuzz/bodies/`; long runs are `fuzz/run.sh`'s.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Runs the body over each file of its corpus, and says which one it fails at.
#[allow(clippy::print_stdout)]
fn over_corpus(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("each target has a corpus") {
        let path = entry.expect("the corpus is readable").path();
        println!("{}", path.display());
        body(&fs::read(&path).expect("the corpus is readable"));
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

/// Runs the body over random bytes, of which some are spliced from the corpus.
fn over_random_inputs(name: &str, cases: u32, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("each target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the corpus is readable").path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).expect("the corpus is readable")).collect();
    let spoilt =
        (prop::sample::select(seeds), prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..6))
            .prop_map(|(mut seed, changes)| {
                for (at, byte) in changes {
                    if !seed.is_empty() {
                        let at = at.index(seed.len());
                        seed[at] = byte;
                    }
                }
                seed
            });
    let inputs = prop_oneof![prop::collection::vec(any::<u8>(), 0..400), spoilt];
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&inputs, |input| {
        body(&input);
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{failure}");
    }
}

#[test]
fn frames_of_the_corpus_are_the_same_in_any_cut_and_as_the_rfc_says() {
    over_corpus("frames", bodies::frames::run);
}

#[test]
fn random_frames_are_the_same_in_any_cut_and_as_the_rfc_says() {
    over_random_inputs("frames", 2_000, bodies::frames::run);
}

#[test]
fn payloads_of_the_corpus_are_unmasked_as_by_the_oracle() {
    over_corpus("mask", bodies::mask::run);
}

#[test]
fn random_payloads_are_unmasked_as_by_the_oracle() {
    over_random_inputs("mask", 4_000, bodies::mask::run);
}

#[test]
fn texts_of_the_corpus_are_refused_where_std_says_in_any_cut() {
    over_corpus("utf8", bodies::utf8::run);
}

#[test]
fn random_texts_are_refused_where_std_says_in_any_cut() {
    over_random_inputs("utf8", 4_000, bodies::utf8::run);
}

#[test]
fn requests_of_the_corpus_are_the_same_in_any_cut_and_as_the_rfc_says() {
    over_corpus("request", bodies::request::run);
}

#[test]
fn random_requests_are_the_same_in_any_cut_and_as_the_rfc_says() {
    over_random_inputs("request", 4_000, bodies::request::run);
}

#[test]
fn handshakes_of_the_corpus_are_taken_exactly_if_they_meet_every_condition() {
    over_corpus("upgrade", bodies::upgrade::run);
}

#[test]
fn random_handshakes_are_taken_exactly_if_they_meet_every_condition() {
    over_random_inputs("upgrade", 4_000, bodies::upgrade::run);
}

#[test]
fn subscribers_of_the_corpus_receive_what_the_model_says() {
    over_corpus("hub", bodies::hub::run);
}

#[test]
fn subscribers_receive_what_the_model_says_after_any_operations() {
    over_random_inputs("hub", 2_000, bodies::hub::run);
}

#[test]
fn offers_of_the_corpus_are_taken_exactly_if_the_grammar_and_rfc_7692_say_so() {
    over_corpus("extension", bodies::extension::run);
}

#[test]
fn random_offers_are_taken_exactly_if_the_grammar_and_rfc_7692_say_so() {
    over_random_inputs("extension", 4_000, bodies::extension::run);
}

#[test]
fn a_client_dispatches_the_events_of_the_corpus_as_they_were_said() {
    over_corpus("event_stream", bodies::event_stream::run);
}

#[test]
fn a_client_dispatches_random_events_as_they_were_said() {
    over_random_inputs("event_stream", 4_000, bodies::event_stream::run);
}

#[test]
fn compressed_messages_of_the_corpus_are_what_was_deflated_in_any_cut() {
    over_corpus("deflated", bodies::deflated::run);
}

#[test]
fn random_compressed_messages_are_what_was_deflated_in_any_cut() {
    over_random_inputs("deflated", 1_000, bodies::deflated::run);
}

#[test]
fn pusher_clients_of_the_corpus_are_answered_and_obeyed_as_the_protocol_says() {
    over_corpus("pusher_session", bodies::pusher_session::run);
}

#[test]
fn pusher_clients_are_answered_and_obeyed_as_the_protocol_says_whatever_they_send() {
    over_random_inputs("pusher_session", 2_000, bodies::pusher_session::run);
}

#[test]
fn members_of_the_corpus_come_and_go_as_a_list_of_connections_says() {
    over_corpus("pusher_presence", bodies::pusher_presence::run);
}

#[test]
fn members_come_and_go_as_a_list_of_connections_says() {
    over_random_inputs("pusher_presence", 2_000, bodies::pusher_presence::run);
}

#[test]
fn requests_of_the_corpus_are_signed_exactly_if_the_rules_say_so() {
    over_corpus("pusher_rest", bodies::pusher_rest::run);
}

#[test]
fn random_requests_are_signed_exactly_if_the_rules_say_so() {
    over_random_inputs("pusher_rest", 4_000, bodies::pusher_rest::run);
}

#[test]
fn sessions_of_the_corpus_lose_no_message_whatever_carries_them() {
    over_corpus("pusher_fallback", bodies::pusher_fallback::run);
}

#[test]
fn sessions_lose_no_message_after_any_operations() {
    over_random_inputs("pusher_fallback", 200, bodies::pusher_fallback::run);
}

#[test]
fn tokens_of_the_corpus_are_valid_exactly_if_another_library_says_so() {
    over_corpus("token", bodies::token::run);
}

#[test]
fn random_tokens_are_valid_exactly_if_another_library_says_so() {
    over_random_inputs("token", 1_000, bodies::token::run);
}

#[test]
fn batches_of_the_corpus_have_the_items_that_their_json_has() {
    over_corpus("batch", bodies::batch::run);
}

#[test]
fn batches_have_the_items_that_their_json_has_whatever_they_are() {
    over_random_inputs("batch", 4_000, bodies::batch::run);
}

#[test]
fn messages_of_the_corpus_ask_for_what_the_model_reads_in_them() {
    over_corpus("commands", bodies::commands::run);
}

#[test]
fn messages_ask_for_what_the_model_reads_in_them_whatever_they_are() {
    over_random_inputs("commands", 4_000, bodies::commands::run);
}

#[test]
fn the_lists_of_the_corpus_name_the_client_that_the_model_names() {
    over_corpus("forwarded", bodies::forwarded::run);
}

#[test]
fn random_lists_name_the_client_that_the_model_names() {
    over_random_inputs("forwarded", 4_000, bodies::forwarded::run);
}

#[test]
fn proxy_headers_of_the_corpus_are_the_same_in_any_cut_and_as_the_protocol_says() {
    over_corpus("proxy_header", bodies::proxy_header::run);
}

#[test]
fn random_proxy_headers_are_the_same_in_any_cut_and_as_the_protocol_says() {
    over_random_inputs("proxy_header", 4_000, bodies::proxy_header::run);
}

#[test]
fn replies_of_the_corpus_are_the_same_in_any_cut_and_as_a_model_reads_them() {
    over_corpus("redis_reply", bodies::redis_reply::run);
}

#[test]
fn random_replies_are_the_same_in_any_cut_and_as_a_model_reads_them() {
    over_random_inputs("redis_reply", 4_000, bodies::redis_reply::run);
}

#[test]
fn publications_of_the_corpus_are_what_a_reading_by_hand_says_or_are_refused() {
    over_corpus("stored_record", bodies::stored_record::run);
}

#[test]
fn random_publications_are_what_a_reading_by_hand_says_or_are_refused() {
    over_random_inputs("stored_record", 4_000, bodies::stored_record::run);
}

#[cfg(feature = "tls")]
#[test]
fn records_of_the_corpus_give_the_same_plaintext_in_any_cut() {
    over_corpus("tls_receive", bodies::tls_receive::run);
}

#[cfg(feature = "tls")]
#[test]
fn random_records_give_the_same_plaintext_in_any_cut() {
    over_random_inputs("tls_receive", 300, bodies::tls_receive::run);
}
