//! Tokens of the RFCs, byte by byte, and each way in which a signature or a header is refused.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::super::key_file::KeyFiles;
use super::*;

/// The keys of RFC 7515 A.1 to A.3 and RFC 8037 A.2.
const KEYS: &str = include_str!("../../tests/tokens/keys.json");

/// The claims of RFC 7515 A.1.1.
const JOE: &[u8] = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const CLAIMS: &str = r#"{"sub":"u42","exp":1790003600,"iat":1790000000,"fanfare":{}}"#;

fn rfc_keys() -> Keys {
    KeyFiles::read([("keys.json", KEYS.as_bytes())]).expect("the keys of the RFCs are good").keys
}

fn keys(list: impl IntoIterator<Item = Key>) -> Keys {
    let mut keys = Keys::default();
    for key in list {
        keys.push(key).expect("each has a name of its own");
    }
    keys
}

fn secret(kid: &str, secret: &[u8]) -> Key {
    Key::secret(kid, secret).expect("it is long enough")
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token signed by HMAC-SHA256, by another implementation than the one that checks it.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(claims));
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    hmac.update(signed.as_bytes());
    format!("{signed}.{}", base64url(hmac.finalize().into_bytes()))
}

/// What is said of a token with this header, which is signed by the secret of the one key.
fn refusal(header: &str) -> BadToken {
    let token = signed(header, CLAIMS, SECRET);
    Token::verify(&token, &keys([secret("2026-09", SECRET)])).expect_err("it is refused")
}

fn assert_vector(token: &str, kid: &str, claims: &[u8]) {
    let keys = rfc_keys();
    let (key, decoded) = verify_signature(token, &keys).expect("it is the RFC's");
    assert_eq!((key.kid(), &decoded[..]), (kid, claims));
    // Any other bit: another signature.
    let (signed, signature) = token.rsplit_once('.').expect("a token has three parts");
    let bytes = from_base64url(signature).expect("it is base64url");
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let forged = format!("{signed}.{}", base64url(&bytes));
        let error = verify_signature(&forged, &keys).expect_err("it is forged");
        assert_eq!(error, BadToken::Signature(kid.to_owned(), key.algorithm()));
    }
    for len in [0, bytes.len() - 1] {
        assert!(verify_signature(&format!("{signed}.{}", base64url(&bytes[..len])), &keys).is_err());
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(verify_signature(&format!("{signed}.{}", base64url(longer)), &keys).is_err());
}

#[test]
fn the_token_of_rfc_7515_a_1_is_signed_by_hs256() {
    let header = b"{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(token.split('.').next(), Some(&*base64url(header)));
    assert_vector(token, "a-hs256", JOE);
}

#[test]
fn the_token_of_rfc_7515_a_2_is_signed_by_rs256() {
    assert_vector(
        "eyJhbGciOiJSUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU\
        Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO\
        --xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN\
        _IoypGlUPQGe77Rw",
        "a-rs256",
        JOE,
    );
}

#[test]
fn the_token_of_rfc_7515_a_3_is_signed_by_es256() {
    assert_vector(
        "eyJhbGciOiJFUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        "a-es256",
        JOE,
    );
}

#[test]
fn the_token_of_rfc_8037_a_4_is_signed_by_ed25519() {
    assert_vector(
        "eyJhbGciOiJFZERTQSJ9\
        .RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
        .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        "a-eddsa",
        b"Example of Ed25519 signing",
    );
}

#[test]
fn the_unsigned_token_of_rfc_7515_a_5_is_refused() {
    let token = "eyJhbGciOiJub25lIn0\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    assert_eq!(Token::verify(token, &rfc_keys()), Err(BadToken::NotSigned));
    for alg in ["None", "NONE", "nOnE"] {
        assert_eq!(refusal(&format!(r#"{{"alg":"{alg}"}}"#)), BadToken::NotSigned);
    }
}

#[test]
fn a_token_that_a_key_signed_says_which_and_what_it_claims() {
    let keys = keys([secret("old", &[7; 32]), secret("2026-09", SECRET)]);
    for header in
        [r#"{"alg":"HS256"}"#, r#"{ "typ":"at+jwt", "kid":"2026-09", "alg":"HS256", "x5c":["x"], "x":{} }"#]
    {
        let token = Token::verify(&signed(header, CLAIMS, SECRET), &keys).expect("it is signed");
        assert_eq!((&*token.kid, token.claims.sub.as_deref()), ("2026-09", Some("u42")));
        assert_eq!(Some(token.key), keys.named("2026-09").map(Key::id));
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    // RFC 8725 §2.1: HS256 with what everybody knows of an RSA key as its secret, in each form that the key has.
    let keys = rfc_keys();
    let set = object(KEYS.as_bytes()).expect("it is JSON");
    let Some(Json::List(list)) = set.get("keys") else { panic!("it is a set") };
    let Json::Object(rsa) = &list[3] else { panic!("it is a key") };
    let Some(Json::Text(modulus)) = rsa.get("n") else { panic!("it has a modulus") };
    let pem = include_str!("../../tests/tokens/rs256.pub.pem");
    for public in
        [modulus.as_bytes(), &from_base64url(modulus).unwrap(), pem.as_bytes(), pem.trim_end().as_bytes()]
    {
        let token = signed(r#"{"alg":"HS256","kid":"a-rs256"}"#, CLAIMS, public);
        let error = BadToken::AnotherAlg("a-rs256".to_owned(), Algorithm::Rs256, "HS256".to_owned());
        assert_eq!(Token::verify(&token, &keys), Err(error));
        let token = signed(r#"{"alg":"HS256"}"#, CLAIMS, public);
        assert_eq!(
            Token::verify(&token, &keys),
            Err(BadToken::Signature("a-hs256".to_owned(), Algorithm::Hs256))
        );
    }
}

#[test]
fn the_header_names_the_algorithm_of_a_key_that_is_there() {
    let told = |header: &str| refusal(header).to_string();
    assert_eq!(told(r#"{"alg":"RS256"}"#), "alg is RS256, no such key is configured.");
    assert_eq!(told(r#"{"alg":"HS512"}"#), "alg is HS512, no such key is configured.");
    assert_eq!(told(r#"{"alg":"hs256"}"#), "alg is hs256, no such key is configured.");
    assert_eq!(told(r#"{"alg":"ES256","kid":"2026-09"}"#), "alg is ES256, but key 2026-09 is for HS256.");
    assert_eq!(told(r#"{"alg":"HS512","kid":"2026-09"}"#), "alg is HS512, but key 2026-09 is for HS256.");
    assert_eq!(told(r#"{"alg":"HS256","kid":"2026-06"}"#), "kid is 2026-06, no such key is configured.");
    assert_eq!(told(r#"{"alg":"HS256","kid":""}"#), "kid is , no such key is configured.");
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":1}"#, r#"{"Alg":"HS256"}"#] {
        assert_eq!(refusal(header), BadToken::NoAlg, "{header}");
    }
    for kid in ["null", "7", "[\"2026-09\"]", "{}"] {
        assert_eq!(refusal(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#)), BadToken::Kid);
    }
}

#[test]
fn a_header_that_brings_a_key_or_asks_for_more_is_refused() {
    for (name, value) in [
        ("jku", r#""https://example.test/keys""#),
        ("jwk", r#"{"kty":"oct","k":"AAAA"}"#),
        ("x5u", r#""https://example.test/cert""#),
        ("crit", r#"["b64"]"#),
        ("crit", "[]"),
        ("crit", "null"),
    ] {
        assert_eq!(
            refusal(&format!(r#"{{"alg":"HS256","{name}":{value},"b64":false}}"#)),
            BadToken::Header(name)
        );
    }
    assert_eq!(
        BadToken::Header("jku").to_string(),
        "Its header has jku, which is not followed: the keys are those that the server has."
    );
}

#[test]
fn a_header_is_one_json_object_whose_names_stand_there_once() {
    let told = |header: &str| refusal(header).to_string();
    let twice = told(r#"{"alg":"HS256","alg":"HS256"}"#);
    assert!(twice.starts_with("Its header is no JSON object: the name alg stands there twice"), "{twice}");
    for header in ["", "{", "[]", "null", r#""HS256""#, r#"{"alg":"HS256"}x"#, r#"{"alg":"HS256",}"#] {
        assert!(told(header).starts_with("Its header is no JSON object: "), "{header}");
    }
}

#[test]
fn a_token_has_three_parts_each_in_the_one_form_of_base64url() {
    let keys = keys([secret("k", SECRET)]);
    let told = |token: &str| Token::verify(token, &keys).expect_err("it is refused");
    let good = signed(r#"{"alg":"HS256"}"#, CLAIMS, SECRET);
    assert!(Token::verify(&good, &keys).is_ok());
    assert_eq!(told(""), BadToken::Parts(1));
    assert_eq!(told("eyJ.x"), BadToken::Parts(2));
    assert_eq!(told(&format!("{good}.")), BadToken::Parts(4));
    assert_eq!(told(&format!("{good}..")), BadToken::Encrypted);
    assert_eq!(told(&format!("{good}...")), BadToken::Parts(6));
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("it has three parts")
    };
    for (part, text) in [
        (Part::Header, format!("{header}=.{claims}.{signature}")),
        (Part::Header, format!(" {header}.{claims}.{signature}")),
        (Part::Header, format!("é{header}.{claims}.{signature}")),
        (Part::Signature, format!("{header}.{claims}.{signature}=")),
        (Part::Signature, format!("{header}.{claims}.{signature}\n")),
        (Part::Signature, format!("{header}.{claims}.{}", signature.replacen(|c: char| c != '.', "+", 1))),
    ] {
        assert_eq!(told(&text), BadToken::Base64(part), "{text}");
    }
    // The last character of 43 has two bits that say nothing: of the four that decode to one byte, one is the token.
    let (rest, last) = signature.split_at(42);
    let same = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .filter(|c| Token::verify(&format!("{header}.{claims}.{rest}{c}"), &keys).is_ok());
    assert_eq!(same.collect::<String>(), last);
    // Claims that are no base64url are signed by nobody: the signature is what is told.
    let spoilt = format!("{header}.{claims}=.{signature}");
    assert_eq!(told(&spoilt), BadToken::Signature("k".to_owned(), Algorithm::Hs256));
}

#[test]
fn claims_are_decoded_strictly_even_if_they_are_signed() {
    let keys = keys([secret("k", SECRET)]);
    let header = base64url(r#"{"alg":"HS256"}"#);
    for claims in [format!("{}=", base64url(CLAIMS)), "e30 ".to_owned(), "e31".to_owned(), "é".to_owned()] {
        let signed = format!("{header}.{claims}");
        let mut hmac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
        hmac.update(signed.as_bytes());
        let token = format!("{signed}.{}", base64url(hmac.finalize().into_bytes()));
        assert_eq!(Token::verify(&token, &keys), Err(BadToken::Base64(Part::Claims)), "{claims}");
    }
}

#[test]
fn a_token_of_4096_bytes_is_taken_and_one_of_4097_is_not() {
    let keys = keys([secret("k", SECRET)]);
    let of = |padding: usize| {
        let claims = CLAIMS.replacen('{', &format!("{{{}", " ".repeat(padding)), 1);
        signed(r#"{"alg":"HS256"}"#, &claims, SECRET)
    };
    let lens: Vec<_> = (2900..3100).map(of).filter(|token| (4090..4110).contains(&token.len())).collect();
    assert!(lens.iter().any(|token| token.len() == 4096) && lens.iter().any(|token| token.len() == 4097));
    for token in lens {
        let verified = Token::verify(&token, &keys);
        match token.len() {
            ..=4096 => assert!(verified.is_ok(), "{verified:?}"),
            len => assert_eq!(verified, Err(BadToken::TooLong(len))),
        }
    }
}

#[test]
fn a_token_without_kid_is_tried_with_eight_keys_of_its_algorithm_and_no_more() {
    let secrets: Vec<[u8; 32]> = (0..10).map(|at| [at; 32]).collect();
    let public = rfc_keys();
    let others = public.iter().filter(|key| key.algorithm() != Algorithm::Hs256).cloned();
    let keys =
        keys(others.chain(secrets.iter().enumerate().map(|(at, bytes)| secret(&at.to_string(), bytes))));
    let of = |header: &str, at: usize| {
        Token::verify(&signed(header, CLAIMS, &secrets[at]), &keys).map(|token| token.kid)
    };
    for at in 0..8 {
        assert_eq!(of(r#"{"alg":"HS256"}"#, at), Ok(at.to_string().into()));
    }
    for at in 8..10 {
        let error = of(r#"{"alg":"HS256"}"#, at).expect_err("it is not tried");
        assert_eq!(error, BadToken::NoKeyFits(8, Algorithm::Hs256));
        assert_eq!(error.to_string(), "The signature fits none of 8 keys (HS256); name the key by kid.");
        assert_eq!(of(&format!(r#"{{"alg":"HS256","kid":"{at}"}}"#), at), Ok(at.to_string().into()));
    }
    // The key that is named is the only one that is tried.
    let error = of(r#"{"alg":"HS256","kid":"3"}"#, 4).expect_err("the other key signed it");
    assert_eq!(error.to_string(), "The signature does not fit key 3 (HS256).");
}

#[test]
fn of_the_claims_of_a_forged_token_nothing_is_said() {
    let forged = signed(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#, &[1; 32]);
    let error = Token::verify(&forged, &keys([secret("k", SECRET)]));
    assert_eq!(error, Err(BadToken::Signature("k".to_owned(), Algorithm::Hs256)));
    assert_eq!(Token::verify(&forged, &Keys::default()), Err(BadToken::NoSuchAlg("HS256".to_owned())));
}

#[test]
fn a_credential_is_a_token_if_it_looks_like_one() {
    for token in ["eyJ..", "eyJhbGciOiJub25lIn0.e30.", &signed("{\"alg\":1}", "{}", SECRET)] {
        assert!(is_token(token), "{token}");
    }
    for key in ["", "eyJ", "eyJ.x", "eyJ.x.y.z", "fk_billing_x.y.z", "ey.J.x", "EYJ.x.y"] {
        assert!(!is_token(key), "{key}");
    }
}
