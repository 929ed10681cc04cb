//! What the holder of a token is told: for each refusal its code, HTTP status, close code and challenge, and the sentence.
//!
//! Nothing is checked here.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::hub::ChannelName;

use super::bad::BadToken;
use super::quote::Quoted;

/// How many globs a sentence names: the holder of the token knows them all.
const GLOBS_NAMED_MAX: usize = 5;

/// The last second of the year 9999; after it no date is written.
const LAST_SECOND: u64 = 253_402_300_799;

/// Of each refusal: its code, the HTTP status, the close code, the word of the challenge; what it carries; its sentence.
macro_rules! errors {
    ($(
        $(#[$doc:meta])*
        [$code:literal $status:literal $close_code:literal $word:expr]
        $name:ident $(($($field:ident: $type:ty),+))? $sentence:literal
    )*) => {
        /// Why a token, or the lack of one, does not let its holder do something. `Display` is the sentence that the holder
        /// is told; as the reason of a Close frame it may have to be cut.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Error {
            $($(#[$doc])* $name $(($($type),+))?,)*
        }

        impl Error {
            /// What stands as `code` in the data of `fanfare:error`.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $status,)*
                }
            }

            /// The code of the Close frame, where the refusal ends the connection.
            #[must_use]
            pub fn close_code(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $close_code,)*
                }
            }

            /// The word of RFC 6750 §3.1. It has none for who sent no token.
            #[must_use]
            pub fn word(&self) -> Option<&'static str> {
                match self {
                    $(Self::$name { .. } => $word,)*
                }
            }
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => write!(f, $sentence),)*
                }
            }
        }
    };
}

errors! {
    /// This channel needs a token, and there is none.
    ["no_token" 401 4401 None] NoToken(channel: ChannelName)
        "Channel {channel} needs a token: Authorization: Bearer JWT, or new WebSocket(url, [\"fanfare.v1.json\", \"bearer.JWT\"])."
    /// This channel needs a key, and there is none.
    ["no_token" 401 4401 None] NoKey(channel: ChannelName)
        "Channel {channel} is for holders of a key: Authorization: Bearer KEY."
    /// The token is no good at any time.
    ["bad_token" 401 4401 Some("invalid_token")] Bad(why: BadToken) "{why}"
    /// The token's life is over.
    ["expired" 401 4401 Some("invalid_token")] Expired(times: Expiry) "{times}"
    /// The token is good, and does not allow this.
    ["forbidden" 403 4403 Some("insufficient_scope")] Forbidden(denial: Denial) "{denial}"
    /// A connection's token is to be replaced by that of another user: whose the connection is, and whose the token is.
    ["forbidden" 403 4403 Some("insufficient_scope")] AnotherUser(own: Subject, other: Subject)
        "This connection is that of {own}; a token of {other} needs a connection of its own."
    /// The token was revoked.
    ["revoked" 403 4403 Some("invalid_token")] Revoked(holder: Holder, at: RevokedAt) "{holder} was revoked at {at}."
}

/// When a token expired. `Display` has both clocks, since one of them may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The claim `exp`, in seconds since 1970.
    pub exp_s: u64,
    /// The time of the server, in seconds since 1970.
    pub now_s: u64,
}

/// When tokens were revoked, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedAt(pub u64);

/// A token, called by its claim `sub` if it has one: `The token of u42`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(pub Option<Box<str>>);

/// A user, by the claim `sub`: `u42`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub Option<Box<str>>);

/// What a token allows, by one of its lists of globs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To subscribe, and to read what is kept.
    Subscribe,
    /// To publish.
    Publish,
    /// To see who is there.
    Presence,
}

/// A channel for which a token does not have a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose token it is.
    pub holder: Holder,
    /// What it does not allow.
    pub right: Right,
    /// The globs that it has for that.
    pub globs: Vec<Box<str>>,
    /// The channel that none of them fits.
    pub channel: ChannelName,
}

impl Error {
    /// The value of `WWW-Authenticate`.
    #[must_use]
    pub fn challenge(&self) -> &'static str {
        match self.word() {
            None => "Bearer",
            Some("insufficient_scope") => "Bearer error=\"insufficient_scope\"",
            Some(_) => "Bearer error=\"invalid_token\"",
        }
    }
}

impl std::error::Error for Error {}

impl From<BadToken> for Error {
    fn from(bad: BadToken) -> Self {
        Self::Bad(bad)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exp_s, now_s } = self;
        let ago_s = now_s.saturating_sub(*exp_s);
        write!(f, "The token expired {ago_s} s ago: exp {exp_s}, this server's clock {now_s}.")
    }
}

impl fmt::Display for RevokedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_secs(self.0.min(LAST_SECOND));
        humantime::format_rfc3339_seconds(at).fmt(f)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(sub) => write!(f, "The token of {}", Quoted(sub)),
            None => f.write_str("The token"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(sub) => Quoted(sub).fmt(f),
            None => f.write_str("nobody by name"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holder, right, globs, channel } = self;
        let (does, to) = match right {
            Right::Subscribe => ("subscribes", "to"),
            Right::Publish => ("publishes", "to"),
            Right::Presence => ("sees who is", "in"),
        };
        write!(f, "{holder} {does} {to} ")?;
        for (at, glob) in globs.iter().take(GLOBS_NAMED_MAX).enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, Quoted(glob))?;
        }
        match globs.len() {
            0 => f.write_str("no channel")?,
            1..=GLOBS_NAMED_MAX => {}
            len => write!(f, " and {} more", len - GLOBS_NAMED_MAX)?,
        }
        write!(f, "; not {to} {channel}.")
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
