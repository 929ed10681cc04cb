//! Why a token is no good whatever the time: the forms of `bad_token`, each with its sentence.
//!
//! Which of them it is, is found elsewhere.

use std::fmt;

use super::algorithm::Algorithm;
use super::quote::Quoted;

/// The longest token, in bytes: what a request head of 8 KiB, the limit of most proxies, has room for besides the rest.
pub const TOKEN_LEN_MAX: usize = 4096;

/// The longest time from `iat` to `exp`, in seconds: 24 h. A revocation is remembered that long, and must outlive every
/// token that it is about.
pub const LIFE_MAX_S: u64 = 24 * 60 * 60;

/// How far clocks may be apart, in seconds: every claim that is a time is taken as this much longer.
pub const LEEWAY_S: u64 = 30;

/// The longest `sub` and `jti`, in bytes: they are sent to other members, and kept by whoever revokes.
pub const NAME_LEN_MAX: usize = 200;

/// The most globs in a list: each is tried for each channel that is asked for.
pub const GLOBS_MAX: usize = 64;

/// The longest `info`, in bytes as JSON without white space: it is sent to each member of a channel.
pub const INFO_LEN_MAX: usize = 1024;

/// Numbers of seconds from here on are milliseconds: the year 5138.
const MILLISECONDS_MIN: f64 = 100_000_000_000.0;

/// Of each form of `bad_token`: what it carries, and its sentence.
macro_rules! bad_tokens {
    ($(
        $(#[$doc:meta])*
        $name:ident $(($($field:ident: $type:ty),+))? $sentence:literal
    )*) => {
        /// What is wrong with a token. `Display` is the sentence that its holder is told.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum BadToken {
            $($(#[$doc])* $name $(($($type),+))?,)*
        }

        impl fmt::Display for BadToken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => {
                        $($(let $field = Quoted($field);)+)?
                        write!(f, $sentence)
                    })*
                }
            }
        }
    };
}

bad_tokens! {
    /// It has this number of bytes.
    TooLong(len: usize) "The token has {len} bytes; {TOKEN_LEN_MAX} at most."
    /// It has this number of parts.
    Parts(len: usize) "It is no signed JWT: it has {len} parts, not three with a dot between: HEADER.CLAIMS.SIGNATURE."
    /// It is encrypted.
    Encrypted "It is an encrypted JWT; a signed one of three parts is needed."
    /// This part is no base64url.
    Base64(part: Part) "Its {part} is not base64url without padding."
    /// This part is no JSON object, for this reason.
    Json(part: Part, why: String) "Its {part} is no JSON object: {why}."
    /// It is not signed.
    NotSigned "alg is none: a token has to be signed."
    /// The header has no algorithm.
    NoAlg "Its header has no alg."
    /// The header asks for something that is never done.
    Header(name: &'static str) "Its header has {name}, which is not followed: the keys are those that the server has."
    /// The header's `kid` is no text.
    Kid "Its kid is no text."
    /// There is no key of this name.
    NoSuchKey(kid: String) "kid is {kid}, no such key is configured."
    /// There is no key for this algorithm.
    NoSuchAlg(alg: String) "alg is {alg}, no such key is configured."
    /// The key that was named is for another algorithm: the key's name, its algorithm, the one in the header.
    AnotherAlg(kid: String, algorithm: Algorithm, alg: String) "alg is {alg}, but key {kid} is for {algorithm}."
    /// The signature is not by this key.
    Signature(kid: String, algorithm: Algorithm) "The signature does not fit key {kid} ({algorithm})."
    /// The signature is by none of this number of keys.
    NoKeyFits(tried: usize, algorithm: Algorithm)
        "The signature fits none of {tried} keys ({algorithm}); name the key by kid."
    /// The key that signed it is configured no more.
    KeyRemoved(kid: String) "Key {kid}, which signed the token, was removed."
    /// There is no claim of this name.
    Missing(name: &'static str) "It has no {name}."
    /// It is no token for this server.
    NoFanfare "It has no fanfare claim; is it a session's token?"
    /// This claim is to be that.
    Claim(name: &'static str, is: &'static str) "{name} is {is}."
    /// This claim is a time in milliseconds.
    Milliseconds(name: &'static str) "{name} is in seconds since 1970, not milliseconds."
    /// This claim has a length of so many bytes, of at most so many.
    ClaimTooLong(name: &'static str, len: usize, len_max: usize) "{name} has {len} bytes; {len_max} at most."
    /// This list has so many globs.
    TooManyGlobs(name: &'static str, len: usize) "{name} has {len} globs; {GLOBS_MAX} at most."
    /// From `iat` to `exp` there are so many seconds.
    Life(life_s: u64) "From iat to exp are {life_s} s; {LIFE_MAX_S} at most."
    /// This claim is a time to come: the claim, the time, and that of the server, in seconds since 1970.
    NotYet(name: &'static str, at_s: u64, now_s: u64)
        "The token is not valid yet: {name} {at_s}, this server's clock {now_s}."
    /// It is for somebody else: what it says, and what it is to say.
    Audience(aud: String, audience: String) "It is for {aud}; this server is {audience}."
    /// It does not say for whom it is, and has to.
    NoAudience(audience: String) "It has no aud; this server is {audience}."
}

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl BadToken {
    /// A number that is to be a time of this claim, and is none.
    pub(super) fn time(name: &'static str, number: f64) -> Self {
        if number >= MILLISECONDS_MIN {
            return Self::Milliseconds(name);
        }
        Self::Claim(name, "a number of seconds since 1970")
    }
}

impl std::error::Error for BadToken {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "second part, the claims,",
            Self::Signature => "signature",
        })
    }
}

#[cfg(test)]
#[path = "bad_tests.rs"]
mod tests;
