//! The sentences of `bad_token` that no other test has.

use super::*;

#[test]
fn each_form_of_a_bad_token_is_one_sentence() {
    let text = || "x".to_owned();
    for (bad, sentence) in [
        (BadToken::TooLong(4097), "The token has 4097 bytes; 4096 at most."),
        (
            BadToken::Parts(2),
            "It is no signed JWT: it has 2 parts, not three with a dot between: HEADER.CLAIMS.SIGNATURE.",
        ),
        (BadToken::Encrypted, "It is an encrypted JWT; a signed one of three parts is needed."),
        (BadToken::Base64(Part::Signature), "Its signature is not base64url without padding."),
        (BadToken::Base64(Part::Claims), "Its second part, the claims, is not base64url without padding."),
        (BadToken::Json(Part::Header, text()), "Its header is no JSON object: x."),
        (BadToken::NotSigned, "alg is none: a token has to be signed."),
        (BadToken::NoAlg, "Its header has no alg."),
        (BadToken::Kid, "Its kid is no text."),
        (BadToken::NoSuchKey("2026-06".to_owned()), "kid is 2026-06, no such key is configured."),
        (BadToken::KeyRemoved("2026-06".to_owned()), "Key 2026-06, which signed the token, was removed."),
        (BadToken::Missing("exp"), "It has no exp."),
        (BadToken::time("exp", 1.79e12), "exp is in seconds since 1970, not milliseconds."),
        (BadToken::time("exp", -1.0), "exp is a number of seconds since 1970."),
    ] {
        assert_eq!(bad.to_string(), sentence);
    }
}
