//! What is wrong with the content of a request of the HTTP API, as sentences.
//!
//! The rules are `rest_call`'s.

use std::fmt;

use super::quote::Quoted;
use crate::hub::InvalidEventName;
use crate::pusher::channel::InvalidName;

/// The most channels of one event: section 5.3 of the protocol.
pub(super) const CHANNELS_MAX: usize = 100;

/// The most events of one batch: the same section.
pub(super) const BATCH_MAX: usize = 10;

/// A rule of an endpoint that a request breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A part of the request that is not UTF-8: which.
    NotUtf8(&'static str),
    /// The body is not the JSON that the endpoint takes; what the parser says.
    Body(String),
    /// The body is longer than any call of the endpoint can be.
    BodyTooLong {
        /// How long it may be, in bytes.
        len_max: u64,
    },
    /// A parameter is not given.
    Missing(&'static str),
    /// A parameter is given more than once.
    Twice(&'static str),
    /// Both `channel` and `channels` are given.
    ChannelAndChannels,
    /// More channels than one event may have: how many.
    TooManyChannels(usize),
    /// More events than one batch may have: how many.
    TooManyEvents(usize),
    /// An encrypted channel is one of several: its name.
    Encrypted(String),
    /// What is no name of a channel.
    Channel {
        /// What was sent.
        sent: String,
        /// Which rule it breaks.
        why: InvalidName,
    },
    /// What is no identifier of a user.
    User {
        /// What was sent.
        sent: String,
        /// Which rule it breaks.
        why: InvalidName,
    },
    /// What is no name of an event.
    Event {
        /// What was sent.
        sent: String,
        /// Which rule it breaks.
        why: InvalidEventName,
    },
    /// An event name that only the server itself uses.
    EventReserved(String),
    /// What is no identifier of a connection.
    SocketId(String),
    /// An attribute that the endpoint does not have.
    Attribute {
        /// What was sent.
        sent: String,
        /// What there is.
        known: &'static str,
    },
    /// `user_count` where not all channels are presence channels.
    UserCount,
    /// `cache` of a channel that keeps no event.
    NotCache,
    /// The users of a channel that has no members.
    NotPresence,
    /// The data of an event is longer than the app allows.
    DataTooLong {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        len_max: usize,
    },
}

impl Invalid {
    /// The status of the answer: section 5.2 of the protocol.
    #[must_use]
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::DataTooLong { .. } | Self::BodyTooLong { .. } => 413,
            Self::NotUtf8(_)
            | Self::Body(_)
            | Self::Missing(_)
            | Self::Twice(_)
            | Self::ChannelAndChannels
            | Self::TooManyChannels(_)
            | Self::TooManyEvents(_)
            | Self::Encrypted(_)
            | Self::Channel { .. }
            | Self::User { .. }
            | Self::Event { .. }
            | Self::EventReserved(_)
            | Self::SocketId(_)
            | Self::Attribute { .. }
            | Self::UserCount
            | Self::NotCache
            | Self::NotPresence => 400,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8(what) => write!(f, "Invalid {what}: it is not UTF-8"),
            Self::Body(why) => write!(f, "Invalid body: {why}"),
            Self::BodyTooLong { len_max } => write!(
                f,
                "The body exceeds {len_max} bytes, more than any request of this endpoint needs within the limits of the app"
            ),
            Self::Missing(name) => write!(f, "Missing required parameter: {name}"),
            Self::Twice(name) => write!(f, "Parameter given more than once: {name}"),
            Self::ChannelAndChannels => f.write_str("Give channel or channels, not both"),
            Self::TooManyChannels(count) => {
                write!(f, "Too many channels: {count}; one event is published to at most {CHANNELS_MAX}")
            }
            Self::TooManyEvents(count) => write!(f, "Too many events: {count}; a batch has at most {BATCH_MAX}"),
            Self::Encrypted(name) => write!(
                f,
                "An event for an encrypted channel goes to that channel alone, since each has a key of its own; {} is one of \
                 several",
                Quoted(name)
            ),
            Self::Channel { sent, why } => write!(f, "Invalid channel name {}: {why}", Quoted(sent)),
            Self::User { sent, why } => write!(f, "Invalid user id {}: {why}", Quoted(sent)),
            Self::Event { sent, why } => write!(f, "Invalid event name {}: {why}", Quoted(sent)),
            Self::EventReserved(name) => {
                write!(f, "Invalid event name {}: pusher: and pusher_internal: are the server's own", Quoted(name))
            }
            Self::SocketId(sent) => {
                write!(f, "Invalid socket_id {}: it is two numbers with a full stop between, as 1234.5678", Quoted(sent))
            }
            Self::Attribute { sent, known } => {
                write!(f, "Unknown attribute {} in info: there are {known}", Quoted(sent))
            }
            Self::UserCount => f.write_str(
                "The attribute user_count is for presence channels only: ask for one, or give a filter_by_prefix that begins with presence-",
            ),
            Self::NotCache => f.write_str("The attribute cache is for cache channels only"),
            Self::NotPresence => f.write_str("Only presence channels have users"),
            Self::DataTooLong { len, len_max } => write!(
                f,
                "The data content of this event exceeds the allowed maximum ({len_max} bytes): it has {len} bytes. Send less, \
                 or where to get it (max-event in the configuration of the server)"
            ),
        }
    }
}
