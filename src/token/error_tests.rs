//! The table of refusals, and their sentences.

use super::*;
use crate::token::Algorithm;

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).expect("it is a name")
}

fn u42() -> Holder {
    Holder(Some("u42".into()))
}

fn denial(globs: &[&str]) -> Error {
    let globs = globs.iter().map(|glob| (*glob).into()).collect();
    Error::Forbidden(Denial { holder: u42(), right: Right::Subscribe, globs, channel: channel("ops") })
}

#[test]
fn every_refusal_has_its_code_status_close_code_challenge_and_sentence() {
    let invalid = "Bearer error=\"invalid_token\"";
    let scope = "Bearer error=\"insufficient_scope\"";
    let subject = |sub: &str| Subject(Some(sub.into()));
    let signature = BadToken::Signature("2026-09".to_owned(), Algorithm::Hs256);
    for (error, code, status, close_code, challenge, sentence) in [
        (
            Error::NoToken(channel("chat-7")),
            "no_token",
            401,
            4401,
            "Bearer",
            r#"Channel chat-7 needs a token: Authorization: Bearer JWT, or new WebSocket(url, ["fanfare.v1.json", "bearer.JWT"])."#,
        ),
        (
            Error::NoKey(channel("ops")),
            "no_token",
            401,
            4401,
            "Bearer",
            "Channel ops is for holders of a key: Authorization: Bearer KEY.",
        ),
        (
            Error::Bad(signature),
            "bad_token",
            401,
            4401,
            invalid,
            "The signature does not fit key 2026-09 (HS256).",
        ),
        (
            Error::Expired(Expiry { exp_s: 1_790_003_600, now_s: 1_790_003_642 }),
            "expired",
            401,
            4401,
            invalid,
            "The token expired 42 s ago: exp 1790003600, this server's clock 1790003642.",
        ),
        (
            denial(&["news", "chat-*"]),
            "forbidden",
            403,
            4403,
            scope,
            "The token of u42 subscribes to news, chat-*; not to ops.",
        ),
        (
            Error::AnotherUser(subject("u42"), Subject(None)),
            "forbidden",
            403,
            4403,
            scope,
            "This connection is that of u42; a token of nobody by name needs a connection of its own.",
        ),
        (
            Error::Revoked(u42(), RevokedAt(1_788_264_000)),
            "revoked",
            403,
            4403,
            invalid,
            "The token of u42 was revoked at 2026-09-01T12:00:00Z.",
        ),
    ] {
        assert_eq!(
            (error.code(), error.status(), error.close_code()),
            (code, status, close_code),
            "{error:?}"
        );
        assert_eq!((error.challenge(), &*error.to_string()), (challenge, sentence));
    }
}

#[test]
fn five_globs_are_named_at_most() {
    let told = |globs: &[&str]| denial(globs).to_string();
    assert_eq!(told(&[]), "The token of u42 subscribes to no channel; not to ops.");
    assert_eq!(told(&["a", "b", "c", "d", "e"]), "The token of u42 subscribes to a, b, c, d, e; not to ops.");
    assert_eq!(
        told(&["a", "b", "c", "d", "e", "f", "g"]),
        "The token of u42 subscribes to a, b, c, d, e and 2 more; not to ops."
    );
}

#[test]
fn what_a_token_brings_cannot_break_or_swell_a_sentence() {
    let denial = Denial {
        holder: Holder(Some(format!("a\r\n{}", "b".repeat(200)).into())),
        right: Right::Publish,
        globs: vec!["\u{0}\n*".repeat(1000).into(); 64],
        channel: channel("ops"),
    };
    for error in [
        Error::Forbidden(denial),
        Error::Bad(BadToken::NoSuchKey("\n\u{202e}".repeat(2000))),
        Error::Bad(BadToken::Json(super::super::bad::Part::Header, "\n".repeat(4000))),
        Error::Bad(BadToken::Audience("\r".repeat(4000), "\n".to_owned())),
        Error::AnotherUser(Subject(Some("\n".repeat(200).into())), Subject(Some("\n".repeat(200).into()))),
    ] {
        let sentence = error.to_string();
        assert!(!sentence.chars().any(char::is_control) && sentence.len() < 8192, "{sentence}");
    }
}

#[test]
fn a_revocation_without_a_name_or_of_a_distant_time_is_told_too() {
    let told = |holder, at| Error::Revoked(holder, RevokedAt(at)).to_string();
    assert_eq!(told(Holder(None), 0), "The token was revoked at 1970-01-01T00:00:00Z.");
    assert_eq!(told(u42(), u64::MAX), "The token of u42 was revoked at 9999-12-31T23:59:59Z.");
}
