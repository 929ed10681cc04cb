//! What a handshake is accepted with, and what the connection becomes by it.
//!
//! Whether it is accepted is decided in `handlers`; what follows is up to the connection.

use std::sync::Arc;

use crate::backend::Action;
use crate::http::Upgrade;
use crate::hub::{ChannelName, Position, WireForm};
use crate::server::access::{Identity, Refusal, Verdict};
use crate::server::api::pusher::Connecting;
use crate::token::TOKEN_LEN_MAX;
use crate::ws::{Deflate, Inbound, WINDOW_BITS_MAX};

/// The longest message that brings a token, in bytes: the token, a reference, and what is around them.
const AUTHORIZE_LEN_MAX: u64 = 2 * TOKEN_LEN_MAX as u64;

/// A subscription that is to begin.
#[derive(Debug)]
pub struct Joining {
    /// The channel.
    pub channel: ChannelName,
    /// The form in which it is read.
    pub form: WireForm,
    /// Where it begins.
    pub position: Position,
    /// Whether the subscriber is told where it begins. It is told of a gap in any case.
    pub announces: bool,
}

/// A long poll.
#[derive(Debug)]
pub struct Polling {
    /// The channel.
    pub channel: ChannelName,
    /// Where it begins.
    pub position: Position,
    /// How long to wait if nothing is kept, in milliseconds; 0 answers at once.
    pub wait_ms: u64,
}

/// A handshake that is accepted, and what the connection becomes.
#[derive(Debug)]
pub struct Acceptance {
    /// The handshake.
    pub upgrade: Upgrade,
    /// The subprotocol to answer with.
    pub subprotocol: Option<&'static str>,
    /// The compression that is agreed.
    pub deflate: Option<Deflate>,
    /// What becomes of the peer's messages.
    pub inbound: Inbound,
    /// What the connection becomes.
    pub becomes: Becoming,
}

/// What a connection becomes by a handshake.
#[derive(Debug)]
pub enum Becoming {
    /// It reads a channel.
    Subscriber {
        /// What it reads.
        joining: Joining,
        /// Whether its messages are published.
        may_publish: MayPublish,
    },
    /// It is told why it is refused, and closed: a page cannot read the answer to a handshake.
    Refused(Box<Refusal>),
    /// It reads and publishes to many channels by commands.
    Multiplex(Multiplexing),
    /// It speaks the Pusher protocol, and reads channels in this form.
    Pusher {
        /// Which app it is a client of.
        connecting: Box<Connecting>,
        /// The form.
        form: WireForm,
    },
}

/// Whether the messages of a WebSocket are published to the channel that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayPublish {
    /// They are.
    Yes,
    /// The backend is asked when one comes.
    IfTheBackendSaysSo,
    /// They are not, by the rules of access.
    No,
    /// They are not, whatever those are: the page may only read, or the channel is the server's own.
    Never,
}

impl MayPublish {
    /// Of a client that reads the channel, by the rules.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            // Who may subscribe may publish, and it does.
            Verdict::Yes | Verdict::Ask(Action::Subscribe) => Self::Yes,
            Verdict::Ask(Action::Publish) => Self::IfTheBackendSaysSo,
            Verdict::No(_) => Self::No,
        }
    }
}

/// What becomes of the messages of a WebSocket that reads one channel. `hears_tokens`: one of them may bring a token.
pub fn inbound(may_publish: MayPublish, hears_tokens: bool, publication_len_max: u64) -> Inbound {
    match (may_publish, hears_tokens) {
        (MayPublish::Yes | MayPublish::IfTheBackendSaysSo, true) => {
            Inbound::Accept { message_len_max: publication_len_max.max(AUTHORIZE_LEN_MAX) }
        }
        (MayPublish::Yes | MayPublish::IfTheBackendSaysSo, false) => {
            Inbound::Accept { message_len_max: publication_len_max }
        }
        (MayPublish::No | MayPublish::Never, true) => Inbound::Accept { message_len_max: AUTHORIZE_LEN_MAX },
        (MayPublish::No | MayPublish::Never, false) => Inbound::Refuse,
    }
}

/// A connection for many channels.
#[derive(Debug)]
pub struct Multiplexing {
    /// The form in which it reads channels.
    pub form: WireForm,
    /// The app whose channels it names, if not the first.
    pub app: Option<Box<str>>,
    /// Whether its page may do what a client outside a browser may.
    pub is_page_served: bool,
    /// The holder of the key that the browser of an operator sent along: who may see the state of the server by it, and
    /// nothing else.
    pub operator: Option<Arc<Identity>>,
}

/// The form that a subscriber reads. The shared compressed form needs the largest window; RFC 7692 §6 allows a client
/// with a smaller one to be sent uncompressed messages.
pub fn form(is_envelope: bool, deflate: Option<Deflate>) -> WireForm {
    match (is_envelope, is_deflated(deflate)) {
        (false, false) => WireForm::WebSocket,
        (false, true) => WireForm::WebSocketDeflate,
        (true, false) => WireForm::Envelope,
        (true, true) => WireForm::EnvelopeDeflate,
    }
}

/// Whether the shared compressed form can be read by a client with this compression.
pub fn is_deflated(deflate: Option<Deflate>) -> bool {
    deflate.is_some_and(|deflate| deflate.server_max_window_bits == WINDOW_BITS_MAX)
}
