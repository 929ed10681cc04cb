//! Reading what the backend answers: which channels, who the client is, and for how long that holds.
//!
//! How the answer came is not known here.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::decision::{Decision, Fault, Grant, Person};
use crate::hub::ChannelName;
use crate::token::{INFO_LEN_MAX, NAME_LEN_MAX, without_space};

/// How much of an answer is read, in bytes. The names of 100 channels in both lists are 40 KB.
pub const BODY_LEN_MAX: usize = 64 * 1024;

/// The time that an answer holds if it does not say, in seconds.
const TTL_DEFAULT_S: f64 = 60.0;

/// The bounds of the time that an answer holds, in seconds. A day, as tokens live at most. A time of 0 or less is a fault.
const TTL_S: (f64, f64) = (1.0, 86_400.0);

/// The longest sentence that is passed on, in characters.
const MESSAGE_LEN_MAX: usize = 200;

/// What one call was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    person: Option<Arc<Person>>,
    allows: Allowed,
    sees: Vec<String>,
    ttl_ms: u64,
    message: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Allowed {
    All,
    These(Vec<String>),
}

/// What is wrong with an answer. `Display` is for the log of the server; the client is told [`Unreadable::fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The status says neither yes nor no. A redirection is not followed: it is one of these.
    Status(u16),
    /// The body has more than 64 KiB.
    TooLong,
    /// It is not the JSON that is documented, for this reason.
    Json(String),
    /// This member is longer than it may be, in bytes.
    Length(&'static str, usize),
    /// The user has an empty name.
    EmptySub,
    /// It holds for no time, or for less than none.
    NoTime,
}

#[derive(Deserialize)]
struct Json<'a> {
    allow: Vec<String>,
    presence: Option<Vec<String>>,
    sub: Option<String>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    ttl: Option<f64>,
    message: Option<String>,
}

/// Reads an answer. `body` is its beginning, one byte more than [`BODY_LEN_MAX`] at most; `media_type` is its `Content-Type`.
///
/// # Errors
/// Neither a yes nor a no can be read in it.
pub fn read(status: u16, media_type: Option<&str>, body: &[u8]) -> Result<Reply, Unreadable> {
    match status {
        200 if body.len() > BODY_LEN_MAX => Err(Unreadable::TooLong),
        200 => read_json(body),
        204 => Ok(Reply { allows: Allowed::All, ..Reply::none() }),
        401 | 403 => Ok(Reply { message: refusal(media_type, body), ..Reply::none() }),
        status => Err(Unreadable::Status(status)),
    }
}

fn read_json(body: &[u8]) -> Result<Reply, Unreadable> {
    let json: Json<'_> = serde_json::from_slice(body).map_err(|error| Unreadable::Json(error.to_string()))?;
    let sub = json.sub.map(|sub| match sub.len() {
        0 => Err(Unreadable::EmptySub),
        len if len > NAME_LEN_MAX => Err(Unreadable::Length("sub", len)),
        _ => Ok(Box::from(sub)),
    });
    let info = json.info.filter(|info| info.get() != "null").map(|info| {
        let info = without_space(info.get());
        if info.len() > INFO_LEN_MAX {
            return Err(Unreadable::Length("info", info.len()));
        }
        Ok(Box::from(info))
    });
    let person = Person { sub: sub.transpose()?, info: info.transpose()? };
    let ttl_s = json.ttl.unwrap_or(TTL_DEFAULT_S);
    if ttl_s <= 0.0 {
        return Err(Unreadable::NoTime);
    }
    let ttl_s = ttl_s.clamp(TTL_S.0, TTL_S.1);
    Ok(Reply {
        person: (person != Person::default()).then(|| Arc::new(person)),
        allows: Allowed::These(json.allow),
        sees: json.presence.unwrap_or_default(),
        ttl_ms: (ttl_s * 1000.0) as u64,
        message: json.message.as_deref().and_then(sentence),
    })
}

/// The sentence of a 401 or 403: a text, and not the source of a page.
fn refusal(media_type: Option<&str>, body: &[u8]) -> Option<Arc<str>> {
    let media_type = media_type.unwrap_or("text/plain").trim_start().to_ascii_lowercase();
    if !media_type.starts_with("text/plain") {
        return None;
    }
    // The body may be cut inside a character.
    let end = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), |_| body.len());
    std::str::from_utf8(&body[..end]).ok().and_then(sentence)
}

/// The beginning of a text as one line; `None` if it has no text.
fn sentence(text: &str) -> Option<Arc<str>> {
    let is_space = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\u{202a}'..='\u{202e}');
    let line: String = text.chars().map(|c| if is_space(c) { ' ' } else { c }).collect();
    let line: String = line.trim().chars().take(MESSAGE_LEN_MAX).collect();
    (!line.is_empty()).then(|| line.into())
}

impl Reply {
    /// Nothing is allowed, and nobody is known.
    fn none() -> Self {
        Self {
            person: None,
            allows: Allowed::These(Vec::new()),
            sees: Vec::new(),
            ttl_ms: (TTL_DEFAULT_S * 1000.0) as u64,
            message: None,
        }
    }

    /// How long a yes holds, in milliseconds.
    #[must_use]
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }

    /// Which user it names.
    pub(super) fn sub(&self) -> Option<&str> {
        self.person.as_ref()?.sub.as_deref()
    }

    /// Whether it allows nothing at all.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(&self.allows, Allowed::These(names) if names.is_empty())
    }

    /// What it says of a channel that was asked about; a yes holds until then.
    pub(super) fn decide(&self, channel: &ChannelName, ends_at_ms: u64) -> Decision {
        let is_in = |names: &[String]| names.iter().any(|name| name == channel.as_str());
        let allows = match &self.allows {
            Allowed::All => true,
            Allowed::These(names) => is_in(names),
        };
        if allows {
            Decision::Yes(Grant { person: self.person.clone(), sees: is_in(&self.sees), ends_at_ms })
        } else {
            Decision::No(self.message.clone())
        }
    }
}

impl Unreadable {
    /// What clients are told.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Status(status) => Fault::Status(*status),
            Self::TooLong | Self::Json(_) | Self::Length(..) | Self::EmptySub | Self::NoTime => {
                Fault::Unreadable
            }
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status @ 300..=399) => {
                write!(f, "it answered {status}, and redirections are not followed")
            }
            Self::Status(status) => write!(f, "it answered {status}; 200, 204, 401 and 403 are understood"),
            Self::TooLong => write!(f, "its answer has more than {BODY_LEN_MAX} bytes"),
            Self::Json(why) => write!(f, "its answer is not {{\"allow\":[\"CHANNEL\"]}}: {why}"),
            Self::Length(name, len) => {
                let max = if *name == "sub" { NAME_LEN_MAX } else { INFO_LEN_MAX };
                write!(f, "{name} in its answer has {len} bytes; at most {max} are taken")
            }
            Self::EmptySub => f.write_str("sub in its answer is empty"),
            Self::NoTime => {
                write!(f, "ttl in its answer is not above 0; it is {} to {} seconds", TTL_S.0, TTL_S.1)
            }
        }
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
