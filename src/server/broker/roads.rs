//! The roads by which subscribers read a channel, as its state tells them.
//!
//! Frames and chunks are not known here, only which form goes over which road.

use crate::hub::WireForm;

/// A road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// A WebSocket that speaks none of the other protocols.
    WebSocket,
    /// An event stream.
    Sse,
    /// A request that waits.
    LongPoll,
    /// A client of the Pusher protocol, whatever its transport.
    Pusher,
}

impl Road {
    /// Every road, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Sse, Self::LongPoll, Self::Pusher];

    /// Its name where a channel's state is told.
    pub fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::LongPoll => "long_poll",
            Self::Pusher => "pusher",
        }
    }

    /// The road of a form.
    pub fn of(form: WireForm) -> Self {
        match form {
            WireForm::WebSocket
            | WireForm::Envelope
            | WireForm::WebSocketDeflate
            | WireForm::EnvelopeDeflate
            | WireForm::NamedEnvelope
            | WireForm::NamedEnvelopeDeflate
            | WireForm::LiveView => Self::WebSocket,
            WireForm::EventStream
            | WireForm::EventStreamEnvelope
            | WireForm::NamedEventStream
            | WireForm::LiveViewStream => Self::Sse,
            WireForm::LongPoll | WireForm::NamedLongPoll | WireForm::LiveViewPoll => Self::LongPoll,
            WireForm::Pusher | WireForm::PusherDeflate | WireForm::PusherStream => Self::Pusher,
        }
    }
}

/// How many subscribers of a channel come by each road.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roads([u32; Road::ALL.len()]);

impl Roads {
    /// One more.
    pub fn add(&mut self, road: Road) {
        self.0[road as usize] += 1;
    }

    /// One less.
    pub fn remove(&mut self, road: Road) {
        self.0[road as usize] -= 1;
    }

    /// How many come by this one.
    pub fn of(&self, road: Road) -> u32 {
        self.0[road as usize]
    }
}
