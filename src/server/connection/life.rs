//! The life of a connection as one enum, and what it owns in each part of it.
//!
//! What is done with it is in the file of each role; transitions are in `mod.rs`, nowhere else.

use super::timeouts::Stage;
use crate::http::{Limits, Request, RequestReader};
use crate::hub::PublicationId;
use crate::server::api::handlers::Intent;
use crate::ws::{Deflate, Protocol, State};

/// The life of a connection, from top to bottom. A long poll is followed by a request; after an upgrade or an event stream
/// there is none.
#[derive(Debug)]
pub enum Life {
    /// Requests and their answers.
    Http(Box<Http>),
    /// A request that is answered when something is published.
    LongPoll(Box<LongPoll>),
    /// Frames, until a Close frame has gone both ways or the peer broke the protocol.
    WebSocket(WebSocket),
    /// Chunks of an answer without an end. What the peer still sends is ignored.
    EventStream(EventStream),
    /// The outbox is sent, then our half of TCP is closed.
    Finishing,
    /// Our half is closed; what the peer still sends is ignored until it closes its own.
    Lingering,
}

/// An HTTP connection.
#[derive(Debug)]
pub struct Http {
    pub reader: RequestReader,
    pub expects: Expects,
    /// The origin whose pages may read the answer to the present request.
    pub allow_origin: Option<Box<str>>,
}

/// What an HTTP connection expects of its peer.
#[derive(Debug)]
pub enum Expects {
    /// A request's head, or the rest of it.
    Head,
    /// Nothing: it is between two requests.
    NextRequest,
    /// The body of a publication.
    Body { intent: Intent, after: After },
    /// Nothing: its publication is to be delivered, which the mailbox tells.
    Delivery { after: After },
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may.
    KeepAlive,
    /// The end of the connection.
    Close,
}

impl Http {
    /// A connection that expects its first request.
    pub fn new() -> Self {
        Self { reader: RequestReader::new(Limits::default()), expects: Expects::Head, allow_origin: None }
    }

    /// What the peer is expected to do.
    pub fn stage(&self) -> Stage {
        match self.expects {
            Expects::Head => Stage::Head,
            Expects::NextRequest => Stage::KeptAlive,
            Expects::Body { .. } | Expects::Delivery { .. } => Stage::Body,
        }
    }

    /// Whether a request has begun and is still to be answered.
    pub fn is_under_way(&self) -> bool {
        !self.reader.is_idle() || self.is_body_awaited() || self.is_delivery_awaited()
    }

    /// Whether the body of a publication is awaited.
    pub fn is_body_awaited(&self) -> bool {
        matches!(self.expects, Expects::Body { .. })
    }

    /// Whether the delivery of a publication is awaited.
    pub fn is_delivery_awaited(&self) -> bool {
        matches!(self.expects, Expects::Delivery { .. })
    }

    /// The bytes that the request under way takes.
    pub fn held_len(&self) -> usize {
        self.reader.held_len()
    }

    /// Bytes that were received and not looked at: of the next request, while this one waits.
    pub fn buffered(&self) -> usize {
        self.reader.buffered()
    }

    /// Keeps bytes for the next request without answering it.
    pub fn receive(&mut self, input: &[u8]) {
        self.reader.receive(input);
    }

    /// The bytes after the request that was answered: of another protocol.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }
}

impl After {
    /// What follows the answer to a request whose body, if it announced one, is not read.
    pub fn of(request: &Request) -> Self {
        if request.keep_alive() && !request.has_body() { Self::KeepAlive } else { Self::Close }
    }
}

/// A long poll that waits.
#[derive(Debug)]
pub struct LongPoll {
    /// The connection that goes on with the next request.
    pub http: Box<Http>,
    /// The publication before the one that is waited for.
    pub since: PublicationId,
    /// What follows the answer.
    pub after: After,
    /// How long it waits.
    pub wait_ms: u32,
}

/// What is left of a long poll that waits no more.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub since: PublicationId,
    pub after: After,
}

impl LongPoll {
    /// What is expected of the peer: nothing, until it is answered.
    pub fn stage(&self) -> Stage {
        Stage::Waiting(self.wait_ms)
    }

    /// The bytes that requests under way take.
    pub fn held_len(&self) -> usize {
        self.http.held_len()
    }

    /// Whether another request came meanwhile.
    pub fn asks_ahead(&self) -> bool {
        self.http.buffered() > 0
    }

    /// Keeps bytes of the next request.
    pub fn receive(&mut self, input: &[u8]) {
        self.http.receive(input);
    }

    /// The HTTP connection, and what the answer needs.
    pub fn into_parts(self) -> (Box<Http>, Ended) {
        let Self { http, since, after, .. } = self;
        (http, Ended { since, after })
    }
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocket {
    pub protocol: Protocol,
    /// What was read and is still to be taken: how far it was is `protocol`'s to know. None once all is.
    pub rest: Option<Box<Rest>>,
    /// The compression that was agreed.
    pub deflate: Option<Deflate>,
    pub awaits: Awaits,
    /// Whether it gets a Close frame as soon as it has been sent all: the server stops.
    pub is_leaving: bool,
}

/// What an open WebSocket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// Nothing: it has given a sign of life.
    Nothing,
    /// A sign of life, since it was sent a ping.
    Pong,
}

/// Bytes that were read and are still to be taken. In a box, so that a connection without any has one word for them.
#[derive(Debug)]
pub struct Rest(pub Box<[u8]>);

impl WebSocket {
    /// What the peer is expected to do.
    pub fn stage(&self) -> Stage {
        match (self.protocol.state(), self.awaits) {
            (State::Open, Awaits::Nothing) => Stage::Open,
            (State::Open, Awaits::Pong) => Stage::Pinged,
            (State::Closing | State::Closed, _) => Stage::Closing,
        }
    }

    /// The bytes that the message under way and the input that is still to be taken hold.
    pub fn held_len(&self) -> usize {
        self.protocol.held_len() + self.rest.as_ref().map_or(0, |rest| rest.0.len())
    }

    /// Whether something that was read is still to be taken.
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// The peer gave a sign of life.
    pub fn heard(&mut self) {
        self.awaits = Awaits::Nothing;
    }
}

/// An event stream.
#[derive(Debug)]
pub struct EventStream {
    /// Whether it is ended as soon as all is sent: the server stops.
    pub is_leaving: bool,
}
