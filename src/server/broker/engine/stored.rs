//! A publication as Redis keeps it and sends it: from a draft to the bytes of its record, and back.
//!
//! Which keys hold them is in `keys`. Nothing is read from a socket here.
//!
//! ```text
//!  '1' | time: 13 digits | record                                                       as it is stored, by script.lua
//!                          1 | kinds | event? | user? socket? | excluded? | payload     the record
//!
//!  kinds:  bits 0-1  content: 0 text, 1 JSON, 2 binary          bit 2  has an event name
//!          bits 3-4  source: 0 publisher, 1 client, 2 client that is a user, 3 protocol
//!          bits 5-6  excluded: 0 nobody, 1 a connection of a node, 2 a socket_id         bit 7  0
//!  texts:  length (4 bytes) and UTF-8                           numbers: big-endian
//! ```
//!
//! A record without an event name has 2 bytes besides its payload.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::hub::{ChannelName, Content, EventName, InvalidEventName, Owner, PublicationId, Source};
use crate::pusher::SocketId;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::engine::signal::Record;

/// The version of what script.lua puts before a record.
const STORED_VERSION: u8 = b'1';

/// The digits of the time that it puts there, in milliseconds: enough until the year 2286.
const TIME_LEN: usize = 13;

/// The version of the records that are written here, and the only one that is read.
const RECORD_VERSION: u8 = 1;

const CONTENT_BITS: u8 = 0b0000_0011;
const HAS_EVENT: u8 = 0b0000_0100;
const SOURCE_BITS: u8 = 0b0001_1000;
const EXCLUDED_BITS: u8 = 0b0110_0000;
const UNUSED_BITS: u8 = 0b1000_0000;

const CONTENT_TEXT: u8 = 0;
const CONTENT_JSON: u8 = 1;
const CONTENT_BINARY: u8 = 2;

const SOURCE_PUBLISHER: u8 = 0;
const SOURCE_CLIENT: u8 = 1 << 3;
const SOURCE_USER: u8 = 2 << 3;
const SOURCE_PROTOCOL: u8 = 3 << 3;

const EXCLUDED_NOBODY: u8 = 0;
const EXCLUDED_OWNER: u8 = 1 << 5;
const EXCLUDED_SOCKET: u8 = 2 << 5;

/// An identifier is not longer than this as text: 16 hexadecimal digits, a dash, 20 digits.
const ID_LEN_MAX: usize = 37;

/// A publication as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was published, by Redis's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was published, without its number. The payload is a copy: it does not keep the buffer alive that it was read from.
    pub draft: Draft,
}

/// The bytes of a draft, as they are given to the script. `node` is this node's name, which another start of it does not have.
pub fn record(draft: &Draft, node: &str) -> Bytes {
    let Draft { channel: _, event, content, data, source, excluded, frame: _ } = draft;
    let mut kinds = match content {
        Content::Text => CONTENT_TEXT,
        Content::Json => CONTENT_JSON,
        Content::Binary => CONTENT_BINARY,
    };
    kinds |= if event.is_some() { HAS_EVENT } else { 0 };
    kinds |= match source {
        Source::Publisher => SOURCE_PUBLISHER,
        Source::Client { user_id: None, .. } => SOURCE_CLIENT,
        Source::Client { user_id: Some(_), .. } => SOURCE_USER,
        Source::Protocol => SOURCE_PROTOCOL,
        Source::Notice(_) => unreachable!("a notice is told by each node itself"),
    };
    kinds |= match excluded {
        Excluded::Nobody => EXCLUDED_NOBODY,
        Excluded::Owner(_) => EXCLUDED_OWNER,
        Excluded::Socket(_) => EXCLUDED_SOCKET,
    };
    let mut out = BytesMut::with_capacity(2 + data.len() + texts_len(draft, node));
    out.put_slice(&[RECORD_VERSION, kinds]);
    if let Some(event) = event {
        put_text(&mut out, event.as_str());
    }
    if let Source::Client { user_id, socket_id } = source {
        if let Some(user_id) = user_id {
            put_text(&mut out, user_id);
        }
        put_text(&mut out, socket_id);
    }
    match excluded {
        Excluded::Nobody => {}
        Excluded::Owner(owner) => {
            put_text(&mut out, node);
            out.put_u64(owner.hub as u64);
            out.put_u64(owner.number);
        }
        Excluded::Socket(socket_id) => put_text(&mut out, &socket_id.to_string()),
    }
    out.put_slice(data);
    out.freeze()
}

/// At least the bytes between kinds and payload.
fn texts_len(draft: &Draft, node: &str) -> usize {
    let text_len = |text: &str| 4 + text.len();
    let event = draft.event.as_ref().map_or(0, |event| text_len(event.as_str()));
    let source = match &draft.source {
        Source::Client { user_id, socket_id } => user_id.as_deref().map_or(0, text_len) + text_len(socket_id),
        Source::Publisher | Source::Protocol | Source::Notice(_) => 0,
    };
    let excluded = match draft.excluded {
        Excluded::Nobody => 0,
        Excluded::Owner(_) => text_len(node) + 16,
        Excluded::Socket(_) => 4 + 2 * 20 + 1,
    };
    event + source + excluded
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).expect("a name of a publication has far less than 4 GiB"));
    out.put_slice(text.as_bytes());
}

/// Reads a publication of a channel as Redis keeps it. Who is excluded is told where it is a connection of this node, whose name is
/// `node`, and where it may be one: a socket_id is still to be looked up.
///
/// # Errors
/// Says what is wrong with it: another version or another program may have written it. It is to be skipped.
pub fn read(stored: &[u8], channel: &ChannelName, node: &str) -> Result<Stored, BadStored> {
    let (&version, rest) = stored.split_first().ok_or(BadStored::Short)?;
    if version != STORED_VERSION {
        return Err(BadStored::Version(version));
    }
    let (time, rest) = rest.split_at_checked(TIME_LEN).ok_or(BadStored::Short)?;
    let at_ms = read_time(time)?;
    let (&[version, kinds], rest) = rest.split_first_chunk().ok_or(BadStored::Short)?;
    if version != RECORD_VERSION {
        return Err(BadStored::RecordVersion(version));
    }
    if kinds & UNUSED_BITS != 0 {
        return Err(BadStored::Kinds(kinds));
    }
    let mut reader = Reader { rest };
    let event = if kinds & HAS_EVENT == 0 { None } else { Some(reader.text()?) };
    let source = reader.source(kinds)?;
    let event = event.map(|name| match source {
        Source::Publisher | Source::Client { .. } => EventName::new(name),
        Source::Protocol | Source::Notice(_) => EventName::of_any(name),
    });
    let event = event.transpose().map_err(BadStored::Event)?;
    let excluded = reader.excluded(kinds, node)?;
    let data = reader.rest;
    let content = content(kinds, data)?;
    let (channel, data, frame) = (channel.clone(), Bytes::copy_from_slice(data), None);
    Ok(Stored { at_ms, draft: Draft { channel, event, content, data, source, excluded, frame } })
}

/// Takes the payload of a message of a channel apart: `EPOCH-SEQUENCE STORED`. The bytes are copied: it may have to wait for others.
///
/// # Errors
/// It does not begin with the identifier of a publication and a space.
pub fn pushed(message: &[u8]) -> Result<Record, BadStored> {
    let head = &message[..message.len().min(ID_LEN_MAX + 1)];
    let space = head.iter().position(|&byte| byte == b' ').ok_or(BadStored::Id)?;
    let id = str::from_utf8(&message[..space]).ok().and_then(|id| id.parse::<PublicationId>().ok());
    let id = id.ok_or(BadStored::Id)?;
    Ok(Record { id, stored: Bytes::copy_from_slice(&message[space + 1..]) })
}

fn read_time(digits: &[u8]) -> Result<u64, BadStored> {
    digits.iter().try_fold(0, |time, digit| match digit {
        b'0'..=b'9' => Ok(time * 10 + u64::from(digit - b'0')),
        _ => Err(BadStored::Time),
    })
}

fn content(kinds: u8, data: &[u8]) -> Result<Content, BadStored> {
    let content = match kinds & CONTENT_BITS {
        CONTENT_TEXT => Content::Text,
        CONTENT_JSON => Content::Json,
        CONTENT_BINARY => return Ok(Content::Binary),
        _ => return Err(BadStored::Kinds(kinds)),
    };
    match simdutf8::basic::from_utf8(data) {
        Ok(_) => Ok(content),
        Err(_) => Err(BadStored::NotUtf8),
    }
}

/// What is not read yet of a record.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes<const LEN: usize>(&mut self) -> Result<[u8; LEN], BadStored> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(BadStored::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn text(&mut self) -> Result<&'a str, BadStored> {
        let len = u32::from_be_bytes(self.bytes()?);
        let len = usize::try_from(len).map_err(|_| BadStored::Short)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(BadStored::Short)?;
        self.rest = rest;
        str::from_utf8(text).map_err(|_| BadStored::NotUtf8)
    }

    fn socket_id(&mut self) -> Result<(&'a str, SocketId), BadStored> {
        let text = self.text()?;
        Ok((text, text.parse().map_err(|_| BadStored::SocketId)?))
    }

    fn source(&mut self, kinds: u8) -> Result<Source, BadStored> {
        let user_id = match kinds & SOURCE_BITS {
            SOURCE_PUBLISHER => return Ok(Source::Publisher),
            SOURCE_PROTOCOL => return Ok(Source::Protocol),
            SOURCE_CLIENT => None,
            SOURCE_USER => Some(self.text()?.into()),
            _ => return Err(BadStored::Kinds(kinds)),
        };
        let (socket_id, _) = self.socket_id()?;
        Ok(Source::Client { user_id, socket_id: socket_id.into() })
    }

    fn excluded(&mut self, kinds: u8, own: &str) -> Result<Excluded, BadStored> {
        match kinds & EXCLUDED_BITS {
            EXCLUDED_NOBODY => Ok(Excluded::Nobody),
            EXCLUDED_OWNER => {
                let node = self.text()?;
                let (hub, number) = (u64::from_be_bytes(self.bytes()?), u64::from_be_bytes(self.bytes()?));
                let hub = usize::try_from(hub).ok().filter(|_| node == own);
                Ok(hub.map_or(Excluded::Nobody, |hub| Excluded::Owner(Owner { hub, number })))
            }
            EXCLUDED_SOCKET => Ok(Excluded::Socket(self.socket_id()?.1)),
            _ => Err(BadStored::Kinds(kinds)),
        }
    }
}

/// Why bytes are no publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadStored {
    /// They end before it does.
    Short,
    /// The script's version is another.
    Version(u8),
    /// The time is not 13 digits.
    Time,
    /// The version of the record is another.
    RecordVersion(u8),
    /// There is a kind that is not known.
    Kinds(u8),
    /// A text is not UTF-8.
    NotUtf8,
    /// The event name breaks a rule.
    Event(InvalidEventName),
    /// What should be one is no socket_id.
    SocketId,
    /// The message has no identifier.
    Id,
}

impl fmt::Display for BadStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a publication in Redis ends before it is complete"),
            Self::Version(version) => {
                write!(f, "a publication in Redis has the version {version}, not {STORED_VERSION}")
            }
            Self::Time => write!(f, "a publication in Redis has no time of {TIME_LEN} digits"),
            Self::RecordVersion(version) => {
                write!(f, "a record in Redis has the version {version}, not {RECORD_VERSION}")
            }
            Self::Kinds(kinds) => write!(f, "a record in Redis has unknown kinds: {kinds:08b}"),
            Self::NotUtf8 => f.write_str("a text in Redis is not UTF-8"),
            Self::Event(error) => write!(f, "a record in Redis has a bad event name: {error}"),
            Self::SocketId => f.write_str("a record in Redis has a bad socket_id"),
            Self::Id => f.write_str("a message of Redis does not begin with the identifier of a publication"),
        }
    }
}

impl std::error::Error for BadStored {}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
