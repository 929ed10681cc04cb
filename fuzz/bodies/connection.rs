//! A connection as the bodies that test `Protocol` drive it: reads go in, and all that a server sees is kept.
//!
//! What is to be seen of a wire is not known here.

use std::borrow::Cow;

use fanfare::ws::{Error, Event, Inbound, Message, MessageKind, Protocol, State};

/// `Protocol`, "how to drive this", 6: a call appends no more.
const ANSWER_LEN_MAX: usize = 127;

/// All that a server sees of a connection, and what the peer is told.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub events: Vec<Event<'static>>,
    pub error: Option<Error>,
    pub outbox: Vec<u8>,
    pub state: State,
}

impl Seen {
    /// Before the first read.
    pub fn new() -> Self {
        Self { events: Vec::new(), error: None, outbox: Vec::new(), state: State::Open }
    }

    /// Drives the protocol over one read as its type doc says; messages have at most `len_max` bytes.
    pub fn receive(&mut self, protocol: &mut Protocol, read: &[u8], len_max: u64) {
        let mut bytes = read.to_vec();
        let mut input = &mut bytes[..];
        loop {
            let outbox_len = self.outbox.len();
            let received = protocol.receive(&mut input, &mut self.outbox);
            assert!(self.outbox.len() - outbox_len <= ANSWER_LEN_MAX);
            match received {
                // Where a step ends depends on the cut: the server sees nothing of it.
                Ok(Some(Event::Inflating)) => {}
                Ok(Some(event)) => self.events.push(owned(event, len_max)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(self.error.replace(error), None, "a connection fails once");
                    assert_eq!((protocol.state(), protocol.held_len()), (State::Closed, 0));
                }
            }
        }
        assert!(input.is_empty(), "all is consumed");
    }
}

/// Messages of at most this many bytes are taken.
pub const fn limit(message_len_max: u64) -> Inbound {
    Inbound::Accept { message_len_max }
}

/// The most bytes of a message that is taken.
pub fn message_len_max(inbound: Inbound) -> u64 {
    match inbound {
        Inbound::Accept { message_len_max } => message_len_max,
        Inbound::Refuse => 0,
    }
}

/// The event with its payload copied, which is checked.
fn owned(event: Event<'_>, len_max: u64) -> Event<'static> {
    match event {
        Event::Message(Message { kind, payload }) => {
            assert!(payload.len() as u64 <= len_max, "{} bytes are over the limit", payload.len());
            assert!(kind == MessageKind::Binary || str::from_utf8(&payload).is_ok(), "a text is UTF-8");
            Event::Message(Message { kind, payload: Cow::Owned(payload.into_owned()) })
        }
        Event::Inflating => unreachable!("it is passed over"),
        Event::Ping => Event::Ping,
        Event::Pong => Event::Pong,
        Event::Close(close) => Event::Close(close),
    }
}
