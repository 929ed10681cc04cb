//! What a model expects to see of a connection: the events, and the answers to them.
//!
//! How the connection ends is each model's own.

use std::borrow::Cow;

use fanfare::ws::{CloseFrame, Event, Message, MessageKind};

/// What is to be seen of a connection.
#[derive(Debug)]
pub struct Expected<End> {
    pub events: Vec<Event<'static>>,
    /// Pongs, and the answer to a Close frame; without the Close frame for a fault.
    pub outbox: Vec<u8>,
    pub end: End,
}

impl<End> Expected<End> {
    /// Nothing yet.
    pub fn new(end: End) -> Self {
        Self { events: Vec::new(), outbox: Vec::new(), end }
    }

    pub fn message(&mut self, kind: MessageKind, payload: Vec<u8>) {
        self.events.push(Event::Message(Message { kind, payload: Cow::Owned(payload) }));
    }

    /// A Ping frame, which is answered with its payload (RFC 6455 §5.5.3).
    pub fn ping(&mut self, payload: &[u8]) {
        self.events.push(Event::Ping);
        self.outbox.extend([0x8a, payload.len() as u8]);
        self.outbox.extend(payload);
    }

    /// A Close frame, which is answered with its code (RFC 6455 §5.5.1).
    pub fn close(&mut self, said: Option<CloseFrame>) {
        let code = said.as_ref().map(|said| said.code.as_u16().to_be_bytes());
        let code = code.as_ref().map_or(&[][..], |code| code);
        self.outbox.extend([0x88, code.len() as u8]);
        self.outbox.extend(code);
        self.events.push(Event::Close(said));
    }
}
