//! A publication before it has a number, and what is wrong with one that cannot be published.
//!
//! What a peer sent, and in which form, is not known here.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::hub::{ChannelName, Content, EventName, InvalidChannelName, InvalidEventName, Owner, Source};
use crate::pusher::SocketId;
use crate::server::broker::payload::{NotJson, Payload};
use crate::server::excerpt::Excerpt;
use crate::ws::CloseCode;

/// A publication before it has a number in its channel's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(in crate::server) channel: ChannelName,
    pub(in crate::server) event: Option<EventName>,
    pub(in crate::server) content: Content,
    /// Valid UTF-8 if `content` is text or JSON.
    pub(in crate::server) data: Bytes,
    /// Who made it.
    pub(in crate::server) source: Source,
    /// The one subscriber that does not get it, if any: its sender.
    pub(in crate::server) excluded: Excluded,
    /// The WebSocket frame that `data` is a part of, if there is one.
    pub(in crate::server) frame: Option<Bytes>,
}

/// The subscriber that does not get a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excluded {
    /// All get it.
    #[default]
    Nobody,
    /// A connection of this node.
    Owner(Owner),
    /// The connection with this identifier, which is not one of this node: another node may have it.
    Socket(SocketId),
}

impl Excluded {
    /// The connection of this node that it is, if it is one.
    pub fn owner(self) -> Option<Owner> {
        match self {
            Self::Owner(owner) => Some(owner),
            Self::Nobody | Self::Socket(_) => None,
        }
    }
}

impl Draft {
    /// A text for `channel`.
    ///
    /// # Errors
    /// Says what is wrong with the channel's name.
    pub fn text(channel: &str, text: impl Into<String>) -> Result<Self, DraftError> {
        Self::new(channel, Content::Text, text.into().into())
    }

    /// A JSON value for `channel`, as text.
    ///
    /// # Errors
    /// Says what is wrong with the channel's name or the JSON.
    pub fn json(channel: &str, json: impl Into<String>) -> Result<Self, DraftError> {
        let json = json.into();
        check_json(json.as_bytes())?;
        Self::new(channel, Content::Json, json.into())
    }

    /// Any bytes for `channel`. `Bytes` are shared, not copied.
    ///
    /// # Errors
    /// Says what is wrong with the channel's name.
    pub fn binary(channel: &str, data: impl Into<Bytes>) -> Result<Self, DraftError> {
        Self::new(channel, Content::Binary, data.into())
    }

    /// A publication of a program, for a channel whose name was checked.
    ///
    /// # Errors
    /// The channel is one of the server's own, or the payload has no JSON.
    pub(crate) fn of(channel: &ChannelName, payload: impl Payload) -> Result<Self, OwnFault> {
        if channel.is_reserved() {
            return Err(OwnFault::Reserved);
        }
        let (content, data) = payload.into_parts().map_err(|NotJson| OwnFault::NotJson)?;
        let (channel, source) = (channel.clone(), Source::Publisher);
        Ok(Self { channel, event: None, content, data, source, excluded: Excluded::Nobody, frame: None })
    }

    /// The same with an event name, which envelopes carry.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn event(self, name: &str) -> Result<Self, DraftError> {
        Ok(Self { event: Some(EventName::new(name).map_err(DraftError::Event)?), ..self })
    }

    /// The channel.
    #[must_use]
    pub fn channel_name(&self) -> &ChannelName {
        &self.channel
    }

    /// The bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.data
    }

    /// The text, if it is text or JSON.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.content {
            Content::Text | Content::Json => str::from_utf8(&self.data).ok(),
            Content::Binary => None,
        }
    }

    /// The name of the event, if it has one.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        self.event.as_ref().map(|event| event.as_str())
    }

    /// Has another payload from now on.
    ///
    /// # Errors
    /// The value has no JSON. The draft is as it was.
    pub fn set_payload(&mut self, payload: impl Payload) -> Result<(), NotJson> {
        (self.content, self.data) = payload.into_parts()?;
        // It was that of the bytes before.
        self.frame = None;
        Ok(())
    }

    fn new(channel: &str, content: Content, data: Bytes) -> Result<Self, DraftError> {
        let channel = ChannelName::new(channel).map_err(DraftError::Channel)?;
        if channel.is_reserved() {
            return Err(DraftError::Reserved);
        }
        Ok(Self {
            channel,
            event: None,
            content,
            data,
            source: Source::Publisher,
            excluded: Excluded::Nobody,
            frame: None,
        })
    }
}

/// Why a program's own publication is no draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnFault {
    /// A channel of the server's own.
    Reserved,
    /// The value has no JSON.
    NotJson,
}

/// Why a body or a message cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftError {
    /// Declared as text or JSON, and not UTF-8.
    NotUtf8,
    /// Declared as JSON, and not JSON; says where.
    NotJson(String),
    /// Not an envelope; says what is wrong.
    NotEnvelope(String),
    /// A binary message where envelopes are spoken.
    BinaryEnvelope,
    /// A bad event name.
    Event(InvalidEventName),
    /// A bad `ref`; says what is right.
    Reference(String),
    /// A bad key.
    Key,
    /// A bad channel name.
    Channel(InvalidChannelName),
    /// A channel of the server's own.
    Reserved,
}

impl DraftError {
    /// What a WebSocket peer is closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::NotUtf8 | Self::NotJson(_) | Self::NotEnvelope(_) => CloseCode::INVALID_PAYLOAD,
            Self::BinaryEnvelope => CloseCode::UNSUPPORTED_DATA,
            Self::Event(_) | Self::Reference(_) | Self::Key | Self::Channel(_) | Self::Reserved => {
                CloseCode::POLICY_VIOLATION
            }
        }
    }
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => {
                f.write_str("the body is not UTF-8; send it as application/octet-stream for binary")
            }
            Self::NotJson(what) => write!(f, "the body is not JSON: {what}"),
            Self::NotEnvelope(what) => write!(f, "not an envelope {{\"event\"?,\"data\"}}: {what}"),
            Self::BinaryEnvelope => f.write_str("fanfare.v1.json speaks text messages only"),
            Self::Event(error) => error.fmt(f),
            Self::Reference(what) => f.write_str(what),
            Self::Key => f.write_str("a key is 1 to 255 visible ASCII characters, such as a UUID"),
            Self::Channel(error) => error.fmt(f),
            Self::Reserved => f.write_str("channels whose names begin with @fanfare. are the server's own"),
        }
    }
}

impl std::error::Error for DraftError {}

/// The longest description of a fault in JSON, in bytes. A Close frame has 123 bytes for a reason, of which our own
/// words take 36.
const DETAIL_LEN_MAX: usize = 87;

/// The parser's description of a fault, which may quote what the peer sent, and its place.
pub fn detail(error: &serde_json::Error) -> String {
    let what = error.to_string();
    if what.len() <= DETAIL_LEN_MAX {
        return what;
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    let len_max = DETAIL_LEN_MAX.saturating_sub(place.len());
    format!("{}{place}", Excerpt { what: &what, len_max })
}

/// Checks that the bytes are one JSON value.
pub fn check_json(json: &[u8]) -> Result<(), DraftError> {
    serde_json::from_slice::<&RawValue>(json).map_err(|error| DraftError::NotJson(detail(&error)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_for_a_channel_of_the_servers_own_is_refused() {
        assert_eq!(Draft::text("@fanfare.dashboard", "x"), Err(DraftError::Reserved));
        assert_eq!(Draft::binary("@fanfare.", "x"), Err(DraftError::Reserved));
        assert!(Draft::text("@fanfare", "x").is_ok());
    }
}
