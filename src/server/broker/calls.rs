//! What other threads hand to one connection of a program: messages, events, the end, and answers to its requests.
//!
//! What a connection does about them is not known here, nor what is in an event.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

use crate::http::Response;
use crate::ws::{CloseCode, MessageKind};

/// Above this many bytes of calls that a loop has not taken, further ones are refused: as much as of publications, a turn's
/// worth.
pub const CALLS_LEN_MAX: usize = 4 * 1024 * 1024;

/// Something for a connection.
#[derive(Debug)]
pub struct Call {
    /// The connection's key as a number. The connection may have been closed meanwhile.
    pub connection: u64,
    /// What is for it.
    pub what: CallKind,
}

/// The kinds of calls.
pub enum CallKind {
    /// A message to its peer.
    Send(MessageKind, Bytes),
    /// An event for its session, which knows the type; and how many bytes it is counted as.
    Parcel(Box<dyn Any + Send>, usize),
    /// Its end.
    Close(CloseCode, String),
    /// The answer to its request.
    Answer(Response),
}

impl Call {
    /// The bytes that it takes, about.
    pub fn held_len(&self) -> usize {
        let own = match &self.what {
            CallKind::Send(_, payload) => payload.len(),
            CallKind::Parcel(_, len) => *len,
            CallKind::Close(_, reason) => reason.len(),
            CallKind::Answer(response) => response.body_len(),
        };
        size_of::<Self>() + own
    }
}

impl fmt::Debug for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(kind, payload) => write!(f, "Send({kind:?}, {} bytes)", payload.len()),
            Self::Parcel(_, len) => write!(f, "Parcel({len} bytes)"),
            Self::Close(code, reason) => write!(f, "Close({code}, {reason:?})"),
            Self::Answer(response) => write!(f, "Answer({})", response.status()),
        }
    }
}

/// A loop has not taken what it was given before. Nothing was added: try again when it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congested;

impl fmt::Display for Congested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop has not taken 4 MiB of earlier messages and events yet; try again in a millisecond")
    }
}

impl std::error::Error for Congested {}
