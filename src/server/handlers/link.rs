//! What a session may do to its connection while it is called.
//!
//! A connection and the recorder of `app`'s tests are two that do it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::failure::Outcome;
use crate::hub::{ChannelName, Published};
use crate::server::broker::calls::{Call, Congested};
use crate::server::broker::draft::Draft;
use crate::server::handle::PublishError;
use crate::ws::{CloseCode, MessageKind};

/// What a session may do to its connection while it is called.
pub trait Link {
    /// Sends a message.
    fn send(&mut self, kind: MessageKind, payload: &[u8]);

    /// Sends a text that `write` appends to what it is given, unless that fails.
    fn write(&mut self, write: &mut dyn FnMut(&mut Vec<u8>) -> Outcome) -> Outcome;

    /// Reads a channel from now on.
    fn subscribe(&mut self, channel: &ChannelName, form: Form) -> Outcome;

    /// Reads a channel no more.
    fn unsubscribe(&mut self, channel: &ChannelName);

    /// Publishes; not to the connection itself, if it is to others.
    fn publish(&mut self, draft: Draft, to: To) -> Result<Option<Published>, PublishError>;

    /// Begins to close.
    fn close(&mut self, code: CloseCode, reason: &str);

    /// The bytes that the peer has not taken.
    fn queued(&self) -> usize;

    /// Calls the timer after this time; `None`: never.
    fn set_timer(&mut self, after: Option<Duration>);

    /// Which connection it is.
    fn id(&self) -> ConnectionId;

    /// How other threads reach it.
    fn address(&self) -> Address;

    /// Whether there is room for one more job of the workers.
    fn has_worker(&self) -> bool;

    /// Runs a job on a worker. There is room.
    fn work(&mut self, job: Box<dyn FnOnce() + Send>);
}

/// In which form a channel's publications are sent to a session's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The payload and nothing else.
    Raw,
    /// A text: the JSON object `{"channel", "id", "event"?, "data"}`.
    Envelope,
}

/// Whom a publication is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every subscriber.
    All,
    /// Every subscriber but the connection that publishes.
    Others,
}

/// A connection's number. No other connection of this run of the server has it, or had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    pub(crate) loop_index: u32,
    pub(crate) connection: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.loop_index, self.connection)
    }
}

/// The way into the loop of a connection.
pub trait Door: Send + Sync + fmt::Debug {
    /// Has the loop do this.
    ///
    /// # Errors
    /// It has not taken earlier calls, and they are too many.
    fn call(&self, call: Call) -> Result<(), Congested>;

    /// The same for what is bounded elsewhere, and must not be lost.
    fn call_anyway(&self, call: Call);
}

/// How other threads reach a connection.
#[derive(Clone, Debug)]
pub struct Address {
    pub door: Arc<dyn Door>,
    pub connection: u64,
}
