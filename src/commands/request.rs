//! What one message of a client asks for.
//!
//! How it is written as JSON is known to `reading`; whether the client may do it, to the server.

use std::borrow::Cow;

use super::{Fault, Reference};
use crate::hub::{ChannelName, Content, EventName, Position};

/// The bounds of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most channels in one `fanfare:subscribe` or `fanfare:unsubscribe`.
    pub channels_max: usize,
}

/// One message: what it asks for, and the name that the answer is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The `ref`, which each answer carries.
    pub reference: Option<Reference>,
    /// What is asked for.
    pub command: Command<'a>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `fanfare:subscribe`: at least one channel, none twice, in the order in which they are to be answered. A channel that
    /// cannot be asked for has its fault here, which is its answer.
    Subscribe(Vec<Result<Wanted, Fault>>),
    /// `fanfare:unsubscribe`: likewise.
    Unsubscribe(Vec<Result<ChannelName, Fault>>),
    /// An envelope with a channel.
    Publish(Message<'a>),
    /// `fanfare:history`.
    History {
        /// Whose publications.
        channel: ChannelName,
        /// From where on.
        position: Position,
    },
    /// `fanfare:presence`: who is there now.
    Presence {
        /// Where.
        channel: ChannelName,
    },
    /// `fanfare:authorize`.
    Authorize {
        /// What is to be a token: at least one character.
        token: Cow<'a, str>,
    },
}

/// A channel that is to be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The channel: none of the server's own.
    pub channel: ChannelName,
    /// From where on; `None` if the client does not say: from now on.
    pub position: Option<Position>,
    /// Whether it also wants to know who is there.
    pub presence: bool,
}

/// What is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where: none of the server's own channels.
    pub channel: ChannelName,
    /// The name of the event, if any.
    pub event: Option<EventName>,
    /// What the data is: text if it came as a string, bytes if as base64, else JSON.
    pub content: Content,
    /// The payload: what a string says, what base64 stands for, other JSON as it came.
    pub data: Cow<'a, [u8]>,
    /// The name under which the publication may be sent again without being published twice: 1 to 255 visible ASCII
    /// characters.
    pub key: Option<Cow<'a, str>>,
}
