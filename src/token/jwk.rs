//! JSON Web Keys (RFC 7517, 7518 §6, 8037 §2): which members a key has, and which keys of a set tokens here are signed by.

use super::algorithm::Algorithm;
use super::json::{Json, Object, from_base64url, object};
use super::key::Key;
use super::key_fault::{KeyFault, KeyFileError};
use super::quote::Quoted;

/// The members of a private key besides those of its public half. A secret has none of them.
const PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// What a set holds.
pub(super) struct Contents {
    /// The keys that tokens here may be signed by.
    pub keys: Vec<Key>,
    /// A sentence on each of the others.
    pub passed_over: Vec<String>,
}

/// What a key is for, as it says.
enum Use {
    /// To verify tokens, with the algorithm of its kind.
    Tokens(Algorithm),
    /// Something else, which is this.
    Other(String),
}

/// Reads a set of keys, or one key. `name` is that of a key without a `kid`.
///
/// A set is often somebody else's, with keys for other things in it: those are passed over (RFC 7517 §5). A key that is for
/// tokens has to be right.
pub(super) fn contents(path: &str, name: &str, bytes: &[u8]) -> Result<Contents, KeyFileError> {
    let error = |kid, fault| KeyFileError { path: path.to_owned(), kid, fault };
    let set = object(bytes).map_err(|why| error(None, KeyFault::Json(why)))?;
    let single = [Json::Object(set.clone())];
    let list = match set.get("keys") {
        Some(Json::List(list)) => &list[..],
        Some(_) => return Err(error(None, KeyFault::Member("keys", "a list of keys"))),
        None if set.get("kty").is_some() => &single[..],
        None => return Err(error(None, KeyFault::NoSet)),
    };
    let mut contents = Contents { keys: Vec::new(), passed_over: Vec::new() };
    for (at, jwk) in list.iter().enumerate() {
        let place = (at + 1).to_string();
        let Json::Object(jwk) = jwk else { return Err(error(Some(place), KeyFault::NoObject)) };
        let kid = match jwk.get("kid") {
            None => name,
            Some(Json::Text(kid)) => kid,
            Some(_) => return Err(error(Some(place), KeyFault::Member("kid", "a text"))),
        };
        let in_key = |fault| error(Some(kid.to_owned()), fault);
        match what_for(jwk).map_err(in_key)? {
            Use::Tokens(algorithm) => contents.keys.push(key(kid, algorithm, jwk).map_err(in_key)?),
            Use::Other(other) => {
                contents.passed_over.push(format!("{path}: key {} is passed over: {other}", Quoted(&kid)));
            }
        }
    }
    if contents.keys.is_empty() { Err(error(None, KeyFault::NoneUsable)) } else { Ok(contents) }
}

fn what_for(jwk: &Object) -> Result<Use, KeyFault> {
    let kty = text(jwk, "kty")?.ok_or(KeyFault::Member("kty", "RSA, EC, OKP or oct"))?;
    let crv = text(jwk, "crv")?;
    if kty != "oct" && PRIVATE_MEMBERS.iter().any(|name| jwk.get(name).is_some()) {
        return Err(KeyFault::PrivateJwk);
    }
    let of_kind = match (kty, crv) {
        ("oct", _) => Algorithm::Hs256,
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        (kty, None) => return Ok(Use::Other(format!("its kind is {}", Quoted(&kty)))),
        (kty, Some(crv)) => return Ok(Use::Other(format!("its kind is {} {}", Quoted(&kty), Quoted(&crv)))),
    };
    if let Some(other) = text(jwk, "use")?.filter(|what| *what != "sig") {
        return Ok(Use::Other(format!("its use is {}", Quoted(&other))));
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Json::List(operations)) if operations.contains(&Json::Text("verify".to_owned())) => {}
        Some(Json::List(_)) => return Ok(Use::Other("its key_ops are without verify".to_owned())),
        Some(_) => return Err(KeyFault::Member("key_ops", "a list: [\"verify\"]")),
    }
    let Some(alg) = text(jwk, "alg")? else { return Ok(Use::Tokens(of_kind)) };
    match Algorithm::named(alg) {
        None => Ok(Use::Other(format!("its alg is {}", Quoted(&alg)))),
        Some(algorithm) if algorithm == of_kind => Ok(Use::Tokens(of_kind)),
        Some(_) => Err(KeyFault::AlgOfKind(alg.to_owned(), of_kind)),
    }
}

fn key(kid: &str, algorithm: Algorithm, jwk: &Object) -> Result<Key, KeyFault> {
    match algorithm {
        Algorithm::Hs256 => Key::secret(kid, &bytes(jwk, "k")?),
        Algorithm::Rs256 => Key::rsa(kid, &bytes(jwk, "n")?, &bytes(jwk, "e")?),
        Algorithm::Es256 => Key::p256(kid, &bytes_32(jwk, "x")?, &bytes_32(jwk, "y")?),
        Algorithm::EdDsa => Key::ed25519(kid, &bytes_32(jwk, "x")?),
    }
}

fn text<'a>(jwk: &'a Object, name: &'static str) -> Result<Option<&'a str>, KeyFault> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::Member(name, "a text")),
    }
}

fn bytes(jwk: &Object, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let decoded = text(jwk, name)?.and_then(from_base64url);
    decoded.ok_or(KeyFault::Member(name, "base64url without padding"))
}

fn bytes_32(jwk: &Object, name: &'static str) -> Result<[u8; 32], KeyFault> {
    let decoded = bytes(jwk, name)?.try_into();
    decoded.map_err(|_| KeyFault::Member(name, "32 bytes as base64url without padding"))
}

#[cfg(test)]
#[path = "jwk_tests.rs"]
mod tests;
