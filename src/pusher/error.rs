//! What a client is told when something is wrong: code, sentence, and the messages that carry them (section 3).
//!
//! Where a fault is noticed is not known here; answers of the HTTP API are `rest`'s.

use std::fmt;
use std::num::NonZeroU32;

use super::{InvalidName, event};
use crate::hub::InvalidEventName;

/// Texts of the peer are quoted to this length in bytes: the longest key, name or signature is shorter.
const QUOTED_LEN_MAX: usize = 250;

/// A text that was to be signed is quoted to this length: it has a name of 200 bytes and a member with 1 KiB of info.
const SIGNED_LEN_MAX: usize = 2000;

/// What is wrong, of the client, its app or the server. `Display` is the sentence that the client is told; as the reason of
/// a Close frame it may have to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No app has this key.
    AppUnknown(String),
    /// The app is disabled.
    AppDisabled,
    /// The app has as many connections as its configuration allows; its clients are not to try again.
    OverQuota,
    /// The path of the request is none of the protocol's.
    Path,
    /// The parameter `protocol` is not a number.
    Version(String),
    /// The version of the protocol is none that is spoken here.
    Protocol(String),
    /// The parameter `protocol` is empty.
    NoProtocol,
    /// The connection may not go on, for this reason.
    Unauthorized(String),
    /// The server is full at present.
    OverCapacity,
    /// The client does not take its messages as they come, and has more of them unread than the server keeps.
    Lagged,
    /// The server is about to stop.
    Restart,
    /// The client did not answer `pusher:ping`.
    NoPong,
    /// The connection was idle for too long.
    Idle,
    /// More client events in a second than this.
    ClientEventRate(NonZeroU32),
    /// A client event in an encrypted channel, where that is not configured.
    ClientEventEncrypted(String),
    /// This number of users in a watchlist.
    Watchlist(usize),
    /// The message is none of the protocol's, for this reason.
    Malformed(String),
    /// A binary message.
    Binary,
    /// An event that clients do not send.
    Unsupported(String),
    /// The name of a client event is too long, say.
    EventName(InvalidEventName),
    /// The name of a channel, and what is wrong with it.
    InvalidChannel(String, InvalidName),
    /// A subscription to this channel has no signature, and needs one.
    NoAuth(String),
    /// The first half of the signature is not the app's key.
    InvalidKey(String),
    /// The second half of the signature is not the digest of this text by any of the app's secrets.
    InvalidSignature {
        /// What had to be signed.
        expected: String,
        /// The digest that came.
        got: String,
    },
    /// A subscription to this presence channel does not say who the member is.
    NoMember(String),
    /// The `channel_data` of a subscription names no member, for this reason.
    InvalidMember(String),
    /// The info of a member is too long.
    UserInfoTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        len_max: usize,
    },
    /// This channel is that of a user who is not the connection's.
    NotTheUser(String),
    /// A limit of the app's is reached.
    LimitReached(Limit),
    /// The connection has subscribed to this channel already.
    Existing(String),
    /// The connection has not subscribed to this channel, and cannot unsubscribe.
    NotSubscribed(String),
    /// The app has no client events.
    ClientEventsOff,
    /// A client event in this channel, which is open to everybody.
    ClientEventChannel(String),
    /// A client event in this channel, to which the connection has not subscribed.
    ClientEventNotSubscribed(String),
    /// The data of a client event is too long.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        len_max: usize,
    },
    /// The `user_data` of a sign-in names no user, for this reason.
    InvalidUser(String),
    /// The connection is signed in as this user, and a sign-in names another one.
    SignedInAs(String),
}

/// A limit that an app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The most channels of one connection.
    Channels(usize),
    /// The most members of one presence channel.
    Members(usize),
}

impl Error {
    /// The code, `None` where the client is told `null`.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::AppUnknown(_) => Some(4001),
            Self::AppDisabled => Some(4003),
            Self::OverQuota => Some(4004),
            Self::Path => Some(4005),
            Self::Version(_) => Some(4006),
            Self::Protocol(_) => Some(4007),
            Self::NoProtocol => Some(4008),
            Self::Unauthorized(_) => Some(4009),
            Self::OverCapacity | Self::Lagged => Some(4100),
            Self::Restart => Some(4200),
            Self::NoPong => Some(4201),
            Self::Idle => Some(4202),
            Self::ClientEventRate(_) | Self::ClientEventEncrypted(_) => Some(4301),
            Self::Watchlist(_) => Some(4302),
            Self::Malformed(_)
            | Self::Binary
            | Self::Unsupported(_)
            | Self::EventName(_)
            | Self::InvalidChannel(..)
            | Self::NoAuth(_)
            | Self::InvalidKey(_)
            | Self::InvalidSignature { .. }
            | Self::NoMember(_)
            | Self::InvalidMember(_)
            | Self::UserInfoTooLarge { .. }
            | Self::NotTheUser(_)
            | Self::LimitReached(_)
            | Self::Existing(_)
            | Self::NotSubscribed(_)
            | Self::ClientEventsOff
            | Self::ClientEventChannel(_)
            | Self::ClientEventNotSubscribed(_)
            | Self::TooLarge { .. }
            | Self::InvalidUser(_)
            | Self::SignedInAs(_) => None,
        }
    }

    /// The code to close the connection with, if it does not go on. It is never 4300 or more: pusher-js would give up for
    /// good.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.code().filter(|&code| code < 4300)
    }

    /// The message `pusher:error`.
    #[must_use]
    pub fn event(&self) -> String {
        event::error(self.code(), &self.to_string())
    }

    /// Refuses a subscription: the channel's listeners are told first, by `pusher:subscription_error`, then those of the
    /// connection, by `pusher:error`. Of a fault that is not about whether one may subscribe, only the latter.
    pub fn refuse(&self, channel: &str, replies: &mut Vec<String>) {
        let refusal = self.refusal();
        replies.extend(
            refusal.map(|(kind, status)| event::subscription_error(channel, kind, &self.to_string(), status)),
        );
        replies.push(self.event());
    }

    /// The type and the status of `pusher:subscription_error`, if the fault refuses a subscription.
    fn refusal(&self) -> Option<(&'static str, u16)> {
        match self {
            Self::NoAuth(_)
            | Self::InvalidKey(_)
            | Self::InvalidSignature { .. }
            | Self::NoMember(_)
            | Self::NotTheUser(_) => Some(("AuthError", 401)),
            Self::InvalidChannel(..) => Some(("InvalidChannel", 400)),
            Self::InvalidMember(_) => Some(("InvalidData", 400)),
            Self::UserInfoTooLarge { .. } => Some(("LimitReached", 413)),
            Self::LimitReached(_) => Some(("LimitReached", 4004)),
            Self::AppUnknown(_)
            | Self::AppDisabled
            | Self::OverQuota
            | Self::Path
            | Self::Version(_)
            | Self::Protocol(_)
            | Self::NoProtocol
            | Self::Unauthorized(_)
            | Self::OverCapacity
            | Self::Lagged
            | Self::Restart
            | Self::NoPong
            | Self::Idle
            | Self::ClientEventRate(_)
            | Self::ClientEventEncrypted(_)
            | Self::Watchlist(_)
            | Self::Malformed(_)
            | Self::Binary
            | Self::Unsupported(_)
            | Self::EventName(_)
            | Self::Existing(_)
            | Self::NotSubscribed(_)
            | Self::ClientEventsOff
            | Self::ClientEventChannel(_)
            | Self::ClientEventNotSubscribed(_)
            | Self::TooLarge { .. }
            | Self::InvalidUser(_)
            | Self::SignedInAs(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppUnknown(key) => {
                write!(f, "There is no app with the key '{}' here: check key and host", quoted(key))
            }
            Self::AppDisabled => f.write_str("The app is disabled"),
            Self::OverQuota => f.write_str("The app is over its quota of connections"),
            Self::Path => f.write_str("The path is none of the protocol's: connect to /app/KEY"),
            Self::Version(text) => {
                write!(f, "Invalid version string: '{}' is not a number; send protocol=7", quoted(text))
            }
            Self::Protocol(text) => {
                write!(f, "Unsupported protocol version {}: supported are 4 to 7", quoted(text))
            }
            Self::NoProtocol => f.write_str("No protocol version supplied: send protocol=7"),
            Self::Unauthorized(reason) => f.write_str(reason),
            Self::OverCapacity => f.write_str("The server is over capacity: try again later"),
            Self::Lagged => f.write_str("The connection is too slow: it has too many unread messages"),
            Self::Restart => f.write_str("The server restarts: reconnect"),
            Self::NoPong => f.write_str("Pong reply not received: ping was sent to the client in vain"),
            Self::Idle => f.write_str("Closed after inactivity: reconnect"),
            Self::ClientEventRate(rate) => {
                write!(f, "Client event rejected: over the limit of {rate} client events a second")
            }
            Self::ClientEventEncrypted(channel) => {
                write!(f, "Client event rejected: {} is encrypted, and takes none", quoted(channel))
            }
            Self::Watchlist(len) => {
                write!(f, "The watchlist has {len} users: only the first {WATCHLIST_LEN_MAX} are watched")
            }
            Self::Malformed(reason) => write!(
                f,
                "Malformed message: {}; a message is a JSON object like {{\"event\":\"pusher:ping\",\"data\":{{}}}}",
                quoted(reason)
            ),
            Self::Binary => f.write_str("Binary messages are not supported: send JSON as text"),
            Self::Unsupported(event) => {
                write!(f, "Unsupported event received on socket: {}", quoted(event))
            }
            Self::EventName(why) => write!(f, "Client event rejected: {why}"),
            Self::InvalidChannel(channel, why) => {
                write!(f, "Invalid channel name '{}': {why}", quoted(channel))
            }
            Self::NoAuth(channel) => write!(
                f,
                "Subscription to {} needs a signature: have the app's server sign it, and send it as auth",
                quoted(channel)
            ),
            Self::InvalidKey(key) => write!(
                f,
                "Invalid key in subscription auth data: '{}'; auth is KEY:SIGNATURE, with the key of the connection",
                quoted(key)
            ),
            Self::InvalidSignature { expected, got } => write!(
                f,
                "Invalid signature: Expected HMAC SHA256 hex digest of {}, but got {}",
                Quoted(expected, SIGNED_LEN_MAX),
                quoted(got)
            ),
            Self::NoMember(channel) => write!(
                f,
                "Subscription to {} needs channel_data with a user_id, or a signed-in user",
                quoted(channel)
            ),
            Self::InvalidMember(why) => write!(f, "Invalid channel_data: {}", quoted(why)),
            Self::UserInfoTooLarge { len, len_max } => {
                write!(f, "The user_info has {len} bytes, {len_max} at most are allowed")
            }
            Self::NotTheUser(channel) => write!(
                f,
                "{} is the channel of a signed-in user, and this connection is not signed in as that user",
                quoted(channel)
            ),
            Self::LimitReached(Limit::Channels(max)) => {
                write!(f, "The connection has {max} channels, and may not have more: unsubscribe from some")
            }
            Self::LimitReached(Limit::Members(max)) => {
                write!(f, "The channel has {max} members, and may not have more")
            }
            Self::Existing(channel) => write!(f, "Existing subscription to channel {}", quoted(channel)),
            Self::NotSubscribed(channel) => write!(
                f,
                "No current subscription to channel {}, or subscription in progress",
                quoted(channel)
            ),
            Self::ClientEventsOff => {
                f.write_str("Client event rejected: client events are not enabled for this app")
            }
            Self::ClientEventChannel(channel) => write!(
                f,
                "Client event rejected: only private and presence channels take them, and {} is neither",
                quoted(channel)
            ),
            Self::ClientEventNotSubscribed(channel) => {
                write!(f, "Client event rejected: the connection is not subscribed to {}", quoted(channel))
            }
            Self::TooLarge { len, len_max } => {
                write!(f, "Client event rejected: its data has {len} bytes, {len_max} at most are allowed")
            }
            Self::InvalidUser(why) => write!(f, "Invalid user_data: {}", quoted(why)),
            Self::SignedInAs(user) => {
                write!(f, "Already signed in as {}: open another connection for another user", quoted(user))
            }
        }
    }
}

impl std::error::Error for Error {}

/// The users of a watchlist that are watched (4.10).
pub const WATCHLIST_LEN_MAX: usize = 100;

/// The beginning of a text of the peer, in at most so many bytes.
struct Quoted<'a>(&'a str, usize);

fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text, QUOTED_LEN_MAX)
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, len_max) = *self;
        match text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= len_max).last() {
            Some(end) if end < text.len() => write!(f, "{}…", &text[..end]),
            _ => f.write_str(text),
        }
    }
}
