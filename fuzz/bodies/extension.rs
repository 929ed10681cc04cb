//! `Deflate::negotiate` against a parser of the grammar, and its answer against what a server may answer.
//!
//! May be refused: an offer that breaks the grammar of RFC 6455 §9.1, and one that RFC 7692 §7.1 says to decline.
//! All of them must be, and the first of the others is taken.
//!
//! Input: flags (1 byte: 1, the fields are made of words and not as they stand; 2, the client's context takeover
//! is wanted), then the fields with `\n` between them, or the words: a byte below 128 is the character itself, any
//! other stands for one of `WORDS`.

use arbitrary::Unstructured;
use fanfare::ws::{Deflate, WINDOW_BITS_MAX};

use super::extension_model::{Offer, answer, first_to_take};
use super::input::{byte, up_to};

const WORDS: [&str; 24] = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=",
    ", permessage-deflate",
    ", ",
    "\n",
    "; server_no_context_takeover",
    "; client_no_context_takeover",
    "; client_max_window_bits",
    "; server_max_window_bits",
    "; client_max_window_bits=15",
    "; server_max_window_bits=8",
    ";server_max_window_bits=\"10\"",
    " ;\tclient_max_window_bits = \"1\\2\" ",
    "=",
    "\"",
    "\\",
    "=\"",
    "9",
    "16",
    "08",
    "; x=\"a, b; c\"",
    "x-webkit-deflate-frame, ",
    "\u{e9}",
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let flags = byte(&mut input);
    let rest = up_to(&mut input, usize::MAX);
    let text = if flags & 1 == 1 { words(rest) } else { String::from_utf8_lossy(rest).into_owned() };
    let fields: Vec<_> = text.split('\n').collect();
    check(&fields, flags & 2 == 2);
}

fn words(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            0..128 => text.push(char::from(byte)),
            128.. => text.push_str(WORDS[usize::from(byte) % WORDS.len()]),
        }
    }
    text
}

fn check(fields: &[&str], takeover: bool) {
    let agreed = Deflate::negotiate(fields.iter().copied(), takeover);
    match (agreed, first_to_take(fields)) {
        (Some(deflate), Some(offer)) => check_agreed(deflate, &offer, takeover),
        (None, None) => {}
        (agreed, expected) => panic!("agreed {agreed:?}, but the first to take is {expected:?}"),
    }
}

fn check_agreed(deflate: Deflate, offer: &Offer, takeover: bool) {
    let expected_takeover = takeover && !offer.client_no_context_takeover;
    assert_eq!(deflate.client_context_takeover, expected_takeover, "{offer:?}");
    let bits = offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    assert_eq!(deflate.server_max_window_bits, bits, "{offer:?}");

    let said = deflate.to_string();
    let answer = answer(&said, offer).unwrap_or_else(|fault| panic!("{said:?} to {offer:?}: {fault}"));
    assert_eq!(answer.client_no_context_takeover, !expected_takeover, "the client is told what holds");
    assert!(answer.server_no_context_takeover, "one result serves everybody");
    let bound = answer.server_max_window_bits;
    assert_eq!(bound.unwrap_or(WINDOW_BITS_MAX), bits, "the client is told the window that is kept to");
}
