//! A signed token: what stands in its three parts, and which key has signed it (RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725).
//!
//! What its claims mean is `claims`', and when it is valid too.

use std::sync::Arc;

use super::algorithm::Algorithm;
use super::bad::{BadToken, Part, TOKEN_LEN_MAX};
use super::claims::Claims;
use super::json::{Json, Object, from_base64url, object};
use super::key::{Key, KeyId, Keys};

/// The most keys that a token without `kid` is tried with: anybody may send one that fits none.
pub const TRIED_MAX: usize = 8;

/// Parameters of a header that bring a key along or ask for more than is done here. To follow the first three is to let the
/// token choose its key (RFC 8725 §3.10); whoever does not know what `crit` names has to refuse it (RFC 7515 §4.1.11).
const HEADERS_REFUSED: [&str; 4] = ["jku", "jwk", "x5u", "crit"];

/// A token whose signature is good, and whose claims are.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it says.
    pub claims: Claims,
    /// The key that signed it.
    pub key: KeyId,
    /// The name of that key.
    pub kid: Arc<str>,
}

/// Whether a credential is a token rather than a key: it begins as the base64url of `{"` does, and has two dots.
#[must_use]
pub fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|&byte| byte == b'.').count() == 2
}

impl Token {
    /// Checks that one of the keys has signed `token`, and reads its claims. Whether it has expired is not asked.
    ///
    /// The algorithm belongs to the key, and the header has to name the same. `kid` chooses the key; without it those for the
    /// algorithm are tried, the first [`TRIED_MAX`].
    ///
    /// # Errors
    /// Says what is wrong. Of the claims of a token that nobody signed, nothing is said.
    pub fn verify(token: &str, keys: &Keys) -> Result<Self, BadToken> {
        let (key, claims) = verify_signature(token, keys)?;
        Ok(Self { claims: Claims::parse(&claims)?, key: key.id(), kid: key.kid().into() })
    }
}

/// The key that signed the token, and its second part, decoded.
pub(super) fn verify_signature<'a>(token: &str, keys: &'a Keys) -> Result<(&'a Key, Vec<u8>), BadToken> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(BadToken::TooLong(token.len()));
    }
    let (header, claims, signature) = split(token)?;
    let header = object(&decode(Part::Header, header)?).map_err(|why| BadToken::Json(Part::Header, why))?;
    let signature = decode(Part::Signature, signature)?;
    let candidates = candidates(&header, keys)?;
    let signed = &token.as_bytes()[..token.rfind('.').unwrap_or_default()];
    let fits = candidates.iter().find(|key| key.verify(signed, &signature));
    let Some(key) = fits else { return Err(fits_none(&candidates)) };
    Ok((key, decode(Part::Claims, claims)?))
}

fn split(token: &str) -> Result<(&str, &str, &str), BadToken> {
    let parts: Vec<_> = token.split('.').collect();
    match parts[..] {
        [header, claims, signature] => Ok((header, claims, signature)),
        [_, _, _, _, _] => Err(BadToken::Encrypted),
        _ => Err(BadToken::Parts(parts.len())),
    }
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, BadToken> {
    from_base64url(text).ok_or(BadToken::Base64(part))
}

/// The keys that may have signed a token with this header; at least one.
fn candidates<'a>(header: &Object, keys: &'a Keys) -> Result<Vec<&'a Key>, BadToken> {
    if let Some(name) = HEADERS_REFUSED.into_iter().find(|name| header.get(name).is_some()) {
        return Err(BadToken::Header(name));
    }
    let alg = match header.get("alg") {
        Some(Json::Text(alg)) if alg.eq_ignore_ascii_case("none") => return Err(BadToken::NotSigned),
        Some(Json::Text(alg)) => alg,
        _ => return Err(BadToken::NoAlg),
    };
    let kid = match header.get("kid") {
        None => None,
        Some(Json::Text(kid)) => Some(kid),
        Some(_) => return Err(BadToken::Kid),
    };
    let algorithm = Algorithm::named(alg);
    if let Some(kid) = kid {
        let key = keys.named(kid).ok_or_else(|| BadToken::NoSuchKey(kid.clone()))?;
        if algorithm != Some(key.algorithm()) {
            return Err(BadToken::AnotherAlg(kid.clone(), key.algorithm(), alg.clone()));
        }
        return Ok(vec![key]);
    }
    let candidates: Vec<_> =
        algorithm.into_iter().flat_map(|algorithm| keys.of(algorithm)).take(TRIED_MAX).collect();
    if candidates.is_empty() { Err(BadToken::NoSuchAlg(alg.clone())) } else { Ok(candidates) }
}

fn fits_none(candidates: &[&Key]) -> BadToken {
    match candidates {
        [key] => BadToken::Signature(key.kid().to_owned(), key.algorithm()),
        [key, ..] => BadToken::NoKeyFits(candidates.len(), key.algorithm()),
        [] => unreachable!("there is at least one candidate"),
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
