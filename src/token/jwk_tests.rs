//! JWK sets: which keys are taken, which passed over, and what a fault of one says.

use super::*;

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn read(text: &str) -> Result<Contents, KeyFileError> {
    contents("keys.json", "keys", text.as_bytes())
}

fn set(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// What is said of a set of one key, and of the key alone, which is the same.
fn told(jwk: &str) -> String {
    let error = read(&set(&[jwk])).err().expect("it is refused");
    assert_eq!(read(jwk).err().as_ref(), Some(&error));
    error.to_string()
}

fn oct(more: &str) -> String {
    format!(r#"{{"kty":"oct","k":"{SECRET}"{more}}}"#)
}

fn ec(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
}

#[test]
fn a_key_is_for_the_algorithm_of_its_kind_alone_or_in_a_set() {
    let okp = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","alg":"EdDSA"}}"#);
    let newer = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","alg":"Ed25519"}}"#);
    for (jwk, algorithm) in [
        (oct(""), Algorithm::Hs256),
        (oct(r#","alg":"HS256","use":"sig","kid":"k""#), Algorithm::Hs256),
        (
            ec(r#","alg":"ES256","key_ops":["verify"],"x5c":["AA"],"x":1"#).replace(r#","x":1"#, ""),
            Algorithm::Es256,
        ),
        (okp, Algorithm::EdDsa),
        (newer, Algorithm::EdDsa),
    ] {
        for text in [jwk.clone(), set(&[&jwk]), format!("\n {}\n", set(&[&jwk]))] {
            let contents = read(&text).unwrap_or_else(|error| panic!("{error}"));
            let algorithms: Vec<_> = contents.keys.iter().map(Key::algorithm).collect();
            assert_eq!(algorithms, [algorithm], "{text}");
        }
    }
}

#[test]
fn a_key_has_its_kid_or_the_name_of_the_file() {
    let contents =
        read(&set(&[&oct(r#","kid":"2026-09""#), &ec("")])).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(contents.keys.iter().map(Key::kid).collect::<Vec<_>>(), ["2026-09", "keys"]);
    assert_eq!(told(&oct(r#","kid":7"#)), "keys.json: key 1: kid is a text");
    assert_eq!(
        told(&oct(r#","kid":"""#)),
        "keys.json: key : the name of the key has 0 bytes, 1 to 200 are possible. Give it another kid, or rename the file"
    );
}

#[test]
fn keys_for_something_else_are_passed_over_with_a_sentence() {
    let contents = read(&set(&[
        &oct(r#","kid":"good""#),
        &ec(r#","kid":"a","use":"enc""#),
        &ec(r#","kid":"b","key_ops":["deriveKey"]"#),
        r#"{"kty":"EC","crv":"P-384","kid":"c","x":"AA","y":"AA"}"#,
        r#"{"kty":"OKP","crv":"X25519","kid":"d","x":"AA"}"#,
        r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"e","pub":"AA"}"#,
        r#"{"kty":"RSA","alg":"RSA-OAEP","kid":"f","n":"AA","e":"AQAB"}"#,
        &oct(r#","alg":"HS512","kid":"g\n""#),
    ]));
    let contents = contents.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(contents.keys.iter().map(Key::kid).collect::<Vec<_>>(), ["good"]);
    assert_eq!(
        contents.passed_over,
        [
            "keys.json: key a is passed over: its use is enc",
            "keys.json: key b is passed over: its key_ops are without verify",
            "keys.json: key c is passed over: its kind is EC P-384",
            "keys.json: key d is passed over: its kind is OKP X25519",
            "keys.json: key e is passed over: its kind is AKP",
            "keys.json: key f is passed over: its alg is RSA-OAEP",
            r"keys.json: key g\u{a} is passed over: its alg is HS512",
        ]
    );
    let none =
        "keys.json: none of its keys is for HS256, ES256, EdDSA or RS256. Have tokens signed by one of these";
    assert_eq!(told(&ec(r#","use":"enc""#)), none);
    assert_eq!(read(&set(&[])).err().map(|error| error.to_string()).as_deref(), Some(none));
}

#[test]
fn a_key_for_tokens_has_to_be_right() {
    let private =
        "it has a private part, which is for whoever makes tokens. Leave out d, p, q, dp, dq and qi";
    let base64 = "base64url without padding";
    for (jwk, sentence) in [
        (ec(r#","d":"AA""#), private.to_owned()),
        (r#"{"kty":"RSA","n":"AA","e":"AQAB","p":"AA"}"#.to_owned(), private.to_owned()),
        (oct("").replace(SECRET, "AAAA"), "the secret has 3 bytes, at least 32 are needed. Make another one: openssl rand -hex 32".to_owned()),
        (oct("").replace(SECRET, &format!("{SECRET}=")), format!("k is {base64}")),
        (r#"{"kty":"oct"}"#.to_owned(), format!("k is {base64}")),
        (oct("").replace(&format!("\"{SECRET}\""), "7"), "k is a text".to_owned()),
        (ec("").replace(X, "AAAA"), format!("x is 32 bytes as {base64}")),
        (ec("").replace(Y, &format!("AA{Y}")), format!("y is {base64}")),
        (ec("").replace(Y, X), "the public key is damaged. Write it anew from the private one: openssl pkey -in private.pem -pubout -out FILE".to_owned()),
        (ec(r#","alg":"HS256""#), "its alg is HS256, and a key of its kind is for ES256. Correct alg, or leave it out".to_owned()),
        (oct(r#","alg":"RS256""#), "its alg is RS256, and a key of its kind is for HS256. Correct alg, or leave it out".to_owned()),
        (oct(r#","alg":7"#), "alg is a text".to_owned()),
        (oct(r#","use":["sig"]"#), "use is a text".to_owned()),
        (oct(r#","key_ops":"verify""#), "key_ops is a list: [\"verify\"]".to_owned()),
        (r#"{"kty":7}"#.to_owned(), "kty is a text".to_owned()),
    ] {
        assert_eq!(told(&jwk), format!("keys.json: key keys: {sentence}"), "{jwk}");
    }
}

#[test]
fn what_is_no_set_is_refused_with_the_form_of_one() {
    let told = |text: &str| read(text).err().map(|error| error.to_string()).unwrap_or_default();
    let no_set = r#"keys.json: it has neither keys, as a JWK set has, nor kty, as a key has. A JWK set is {"keys":[…]}"#;
    assert_eq!(told("{}"), no_set);
    assert_eq!(told(r#"{"keys":{}}"#), "keys.json: keys is a list of keys");
    assert_eq!(told(r#"{"keys":[7]}"#), "keys.json: key 1: it is no JSON object");
    assert_eq!(told(r#"{"keys":[{"kty":"oct"},7]}"#), "keys.json: key keys: k is base64url without padding");
    assert_eq!(told(r#"{"keys":[{}]}"#), "keys.json: key keys: kty is RSA, EC, OKP or oct");
    assert_eq!(
        told("[]"),
        r#"keys.json: it begins like JSON, and is no JSON object: it is another JSON value. A JWK set is {"keys":[…]}"#
    );
    assert!(told(r#"{"keys":[],"keys":[]}"#).contains("the name keys stands there twice"));
    assert!(
        told("{not JSON, and too long for a secret")
            .starts_with("keys.json: it begins like JSON, and is no JSON object: ")
    );
}
