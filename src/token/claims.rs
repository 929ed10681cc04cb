//! The claims of a token: which there have to be, what each may be, and until when a connection lives by them.
//!
//! The signature is known to be good. Whether it is time, is asked each time that the token is used.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bad::{BadToken, GLOBS_MAX, INFO_LEN_MAX, LEEWAY_S, LIFE_MAX_S, NAME_LEN_MAX, Part};
use super::error::{Error, Expiry, Holder, Subject};
use super::grants::{Globs, Grants};
use super::json::{Json, Object, object};

/// The last second of the year 9999. No sum of two such times is too large for a `u64`.
const TIME_MAX_S: f64 = 253_402_300_799.0;

/// What a token says (RFC 7519 §4.1, and the claim `fanfare`). Times are in seconds since 1970, parts of a second left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// The user: needed for presence.
    pub sub: Option<Box<str>>,
    /// The token's own name, by which it can be revoked.
    pub jti: Option<Box<str>>,
    /// For whom the token is; empty if it does not say.
    pub aud: Box<[Box<str>]>,
    /// When it was issued.
    pub iat_s: u64,
    /// From when on it is valid.
    pub nbf_s: Option<u64>,
    /// When it expires.
    pub exp_s: u64,
    /// What it allows.
    pub grants: Grants,
    /// What other members are told of the user, as JSON without white space.
    pub info: Option<Box<str>>,
    /// How long a connection may live by the token, in seconds. Without it, until the token expires.
    pub stay_s: Option<u64>,
}

impl Claims {
    /// Reads the second part of a token, decoded.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadToken> {
        let claims = object(bytes).map_err(|why| BadToken::Json(Part::Claims, why))?;
        let exp_s = time(&claims, "exp")?.ok_or(BadToken::Missing("exp"))?;
        let iat_s = time(&claims, "iat")?.ok_or(BadToken::Missing("iat"))?;
        if exp_s - iat_s > LIFE_MAX_S as f64 {
            return Err(BadToken::Life((exp_s - iat_s).ceil() as u64));
        }
        // Begun seconds count in favour of the token: it never ends early.
        let (exp_s, iat_s) = (exp_s.ceil() as u64, iat_s as u64);
        let fanfare = match claims.get("fanfare") {
            Some(Json::Object(fanfare)) => fanfare,
            Some(_) => return Err(BadToken::Claim("fanfare", "an object: {\"subscribe\":[\"news\"]}")),
            None => return Err(BadToken::NoFanfare),
        };
        Ok(Self {
            sub: name(&claims, "sub")?,
            jti: name(&claims, "jti")?,
            aud: audiences(&claims)?,
            iat_s,
            nbf_s: time(&claims, "nbf")?.map(|nbf_s| nbf_s as u64),
            exp_s,
            grants: Grants {
                subscribe: globs(fanfare, "subscribe")?,
                publish: globs(fanfare, "publish")?,
                presence: globs(fanfare, "presence")?,
            },
            info: info(bytes)?,
            stay_s: stay(fanfare)?,
        })
    }

    /// Checks that it is the time of the token, and that it is for `audience` if there is one. Asked at each use: a token
    /// that was good a while ago is not checked otherwise.
    ///
    /// # Errors
    /// [`Error::Expired`], or [`Error::Bad`] where it is for somebody else or for a time to come.
    pub fn check(&self, audience: Option<&str>, now_s: u64) -> Result<(), Error> {
        if now_s >= self.exp_s + LEEWAY_S {
            return Err(Error::Expired(Expiry { exp_s: self.exp_s, now_s }));
        }
        for (name, at_s) in [("nbf", self.nbf_s), ("iat", Some(self.iat_s))] {
            if let Some(at_s) = at_s.filter(|&at_s| at_s > now_s + LEEWAY_S) {
                return Err(BadToken::NotYet(name, at_s, now_s).into());
            }
        }
        let Some(audience) = audience else { return Ok(()) };
        if self.aud.is_empty() {
            return Err(BadToken::NoAudience(audience.to_owned()).into());
        }
        if self.aud.iter().any(|aud| **aud == *audience) {
            return Ok(());
        }
        Err(BadToken::Audience(self.aud.join(", "), audience.to_owned()).into())
    }

    /// When a connection that was given the token in the second `given_s` ends, unless it is given another: at the end of
    /// `stay`, counted from the end of that second and so up to 1 s late and never early, or when the token expires, with
    /// the leeway.
    #[must_use]
    pub fn ends_at_s(&self, given_s: u64) -> u64 {
        match self.stay_s {
            Some(stay_s) => given_s + 1 + stay_s,
            None => self.exp_s + LEEWAY_S,
        }
    }

    /// What the client is told as `expires_in`: the seconds in which it is to bring another token. The leeway is for clocks
    /// that differ, and not for clients that are late.
    #[must_use]
    pub fn expires_in_s(&self, given_s: u64, now_s: u64) -> u64 {
        let end_s = self.stay_s.map_or(self.exp_s, |stay_s| given_s + stay_s);
        end_s.saturating_sub(now_s)
    }

    /// Checks that the token may replace `other` on a connection: they are of one user.
    ///
    /// # Errors
    /// [`Error::AnotherUser`].
    pub fn check_replaces(&self, other: &Self) -> Result<(), Error> {
        if self.sub == other.sub {
            return Ok(());
        }
        Err(Error::AnotherUser(Subject(other.sub.clone()), Subject(self.sub.clone())))
    }

    /// How sentences call the token.
    #[must_use]
    pub fn holder(&self) -> Holder {
        Holder(self.sub.clone())
    }

    /// Bytes on the heap, about.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let texts = [&self.sub, &self.jti, &self.info].into_iter().flatten();
        let audiences = self.aud.iter().map(|aud| size_of::<Box<str>>() + aud.len());
        self.grants.held_len() + texts.map(|text| text.len()).sum::<usize>() + audiences.sum::<usize>()
    }
}

/// RFC 7519 §2, NumericDate: a number of seconds, also with a fraction.
fn time(claims: &Object, name: &'static str) -> Result<Option<f64>, BadToken> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Number(number)) if (0.0..=TIME_MAX_S).contains(number) => Ok(Some(*number)),
        Some(Json::Number(number)) => Err(BadToken::time(name, *number)),
        Some(_) => Err(BadToken::Claim(name, "a number of seconds since 1970")),
    }
}

fn name(claims: &Object, name: &'static str) -> Result<Option<Box<str>>, BadToken> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) if text.is_empty() => Err(BadToken::Claim(name, "a text that is not empty")),
        Some(Json::Text(text)) if text.len() > NAME_LEN_MAX => {
            Err(BadToken::ClaimTooLong(name, text.len(), NAME_LEN_MAX))
        }
        Some(Json::Text(text)) => Ok(Some(text.as_str().into())),
        Some(_) => Err(BadToken::Claim(name, "a text")),
    }
}

/// RFC 7519 §4.1.3: one text, or a list of them.
fn audiences(claims: &Object) -> Result<Box<[Box<str>]>, BadToken> {
    let one = |value: &Json| match value {
        Json::Text(text) => Ok(text.as_str().into()),
        _ => Err(BadToken::Claim("aud", "a text or a list of texts")),
    };
    match claims.get("aud") {
        None => Ok(Box::default()),
        Some(Json::List(list)) => list.iter().map(one).collect(),
        Some(value) => Ok(Box::new([one(value)?])),
    }
}

fn globs(fanfare: &Object, name: &'static str) -> Result<Globs, BadToken> {
    let wrong = || BadToken::Claim(name, "a list of globs: [\"news\",\"chat-*\"]");
    let list = match fanfare.get(name) {
        None => return Ok(Globs::default()),
        Some(Json::List(list)) => list,
        Some(_) => return Err(wrong()),
    };
    if list.len() > GLOBS_MAX {
        return Err(BadToken::TooManyGlobs(name, list.len()));
    }
    let texts = list.iter().map(|glob| match glob {
        Json::Text(glob) => Ok(glob.as_str()),
        _ => Err(wrong()),
    });
    Ok(Globs::new(texts.collect::<Result<Vec<_>, _>>()?))
}

fn stay(fanfare: &Object) -> Result<Option<u64>, BadToken> {
    match fanfare.get("stay") {
        None => Ok(None),
        Some(Json::Number(number)) if (0.0..=TIME_MAX_S).contains(number) => Ok(Some(*number as u64)),
        Some(_) => Err(BadToken::Claim("stay", "a number of seconds, counted from the handshake")),
    }
}

/// The claims once more, for the one value that is passed on as it is written.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    fanfare: Inner<'a>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

fn info(bytes: &[u8]) -> Result<Option<Box<str>>, BadToken> {
    let outer: Outer<'_> =
        serde_json::from_slice(bytes).map_err(|error| BadToken::Json(Part::Claims, error.to_string()))?;
    let Some(info) = outer.fanfare.info else { return Ok(None) };
    let info = without_space(info.get());
    if info.len() > INFO_LEN_MAX {
        return Err(BadToken::ClaimTooLong("info", info.len(), INFO_LEN_MAX));
    }
    Ok(Some(info.into()))
}

/// JSON without the white space between its tokens: a line end in it would end the line of an event stream.
#[must_use]
pub fn without_space(json: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |c: &char| {
        let is_kept = is_text || !c.is_ascii_whitespace();
        if *c == '"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = *c == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(is_kept).collect()
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
