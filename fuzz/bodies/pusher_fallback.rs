//! The HTTP transports of pusher-js: what a client posts against serde_json, and a session against a client that does what
//! pusher-js does: it gets every message once and in order, whatever carries the session and however the bytes come.
//!
//! Input: the length of a body (1 byte) and the body, which is read as a post and as a message. Then operations until it is
//! used up: 1 byte that says which, and 1 byte that says how much.

use arbitrary::Unstructured;
use fanfare::pusher::fallback::path::Transport;
use fanfare::pusher::fallback::session::{Attached, Carriage, STREAM_UNITS_MAX, cut};
use fanfare::pusher::fallback::{MESSAGES_MAX, OPEN, PRELUDE, Posted, message};
use serde_json::Value;

use super::input::{byte, up_to};

const OPERATIONS_MAX: usize = 400;

/// The characters of messages: those that a line escapes in their own ways.
const CHARACTERS: [char; 5] = ['x', '"', '\n', '\u{e9}', '\u{1f600}'];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let len = usize::from(byte(&mut input));
    let body = up_to(&mut input, len);
    check_post(body);
    check_message(&String::from_utf8_lossy(body));
    let mut session = Session::default();
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let (operation, amount) = (byte(&mut input), usize::from(byte(&mut input)));
        match operation % 4 {
            0 => session.publish(amount),
            1 => session.flush(),
            2 if amount % 2 == 0 => session.deliver(amount * amount * 4),
            2 => (0..amount).for_each(|_| session.deliver_line()),
            _ => session.come(if amount % 2 == 0 { Transport::Streaming } else { Transport::Polling }),
        }
    }
    session.finish();
}

fn check_post(body: &[u8]) {
    let texts = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        let texts = value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    let expected = texts.filter(|texts| texts.len() <= MESSAGES_MAX);
    assert_eq!(Posted::parse(body).ok().map(|Posted(messages)| messages), expected);
}

fn check_message(text: &str) {
    let mut line = Vec::new();
    message(&mut line, text);
    assert!(line.is_ascii() && line.iter().filter(|&&byte| byte == b'\n').count() == 1);
    assert_eq!(Posted::parse(&line[1..]), Ok(Posted(vec![text.to_owned()])));
}

/// A session, its client, and what is between them.
#[derive(Default)]
struct Session {
    carriage: Carriage,
    /// Lines that are not written.
    unread: Vec<u8>,
    published: usize,
    /// Written, and not yet with the client.
    wire: Vec<u8>,
    client: Client,
}

/// What pusher-js has of the response that it reads.
#[derive(Default)]
struct Client {
    transport: Option<Transport>,
    buffer: Vec<u8>,
    position: usize,
    opened: usize,
    received: usize,
}

impl Session {
    fn publish(&mut self, amount: usize) {
        let character = CHARACTERS[amount % CHARACTERS.len()];
        let padding = String::from(character).repeat(amount * 40);
        message(&mut self.unread, &format!("{:06}{padding}", self.published));
        self.published += 1;
    }

    fn flush(&mut self) {
        let room = self.carriage.room();
        let len = cut(&self.unread, room);
        assert!(len == 0 || self.unread[len - 1] == b'\n', "lines are whole");
        if len == 0 {
            return;
        }
        self.wire.extend(self.unread.drain(..len));
        self.carriage.wrote(len);
        if self.carriage.transport() == Some(Transport::Polling) {
            self.carriage.detach(len);
        }
    }

    /// The client reads this many bytes more.
    fn deliver(&mut self, len: usize) {
        let len = len.min(self.wire.len());
        self.client.buffer.extend(self.wire.drain(..len));
        let is_full = self.client.read();
        match self.client.transport {
            // It aborts: what is on its way is lost.
            Some(Transport::Streaming) if is_full => {
                assert!(self.wire.is_empty(), "{} bytes are lost", self.wire.len());
                self.client.transport = None;
            }
            Some(Transport::Polling) if self.wire.is_empty() && self.carriage.transport().is_none() => {
                self.client.transport = None;
            }
            Some(Transport::Streaming | Transport::Polling) | None => {}
        }
    }

    /// The client reads one line more, and looks at what it has: it aborts as early as it can.
    fn deliver_line(&mut self) {
        let end = self.wire.iter().position(|&byte| byte == b'\n');
        self.deliver(end.map_or(0, |end| end + 1));
    }

    /// The client comes with a request, if it has none under way.
    fn come(&mut self, transport: Transport) {
        if self.client.transport.is_some() {
            // It would be refused, but for an answer or a full stream that the client has not read to its end.
            return;
        }
        let attached = self.carriage.attach(transport);
        assert_ne!(attached, Attached::Refused, "the client has no other");
        self.client = Client {
            transport: Some(transport),
            opened: self.client.opened,
            received: self.client.received,
            ..Client::default()
        };
        if transport == Transport::Streaming {
            self.wire.extend(PRELUDE);
        }
        if attached == Attached::Opens {
            self.wire.extend(OPEN);
            if transport == Transport::Polling {
                self.carriage.detach(OPEN.len());
            }
        }
    }

    /// All is written and read at last.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            self.flush();
            while !self.wire.is_empty() {
                self.deliver_line();
            }
            if self.client.transport.is_none() {
                if self.unread.is_empty() && self.client.opened == 1 {
                    break;
                }
                self.come(Transport::Streaming);
            } else if self.unread.is_empty() && self.wire.is_empty() && self.client.opened == 1 {
                break;
            }
        }
        assert_eq!((self.client.received, self.client.opened), (self.published, 1));
    }
}

impl Client {
    /// Reads whole lines; whether it has read all, and more than a stream may have.
    fn read(&mut self) -> bool {
        while let Some(len) = self.buffer[self.position..].iter().position(|&byte| byte == b'\n') {
            let line = &self.buffer[self.position..self.position + len];
            self.position += len + 1;
            match line[0] {
                b'o' => self.opened += 1,
                b'h' => {}
                b'a' => {
                    let texts: Vec<String> = serde_json::from_slice(&line[1..]).expect("an array of texts");
                    for text in texts {
                        assert_eq!(text[..6], format!("{:06}", self.received), "in order, and each once");
                        self.received += 1;
                    }
                }
                other => unreachable!("a line of the kind {other}"),
            }
        }
        self.position == self.buffer.len() && self.buffer.len() > STREAM_UNITS_MAX
    }
}
