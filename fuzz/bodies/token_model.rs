//! When a token is valid: the signature by another library, the claims by `serde_json::Value`.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Map, Value};

/// When the tokens of the corpus were issued.
pub const ISSUED_S: u64 = 1_790_000_000;

/// That of RFC 7515 A.1.
pub static SECRET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
});

struct Key {
    kid: &'static str,
    names: &'static [&'static str],
    algorithm: Algorithm,
    key: DecodingKey,
}

static KEYS: LazyLock<[Key; 4]> = LazyLock::new(|| {
    let ec = include_bytes!("../../tests/tokens/es256.pub.pem");
    let ed = include_bytes!("../../tests/tokens/eddsa.pub.pem");
    let rsa = include_bytes!("../../tests/tokens/rs256.pub.pem");
    let good = "the key is good";
    let key = |kid, names, algorithm, key| Key { kid, names, algorithm, key };
    [
        key("a-hs256", &["HS256"], Algorithm::HS256, DecodingKey::from_secret(&SECRET)),
        key("a-es256", &["ES256"], Algorithm::ES256, DecodingKey::from_ec_pem(ec).expect(good)),
        key("a-eddsa", &["EdDSA", "Ed25519"], Algorithm::EdDSA, DecodingKey::from_ed_pem(ed).expect(good)),
        key("a-rs256", &["RS256"], Algorithm::RS256, DecodingKey::from_rsa_pem(rsa).expect(good)),
    ]
});

#[derive(Debug)]
pub enum Verdict {
    /// No key has signed it.
    Unsigned,
    /// A key has, and the claims are good or not.
    Signed(Option<Claims>),
}

#[derive(Debug)]
pub struct Claims {
    pub kid: &'static str,
    pub sub: Option<String>,
    pub exp_s: u64,
    pub iat_s: u64,
    pub subscribe: Vec<String>,
    pub info: Option<Value>,
    /// Neither early nor late.
    pub is_time: bool,
}

pub fn judge(token: &str, now_s: u64) -> Verdict {
    let Some((kid, claims)) = signed_by(token) else { return Verdict::Unsigned };
    Verdict::Signed(read(kid, claims, now_s))
}

fn json_of(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn signed_by(token: &str) -> Option<(&'static str, &str)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    if token.len() > 4096 || claims.contains('.') {
        return None;
    }
    let header = json_of(header)?;
    if ["jku", "jwk", "x5u", "crit"].iter().any(|name| header.contains_key(*name)) {
        return None;
    }
    let alg = header.get("alg")?.as_str()?;
    let key = KEYS.iter().find(|key| key.names.contains(&alg))?;
    if header.get("kid").is_some_and(|kid| kid != key.kid) {
        return None;
    }
    let is_signed = crypto::verify(signature, signed.as_bytes(), &key.key, key.algorithm).unwrap_or(false);
    is_signed.then_some((key.kid, claims))
}

fn read(kid: &'static str, claims: &str, now_s: u64) -> Option<Claims> {
    let claims = json_of(claims)?;
    let fanfare = claims.get("fanfare")?.as_object()?;
    // A token lives to the end of the second that it says.
    let exp_s = seconds_up(claims.get("exp")?)?;
    let iat_s = seconds(claims.get("iat")?)?;
    if exp_s > iat_s + 86_400 || !names_are_good(&claims) || !audience_is_good(claims.get("aud")) {
        return None;
    }
    let nbf_s = claims.get("nbf").map_or(Some(0), seconds)?;
    fanfare.get("stay").map_or(Some(0), seconds)?;
    let [subscribe, publish, presence] =
        ["subscribe", "publish", "presence"].map(|name| globs(fanfare.get(name)));
    publish.and(presence)?;
    let info = fanfare.get("info").filter(|info| !info.is_null()).cloned();
    Some(Claims {
        kid,
        sub: claims.get("sub").and_then(Value::as_str).map(str::to_owned),
        exp_s,
        iat_s,
        subscribe: subscribe?,
        info,
        is_time: now_s < exp_s + 30 && nbf_s <= now_s + 30 && iat_s <= now_s + 30,
    })
}

fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0.0..=253_402_300_799.0).contains(&number).then(|| number.floor() as u64)
}

fn seconds_up(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0.0..=253_402_300_799.0).contains(&number).then(|| number.ceil() as u64)
}

fn names_are_good(claims: &Map<String, Value>) -> bool {
    let is_good = |value: &Value| value.as_str().is_some_and(|text| (1..=200).contains(&text.len()));
    ["sub", "jti"].iter().filter_map(|name| claims.get(*name)).all(is_good)
}

fn audience_is_good(aud: Option<&Value>) -> bool {
    match aud {
        None | Some(Value::String(_)) => true,
        Some(Value::Array(list)) => list.iter().all(Value::is_string),
        Some(_) => false,
    }
}

fn globs(list: Option<&Value>) -> Option<Vec<String>> {
    let Some(list) = list else { return Some(Vec::new()) };
    let list = list.as_array().filter(|list| list.len() <= 64)?;
    list.iter().map(|glob| glob.as_str().map(str::to_owned)).collect()
}
