//! What other threads hand to one connection of a program: messages, events, the end, and answers to its requests.
//!
//! What a connection does about them is not known here, nor what is in an event.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

use crate::http::Response;
use crate::server::discard::discard;
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
    Parcel(Parcel, usize),
    /// Its end.
    Close(CloseCode, String),
    /// The answer to its request.
    Answer(Response),
}

/// A value of a program's own. Its connection may have ended: then it is dropped here, which is no reason for a loop to end.
pub struct Parcel(Option<Box<dyn Any + Send>>);

impl Parcel {
    /// With this in it.
    pub fn new(value: impl Any + Send) -> Self {
        Self(Some(Box::new(value)))
    }

    /// What is in it.
    pub fn open(mut self) -> Box<dyn Any + Send> {
        self.0.take().expect("it is opened once, since that takes it")
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
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
