//! Signed tokens: any text is refused, or it is valid by another library and by the rules read anew from JSON.
//!
//! Input: form (1 byte), clock (1 byte, signed: two minutes each from the second in which the seeds were issued), and the
//! rest. Form modulo 4: 0, the rest is the token; else it is a header and claims with a line feed between, which are signed by
//! HS256 (1), EdDSA (2), or by a secret that nobody has (3).

use std::sync::LazyLock;

use arbitrary::Unstructured;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fanfare::hub::ChannelName;
use fanfare::token::{BadToken, Error, KeyFiles, Keys, Right, TOKEN_LEN_MAX, Token, is_token};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::input::byte;
use super::token_model::{ISSUED_S, SECRET, Verdict, judge};

const ED25519_PEM: &[u8] = include_bytes!("../../tests/tokens/eddsa.pem");

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let set = include_bytes!("../../tests/tokens/keys.json");
    KeyFiles::read([("keys.json", &set[..])]).expect("the keys are good").keys
});

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (form, clock) = (byte(&mut input), byte(&mut input));
    let now_s = ISSUED_S.saturating_add_signed(i64::from(clock.cast_signed()) * 120);
    let rest = input.take_rest();
    let Some(token) = token(form, rest) else { return };
    let found = Token::verify(&token, &KEYS);
    let verdict = judge(&token, now_s);
    match &found {
        Ok(found) => check_verified(&token, found, now_s, &verdict),
        Err(bad) => check_refused(bad, &verdict),
    }
    let again = Token::verify(&token, &KEYS);
    assert_eq!(again, found, "a verdict does not depend on anything else");
}

fn token(form: u8, rest: &[u8]) -> Option<String> {
    if form.is_multiple_of(4) {
        return String::from_utf8(rest.to_vec()).ok();
    }
    let at = rest.iter().position(|&byte| byte == b'\n')?;
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(&rest[..at]), encode(&rest[at + 1..]));
    let (key, algorithm) = match form % 4 {
        1 => (EncodingKey::from_secret(&SECRET), Algorithm::HS256),
        2 => (EncodingKey::from_ed_pem(ED25519_PEM).expect("the key is good"), Algorithm::EdDSA),
        _ => (EncodingKey::from_secret(b"that nobody has configured here."), Algorithm::HS256),
    };
    let signature = crypto::sign(signed.as_bytes(), &key, algorithm).expect("the key signs");
    Some(format!("{signed}.{signature}"))
}

fn check_verified(token: &str, found: &Token, now_s: u64, verdict: &Verdict) {
    assert!(token.len() <= TOKEN_LEN_MAX && token.split('.').count() == 3);
    let Verdict::Signed(claims) = verdict else { panic!("{verdict:?} of {token}") };
    let claims = claims.as_ref().expect("the claims are good");
    assert_eq!(&*found.kid, claims.kid);
    assert_eq!(found.claims.sub.as_deref(), claims.sub.as_deref());
    assert_eq!((found.claims.exp_s, found.claims.iat_s), (claims.exp_s, claims.iat_s));
    if let Some(info) = &found.claims.info {
        let info: serde_json::Value = serde_json::from_str(info).expect("info is JSON");
        assert_eq!(Some(&info), claims.info.as_ref());
    }
    assert_eq!(found.claims.check(None, now_s).is_ok(), claims.is_time, "at {now_s}: {token}");
    if let Err(error) = found.claims.check(Some("fanfare"), now_s) {
        check_sentence(&error);
    }
    for name in ["news", "chat-7", "a"] {
        let name = ChannelName::new(name).expect("it is a name");
        let may = found.claims.grants.check(Right::Subscribe, &name, found.claims.holder());
        let fits = claims.subscribe.iter().any(|glob| is_match(glob.as_bytes(), name.as_str().as_bytes()));
        assert_eq!(may.is_ok(), fits, "{name} by {:?}", claims.subscribe);
        if let Err(error) = may {
            check_sentence(&error);
        }
    }
    assert!(found.claims.ends_at_s(now_s) >= now_s.min(found.claims.exp_s));
    if token.starts_with("eyJ") {
        assert!(is_token(token));
    }
}

/// The textbook definition. Patterns are short: tokens are.
fn is_match(glob: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for part in glob {
        match part {
            b'*' => (1..reached.len()).for_each(|at| reached[at] |= reached[at - 1]),
            part => {
                for at in (1..reached.len()).rev() {
                    reached[at] = reached[at - 1] && (*part == b'?' || *part == name[at - 1]);
                }
                reached[0] = false;
            }
        }
    }
    reached[name.len()]
}

fn check_refused(bad: &BadToken, verdict: &Verdict) {
    match (bad, verdict) {
        // What the model reads with a library that takes the last of two members.
        (BadToken::Json(_, why), _) if why.contains("stands there twice") => {}
        // Its length is that of the text as it is written.
        (BadToken::ClaimTooLong("info", len, 1024), Verdict::Signed(Some(_))) => assert!(*len > 1024),
        (BadToken::Signature(..) | BadToken::NoKeyFits(..) | BadToken::NotSigned, verdict) => {
            assert!(matches!(verdict, Verdict::Unsigned), "it is signed: {bad:?}");
        }
        (bad, Verdict::Signed(Some(claims))) => panic!("refused by {bad:?}, and good: {claims:?}"),
        (_, Verdict::Signed(None) | Verdict::Unsigned) => {}
    }
    check_sentence(&Error::from(bad.clone()));
}

/// A sentence is one line that fits a response's head, with a code that goes with it.
fn check_sentence(error: &Error) {
    let sentence = error.to_string();
    assert!(!sentence.is_empty() && !sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(
        sentence.len() < 4 * 1024 && sentence.ends_with(['.', '?']),
        "{} bytes: {sentence}",
        sentence.len()
    );
    assert_eq!(u32::from(error.close_code()), 4000 + u32::from(error.status()));
}
