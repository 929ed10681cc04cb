//! Tokens that other libraries have made: PyJWT and jose, recorded, and jsonwebtoken, made here.
//!
//! The keys are those of RFC 7515 A.1 to A.3 and RFC 8037 A.1: everybody has their private halves.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};

use fanfare::hub::ChannelName;
use fanfare::token::{
    Algorithm, BadToken, Claims, Error, KeyFiles, Keys, Known, Right, Token, TokenDigest, is_token,
};
const SET: &[u8] = include_bytes!("tokens/keys.json");
const RS256: &[u8] = include_bytes!("tokens/rs256.pub.pem");
const ES256: &[u8] = include_bytes!("tokens/es256.pub.pem");
const EDDSA: &[u8] = include_bytes!("tokens/eddsa.pub.pem");

/// A library and its version, an algorithm, and a token.
const RECORDED: &str = include_str!("tokens/recorded.txt");

/// What they claim.
const CLAIMS: &str = r#"{"sub":"u42","exp":1790003600,"iat":1790000000,"jti":"9f2c","aud":"fanfare",
    "fanfare":{"subscribe":["news","chat-*"],"publish":["chat-7"],"presence":["chat-*"],"info":{"name":"Ada"},"stay":3600}}"#;

const ISSUED_S: u64 = 1_790_000_000;

fn keys(files: &[(&str, &[u8])]) -> Keys {
    KeyFiles::read(files.iter().copied()).expect("the files are good").keys
}

fn recorded() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    RECORDED.lines().map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let [library, algorithm, token] = fields[..] else { panic!("three fields: {line}") };
        (library, algorithm, token)
    })
}

fn assert_taken(token: &str, keys: &Keys, algorithm: Algorithm) {
    assert!(is_token(token), "{token}");
    let verified = Token::verify(token, keys).unwrap_or_else(|error| panic!("{error} {token}"));
    assert_eq!(Ok(&verified.claims), Claims::parse(CLAIMS.as_bytes()).as_ref());
    assert_eq!(
        keys.named(&verified.kid).map(|key| (key.id(), key.algorithm())),
        Some((verified.key, algorithm))
    );
    assert_eq!(verified.claims.check(Some("fanfare"), ISSUED_S), Ok(()));
}

#[test]
fn recorded_tokens_of_two_libraries_are_taken() {
    let keys = keys(&[("keys.json", SET)]);
    for (library, algorithm, token) in recorded() {
        println!("{library} {algorithm}");
        assert_taken(token, &keys, Algorithm::named(algorithm).expect("it is known"));
    }
    assert_eq!(recorded().count(), 9);
}

#[test]
fn recorded_tokens_are_taken_by_keys_in_pem_as_well() {
    let keys = keys(&[("a-rs256.pem", RS256), ("a-es256.pem", ES256), ("a-eddsa.pem", EDDSA)]);
    let public = recorded().filter(|(_, algorithm, _)| *algorithm != "HS256");
    for (_, algorithm, token) in public {
        assert_taken(token, &keys, Algorithm::named(algorithm).expect("it is known"));
    }
}

#[test]
fn tokens_of_a_third_library_are_taken() {
    let keys = keys(&[("keys.json", SET)]);
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("tokens/rs256.pem"));
    let ec = EncodingKey::from_ec_pem(include_bytes!("tokens/es256.pem"));
    let ed = EncodingKey::from_ed_pem(include_bytes!("tokens/eddsa.pem"));
    let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).expect("it is base64url");
    let secret = Ok(EncodingKey::from_secret(&secret));
    let claims: serde_json::Value = serde_json::from_str(CLAIMS).expect("they are JSON");
    for (algorithm, theirs, key) in [
        (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256, secret),
        (Algorithm::Es256, jsonwebtoken::Algorithm::ES256, ec),
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA, ed),
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256, rsa),
    ] {
        let key = key.expect("the key is good");
        for kid in [None, Some(format!("a-{}", algorithm.name().to_lowercase()))] {
            let header = Header { kid, ..Header::new(theirs) };
            let token = jsonwebtoken::encode(&header, &claims, &key).expect("it signs");
            assert_taken(&token, &keys, algorithm);
        }
    }
}

#[test]
fn a_token_with_any_character_changed_is_refused() {
    let keys = keys(&[("keys.json", SET)]);
    for (_, _, token) in recorded() {
        for at in (0..token.len()).step_by(7).chain([token.len() - 1]) {
            let mut changed = token.to_owned();
            let other = if changed.as_bytes()[at] == b'A' { "B" } else { "A" };
            changed.replace_range(at..=at, other);
            let refused = Token::verify(&changed, &keys);
            assert!(refused.is_err(), "byte {at} of {token}");
        }
    }
}

#[test]
fn a_token_is_signed_by_its_own_key_and_no_other() {
    let others = keys(&[("a-hs256.secret", &[7; 32]), ("a-rs256.secret", &[8; 32])]);
    for (_, algorithm, token) in recorded() {
        let error = Token::verify(token, &others).expect_err("another key signed it");
        match algorithm {
            "HS256" => assert_eq!(error, BadToken::Signature("a-hs256".to_owned(), Algorithm::Hs256)),
            _ => assert!(
                error.to_string().ends_with(" configured.") || error.to_string().ends_with("for HS256."),
                "{error}"
            ),
        }
    }
}

#[test]
fn keys_rotate_without_a_token_being_lost_and_a_removed_key_ends_what_it_signed() {
    let keys_of = |files: &[(&str, &[u8])]| Arc::new(keys(files));
    let (_, _, token) = recorded().find(|(_, algorithm, _)| *algorithm == "EdDSA").expect("it is recorded");
    let digest = TokenDigest::of(token);
    let mut known = Known::new(keys_of(&[("a-eddsa.pem", EDDSA)]));
    let verified = Arc::new(Token::verify(token, &known.keys()).expect("it is signed"));
    known.keep(digest, &verified, ISSUED_S);
    // The new key comes, the old one stays.
    let both = keys_of(&[("a-eddsa.pem", EDDSA), ("a-es256.pem", ES256)]);
    assert_eq!(both.without(&known.keys()).map(|key| key.kid().to_owned()).collect::<Vec<_>>(), ["a-es256"]);
    known.reload(both);
    assert!(known.find(digest).is_some());
    // The old one goes.
    known.reload(keys_of(&[("a-es256.pem", ES256)]));
    assert!(known.find(digest).is_none());
    let error = Token::verify(token, &known.keys()).expect_err("the key is gone");
    assert!(error.to_string().ends_with(", no such key is configured."), "{error}");
}

#[test]
fn what_a_token_allows_is_asked_by_channel_and_by_right() {
    let claims = Claims::parse(CLAIMS.as_bytes()).expect("they are good");
    let ask = |right, name| {
        let channel = ChannelName::new(name).expect("it is a name");
        claims.grants.check(right, &channel, claims.holder()).map_err(|error: Error| error.to_string())
    };
    assert_eq!(ask(Right::Subscribe, "chat-8"), Ok(()));
    assert_eq!(ask(Right::Presence, "chat-8"), Ok(()));
    assert_eq!(
        ask(Right::Publish, "chat-8"),
        Err("The token of u42 publishes to chat-7; not to chat-8.".to_owned())
    );
}
