//! Why a client is refused: for each reason its code, HTTP status, close code and challenge, and the sentence that it is
//! told.
//!
//! What is wrong with a token, and what it does not allow, is in `token`.

use std::fmt;

use crate::backend::{Fault, RETRY_AFTER_S};
use crate::commands::FaultKind;
use crate::config::Host;
use crate::http::{Response, Status};
use crate::hub::ChannelName;
use crate::server::access::revoked::REVOKED_MAX;
use crate::server::limits::TooMany;
use crate::token::{self, Right};

/// How many globs a sentence names: the holder of the key knows them all.
const GLOBS_NAMED_MAX: usize = 5;

/// Why a client is refused. `Display` is the sentence that it is told; as the reason of a Close frame it may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its token, or that it has none.
    Token(token::Error),
    /// The same, of the token of this user.
    TokenOf(Box<str>, token::Error),
    /// The connection was allowed to live for this number of seconds by its token.
    StayOver(u64),
    /// This user, whom the backend let in, was revoked at this time, in seconds since 1970.
    UserRevoked(Box<str>, u64),
    /// As many revocations are remembered as there may be.
    RevocationsFull,
    /// The server does not answer to the host name that was asked for.
    Host {
        /// The name; `None` if it is not a host name.
        asked: Option<Host>,
        /// Whether development mode is the reason.
        is_development: bool,
    },
    /// The page that made the request is of an origin that is not served.
    Origin {
        /// Whether development mode is the reason.
        is_development: bool,
    },
    /// The page that made the request has no origin, and may read but not publish.
    NoOrigin,
    /// Publishing needs the key, and the request has none.
    NoKey,
    /// The key of the request is not the server's.
    WrongKey,
    /// The key of this name is not the server's any more.
    KeyRemoved(String),
    /// The key of this name was for a time that is over, in seconds since 1970.
    KeyExpired(String, u64),
    /// The key does not allow this.
    KeyForbids(Box<KeyDenial>),
    /// This needs the right to administer, and the key of this name does not have it.
    NotAdmin(String),
    /// Reading the server's state needs the key, and the request does not have it.
    NoReader,
    /// The server's state is not shown, since no key is configured.
    NotShown,
    /// The channel is one of the server's own.
    Reserved,
    /// The request carries two proofs that differ.
    TwoProofs,
    /// There are too many connections of its user.
    TooMany(TooMany),
    /// The backend says no; its sentence.
    Judged(String),
    /// To the backend the client of this connection is another user now: whose the connection was, and whose it would be.
    AnotherPerson(Box<str>, Box<str>),
    /// The backend could not decide.
    Unavailable(Fault),
}

/// A channel for which a key does not have a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDenial {
    /// Which key.
    pub name: String,
    /// What it does not allow.
    pub right: Right,
    /// The globs that it has for that.
    pub globs: Vec<String>,
    /// The channel that none of them fits.
    pub channel: ChannelName,
}

/// What a refusal is called by programs, and how it is sent.
struct Row {
    code: &'static str,
    status: Status,
    close_code: u16,
    challenge: Option<&'static str>,
}

impl Refusal {
    /// What stands as `code` in the data of `fanfare:error`.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The HTTP status.
    pub fn status(&self) -> Status {
        self.row().status
    }

    /// The code of the Close frame, where the refusal ends the connection.
    pub fn close_code(&self) -> u16 {
        self.row().close_code
    }

    #[rustfmt::skip] // one line a code
    fn row(&self) -> Row {
        let row = |code, status, close_code, challenge| Row { code, status, close_code, challenge };
        match self {
            Self::Token(error) | Self::TokenOf(_, error) => {
                // A token's refusals have one of the two.
                let status = if error.status() == 401 { Status::UNAUTHORIZED } else { Status::FORBIDDEN };
                row(error.code(), status, error.close_code(), Some(error.challenge()))
            }
            Self::Host { .. } | Self::Origin { .. } | Self::NoOrigin | Self::NotShown | Self::Reserved => {
                row("forbidden", Status::FORBIDDEN, 4403, None)
            }
            Self::NoKey => row("no_token", Status::UNAUTHORIZED, 4401, Some("Bearer")),
            Self::WrongKey | Self::KeyRemoved(_) => row("bad_token", Status::UNAUTHORIZED, 4401, Some("Bearer error=\"invalid_token\"")),
            // Whoever connects again is the user that the backend names, so it is not final as `forbidden` is.
            Self::KeyExpired(..) | Self::StayOver(_) | Self::AnotherPerson(..) => row("expired", Status::UNAUTHORIZED, 4401, Some("Bearer error=\"invalid_token\"")),
            Self::KeyForbids(_) | Self::NotAdmin(_) => row("forbidden", Status::FORBIDDEN, 4403, Some("Bearer error=\"insufficient_scope\"")),
            Self::Judged(_) => row("forbidden", Status::FORBIDDEN, 4403, None),
            Self::UserRevoked(..) => row("revoked", Status::FORBIDDEN, 4403, None),
            Self::NoReader => row("no_token", Status::UNAUTHORIZED, 4401, Some("Basic realm=\"Fanfare\"")),
            Self::TwoProofs => row("bad_command", Status::BAD_REQUEST, 4400, Some("Bearer error=\"invalid_request\"")),
            Self::TooMany(_) => row("too_many", Status::TOO_MANY_REQUESTS, 4429, None),
            Self::Unavailable(_) | Self::RevocationsFull => row("unavailable", Status::SERVICE_UNAVAILABLE, 1013, None),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) | Self::TokenOf(_, error) => error.fmt(f),
            Self::StayOver(stay_s) => write!(
                f,
                "The {stay_s} s are over for which the token let this connection stay; connect with another token."
            ),
            Self::UserRevoked(sub, at_s) => {
                write!(f, "The user {sub} was revoked at {}.", token::RevokedAt(*at_s))
            }
            Self::RevocationsFull => {
                write!(f, "{REVOKED_MAX} revocations are remembered, the most there may be; each is for 24 h.")
            }
            Self::Host { asked, is_development } => f.write_str(&misnamed(asked.as_ref(), *is_development)),
            Self::Origin { is_development: true } => f.write_str(
                "This is development mode: it serves pages of this machine, not of other origins; add --allow-origin \
                 ORIGIN, with what this request has in Origin.",
            ),
            Self::Origin { is_development: false } => f.write_str(
                "Pages of this origin are not served here; the server's --allow-origin lists those that are.",
            ),
            Self::NoOrigin => f.write_str(
                "This is development mode: a page without an origin, such as a file, may read and not publish; serve \
                 it from http://localhost, or add --allow-origin null.",
            ),
            Self::NoKey => f.write_str(
                "Publishing needs the key: send Authorization: Bearer KEY, with the server's --publish-key.",
            ),
            Self::WrongKey => {
                f.write_str("The key in Authorization: Bearer is not the server's --publish-key.")
            }
            Self::KeyRemoved(name) => write!(f, "The key {name} was removed."),
            Self::KeyExpired(name, at_s) => write!(f, "The key {name} expired at {}.", token::RevokedAt(*at_s)),
            Self::KeyForbids(denial) => denial.fmt(f),
            Self::NotAdmin(name) => {
                write!(f, "The key {name} does not administer; this needs a key with admin=true.")
            }
            Self::NoReader => f.write_str(
                "This needs the key: send Authorization: Bearer KEY, or Basic with any name and the key as the \
                 password; it is the server's --publish-key.",
            ),
            Self::NotShown => f.write_str(
                "The server's state is not shown to everybody: start it with --metrics-listen ADDR for the metrics \
                 at an address of their own, or with --publish-key KEY to open this to holders of the key.",
            ),
            Self::Reserved => f.write_str("Channels whose names begin with @fanfare. are the server's own."),
            Self::TwoProofs => f.write_str(
                "The request carries two proofs that differ; give one, in Authorization, Sec-WebSocket-Protocol, \
                 a cookie or the query.",
            ),
            Self::TooMany(too_many) => too_many.fmt(f),
            Self::Judged(sentence) => f.write_str(sentence),
            Self::AnotherPerson(own, other) => {
                write!(f, "This connection is that of {own}; its session is that of {other} now: connect again.")
            }
            Self::Unavailable(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for KeyDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, right, globs, channel } = self;
        let (does, to) = match right {
            Right::Subscribe => ("reads", ""),
            Right::Publish => ("publishes", "to "),
            Right::Presence => ("sees who is", "in "),
        };
        write!(f, "The key {name} {does} {to}")?;
        for (at, glob) in globs.iter().take(GLOBS_NAMED_MAX).enumerate() {
            write!(f, "{}{glob}", if at == 0 { "" } else { ", " })?;
        }
        match globs.len() {
            0 => f.write_str("no channel")?,
            1..=GLOBS_NAMED_MAX => {}
            len => write!(f, " and {} more", len - GLOBS_NAMED_MAX)?,
        }
        write!(f, "; not {to}{channel}.")
    }
}

impl From<token::Error> for Refusal {
    fn from(error: token::Error) -> Self {
        Self::Token(error)
    }
}

impl From<token::BadToken> for Refusal {
    fn from(bad: token::BadToken) -> Self {
        Self::Token(bad.into())
    }
}

impl From<&Refusal> for Response {
    fn from(refusal: &Refusal) -> Self {
        let response = Self::text(refusal.status(), &refusal.to_string());
        let response = match refusal.row().challenge {
            Some(challenge) => response.header("WWW-Authenticate", challenge),
            None => response,
        };
        match refusal {
            Refusal::TooMany(too_many) => {
                response.header("Retry-After", too_many.retry_after_s().to_string())
            }
            Refusal::Unavailable(_) => response.header("Retry-After", RETRY_AFTER_S.to_string()),
            _ => response,
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

impl From<&Refusal> for FaultKind {
    fn from(refusal: &Refusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            Refusal::Token(error) | Refusal::TokenOf(_, error) => match error {
                token::Error::NoToken(_) | token::Error::NoKey(_) => Self::NoToken(sentence),
                token::Error::Bad(_) => Self::BadToken(sentence),
                token::Error::Expired(_) => Self::Expired(sentence),
                token::Error::Revoked(..) => Self::Revoked(sentence),
                token::Error::Forbidden(_) | token::Error::AnotherUser(..) => Self::Forbidden(sentence),
            },
            Refusal::NoKey | Refusal::NoReader => Self::NoToken(sentence),
            Refusal::WrongKey | Refusal::KeyRemoved(_) => Self::BadToken(sentence),
            Refusal::KeyExpired(..) | Refusal::StayOver(_) | Refusal::AnotherPerson(..) => {
                Self::Expired(sentence)
            }
            Refusal::UserRevoked(..) => Self::Revoked(sentence),
            Refusal::Host { .. }
            | Refusal::Origin { .. }
            | Refusal::NoOrigin
            | Refusal::KeyForbids(_)
            | Refusal::NotAdmin(_)
            | Refusal::NotShown
            | Refusal::Judged(_) => Self::Forbidden(sentence),
            Refusal::Reserved => Self::Reserved,
            // Its sentence gets its full stop there.
            Refusal::TwoProofs => Self::BadCommand(sentence.trim_end_matches('.').to_owned()),
            Refusal::TooMany(_) => Self::TooManyConnections(sentence),
            Refusal::Unavailable(_) | Refusal::RevocationsFull => Self::Unavailable(sentence),
        }
    }
}

/// What a log line says of a refusal: the sentence, and whose token it is if that does not say so.
impl Refusal {
    /// The refusal of the token of this user, if it has a name.
    pub(super) fn of_token(error: token::Error, sub: Option<&str>) -> Self {
        match sub {
            Some(sub) => Self::TokenOf(sub.into(), error),
            None => Self::Token(error),
        }
    }

    /// The text for a log line. It has no token and no key.
    pub fn log_text(&self) -> String {
        match self {
            Self::TokenOf(sub, _) => format!("{sub}: {self}"),
            _ => self.to_string(),
        }
    }
}

/// What is said to a request for a host name that the server does not answer to. The name was parsed, so it has no
/// character that could harm a page.
fn misnamed(asked: Option<&Host>, is_development: bool) -> String {
    let rule = match is_development {
        true => "This is development mode: it answers to localhost",
        false => "This server answers to localhost and to the names of its --allow-host",
    };
    match asked {
        Some(host) => format!("{rule}, not to {host}; add --allow-host {host}."),
        None => {
            format!("{rule}, not to what Host is here, which is no host name; --allow-host HOST adds one.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_another_host_name_is_told_what_to_add() {
        let said = |asked: &str, is_development| misnamed(asked.parse().ok().as_ref(), is_development);
        assert_eq!(
            said("example.test", true),
            "This is development mode: it answers to localhost, not to example.test; add --allow-host example.test."
        );
        assert!(said("fd00::1", false).ends_with("not to [fd00::1]; add --allow-host [fd00::1]."));
        assert!(said("", true).contains("no host name"));
    }
}
