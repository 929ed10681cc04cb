//! What a number of clients read: which payloads, and in which form.
//!
//! Nothing is sent here.

use std::fmt;

use fanfare::config::Config;
use fanfare::hub::PublicationId;
use fanfare::ws::{
    Deflater, Opcode, WINDOW_BITS_MAX, encode_compressed_frame, encode_frame, encode_masked_frame,
};

use super::CHANNEL;
use super::payload::Payload;

/// The key of the app that Pusher clients connect to, that of development mode.
const APP_KEY: &str = "app-key";

/// The fields of a WebSocket handshake.
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Masks what clients send.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const PLAIN: &str = "plain";
const LINES: &str = "lines";
const ENVELOPES: &str = "envelopes";
const LONG_POLL: &str = "long-poll";
const AS_PUSHER: &str = "as-pusher";

/// What the word of a Pusher client begins with; the number of its channels follows.
const PUSHER: &str = "pusher-";

/// The same for a client of `/channels`.
const MANY: &str = "many-";

/// How messages come to the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// WebSocket frames with the payload and nothing else.
    WebSocket {
        /// From how many bytes on they come compressed; `None`: the clients do not offer permessage-deflate.
        deflate_len_min: Option<u64>,
    },
    /// Events whose data is the payload.
    EventStream,
    /// Events whose data is an envelope.
    EventStreamEnvelope,
    /// One answer to a request that waits for it.
    LongPoll,
    /// WebSocket frames that are those of a Pusher client byte by byte: its messages are what is published.
    #[allow(dead_code)] // one bench compares with them
    WebSocketAsPusher,
    /// As a Pusher client, over WebSocket.
    Pusher {
        /// How many channels each client subscribes to. The first is [`CHANNEL`], and nothing is published to the others.
        channels: usize,
    },
    /// As a client that joins channels by commands, over WebSocket.
    #[allow(dead_code)] // one bench measures them
    Many {
        /// As for a Pusher client.
        channels: usize,
    },
}

/// What a client sends to subscribe to its channels.
pub struct Subscriptions {
    pub messages: Vec<u8>,
    /// What is in the answer for each channel.
    pub answer: &'static str,
    /// How many there are.
    pub count: usize,
    /// How the last one ends.
    pub end: &'static str,
}

impl Form {
    /// WebSocket without compression.
    pub const WEBSOCKET: Self = Self::WebSocket { deflate_len_min: None };

    /// The other way of `Display`.
    fn from_word(word: &str) -> Self {
        if let Some(channels) = word.strip_prefix(PUSHER) {
            return Self::Pusher { channels: channels.parse().expect("a number of channels") };
        }
        if let Some(channels) = word.strip_prefix(MANY) {
            return Self::Many { channels: channels.parse().expect("a number of channels") };
        }
        match word {
            PLAIN => Self::WEBSOCKET,
            LINES => Self::EventStream,
            ENVELOPES => Self::EventStreamEnvelope,
            LONG_POLL => Self::LongPoll,
            AS_PUSHER => Self::WebSocketAsPusher,
            len => {
                let len_min = len.parse().expect("a form is a word or a number of bytes");
                Self::WebSocket { deflate_len_min: Some(len_min) }
            }
        }
    }

    /// How a client asks for it.
    pub fn request(self, address: &str) -> String {
        let (query, fields) = match self {
            Self::WebSocket { deflate_len_min } => {
                let extensions = deflate_len_min.map(|_| "Sec-WebSocket-Extensions: permessage-deflate\r\n");
                ("", format!("{UPGRADE}{}", extensions.unwrap_or_default()))
            }
            Self::WebSocketAsPusher => ("", UPGRADE.to_owned()),
            Self::Pusher { .. } => {
                return format!("GET /app/{APP_KEY}?protocol=7 HTTP/1.1\r\nHost: {address}\r\n{UPGRADE}\r\n");
            }
            Self::Many { .. } => {
                let fields = format!("{UPGRADE}Sec-WebSocket-Protocol: fanfare.v1.json\r\n");
                return format!("GET /channels HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
            }
            Self::EventStream => ("", "Accept: text/event-stream\r\n".into()),
            Self::EventStreamEnvelope => {
                ("?protocol=fanfare.v1.json", "Accept: text/event-stream\r\n".into())
            }
            Self::LongPoll => ("?wait=50", String::new()),
        };
        format!("GET /channels/{CHANNEL}{query} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n")
    }

    /// How what the server says at once begins and ends.
    pub fn greeting(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::WebSocket { .. } | Self::WebSocketAsPusher | Self::Many { .. } => {
                Some(("HTTP/1.1 101 ", "\r\n\r\n"))
            }
            // The end of a chunk that ends an event: where the stream begins.
            Self::EventStream | Self::EventStreamEnvelope => Some(("HTTP/1.1 200 ", "\n\n\r\n")),
            Self::LongPoll => None,
            // The end of the message that says the socket id.
            Self::Pusher { .. } => Some(("HTTP/1.1 101 ", "}\"}")),
        }
    }

    /// The messages by which a client subscribes to its channels, if it comes without one.
    pub fn subscriptions(self) -> Option<Subscriptions> {
        let name = |index| if index == 0 { CHANNEL.to_owned() } else { format!("{CHANNEL}-{index}") };
        let item = |index| format!(r#"{{"channel":"{}"}}"#, name(index));
        let mut messages = Vec::new();
        let mut send = |event: &str, data: &str| {
            let message = format!(r#"{{"event":"{event}","data":{data}}}"#);
            encode_masked_frame(&mut messages, true, Opcode::Text, KEY, message.as_bytes());
        };
        let (count, answer, end) = match self {
            Self::Pusher { channels } => {
                (0..channels).for_each(|index| send("pusher:subscribe", &item(index)));
                (channels, "pusher_internal:subscription_succeeded", "\"{}\"}")
            }
            Self::Many { channels } => {
                let items: Vec<_> = (0..channels).map(item).collect();
                send("fanfare:subscribe", &format!("[{}]", items.join(",")));
                (channels, "fanfare:subscribed", "\"}}")
            }
            Self::WebSocket { .. }
            | Self::EventStream
            | Self::EventStreamEnvelope
            | Self::LongPoll
            | Self::WebSocketAsPusher => return None,
        };
        Some(Subscriptions { messages, answer, count, end })
    }
}

/// One word, in a role.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket { deflate_len_min: None } => f.write_str(PLAIN),
            Self::WebSocket { deflate_len_min: Some(len_min) } => write!(f, "{len_min}"),
            Self::EventStream => f.write_str(LINES),
            Self::EventStreamEnvelope => f.write_str(ENVELOPES),
            Self::LongPoll => f.write_str(LONG_POLL),
            Self::WebSocketAsPusher => f.write_str(AS_PUSHER),
            Self::Pusher { channels } => write!(f, "{PUSHER}{channels}"),
            Self::Many { channels } => write!(f, "{MANY}{channels}"),
        }
    }
}

/// One payload in one form. `Display` and [`Feed::from_words`] are its two words in a role.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// What the messages say.
    pub payload: Payload,
    /// How they come.
    pub form: Form,
}

impl Feed {
    /// The other way of `Display`.
    pub fn from_words(payload: &str, form: &str) -> Self {
        let Ok(payload) = payload.parse();
        Self { payload, form: Form::from_word(form) }
    }

    /// `messages` messages as WebSocket clients get them.
    pub fn frames(self, messages: usize) -> Vec<u8> {
        let Form::WebSocket { deflate_len_min } = self.form else {
            unreachable!("what else there is has identifiers: see `delivered`")
        };
        let level = Config::default().deflate_level;
        let mut deflater = Deflater::new(level, WINDOW_BITS_MAX).expect("the library has the largest window");
        let mut out = Vec::new();
        for payload in self.payloads(messages) {
            let deflates = deflate_len_min.is_some_and(|len_min| payload.len() as u64 >= len_min);
            match deflates.then(|| deflater.deflate(&payload)).flatten() {
                Some(deflated) => encode_compressed_frame(&mut out, Opcode::Text, deflated),
                None => encode_frame(&mut out, Opcode::Text, &payload),
            }
        }
        out
    }

    /// `messages` messages as clients get them, the first of which has the identifier `first`. Written out here, not
    /// by the server's encoder.
    pub fn delivered(self, messages: usize, first: PublicationId) -> Vec<u8> {
        let id_of = |index| PublicationId { sequence: first.sequence + index as u64, ..first };
        let texts = self.payloads(messages).map(|payload| String::from_utf8(payload).expect("JSON is text"));
        let with_ids = texts.enumerate().map(|(index, text)| (id_of(index), text));
        let envelope = |(id, text): (PublicationId, String)| format!("{{\"id\":\"{id}\",\"data\":{text}}}");
        match self.form {
            Form::WebSocket { .. } => self.frames(messages),
            Form::EventStream => with_ids.flat_map(|(id, text)| event(id, &text)).collect(),
            Form::EventStreamEnvelope => {
                with_ids.flat_map(|(id, text)| event(id, &envelope((id, text)))).collect()
            }
            Form::WebSocketAsPusher => text_frames(with_ids.map(|(_, text)| text)),
            Form::Pusher { .. } => text_frames(with_ids.map(|(_, text)| pusher_message(&text))),
            Form::Many { .. } => text_frames(with_ids.map(|with_id| {
                let of_channel = format!("{{\"channel\":\"{CHANNEL}\",");
                envelope(with_id).replacen('{', &of_channel, 1)
            })),
            Form::LongPoll => {
                let envelopes: Vec<_> = with_ids.map(envelope).collect();
                let next = id_of(messages - 1);
                format!("{{\"messages\":[{}],\"next\":\"{next}\"}}\n", envelopes.join(",")).into()
            }
        }
    }

    /// The same as a WebSocket sends them to publish them.
    pub fn masked_frames(self, messages: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in self.payloads(messages) {
            encode_masked_frame(&mut out, true, Opcode::Text, KEY, &payload);
        }
        out
    }

    /// The same as requests that publish them.
    pub fn posts(self, messages: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in self.payloads(messages) {
            let head = format!(
                "POST /channels/{CHANNEL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n",
                payload.len()
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&payload);
        }
        out
    }

    fn payloads(self, messages: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..messages).map(move |index| {
            let bytes = self.payload.bytes(index);
            match self.form {
                Form::WebSocketAsPusher => {
                    pusher_message(&String::from_utf8(bytes).expect("JSON is text")).into_bytes()
                }
                Form::WebSocket { .. }
                | Form::EventStream
                | Form::EventStreamEnvelope
                | Form::LongPoll
                | Form::Pusher { .. }
                | Form::Many { .. } => bytes,
            }
        })
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload, self.form)
    }
}

fn text_frames(messages: impl Iterator<Item = String>) -> Vec<u8> {
    let mut out = Vec::new();
    messages.for_each(|message| encode_frame(&mut out, Opcode::Text, message.as_bytes()));
    out
}

/// A publication without an event's name, as Pusher clients get it: JSON in a string.
fn pusher_message(text: &str) -> String {
    let data = serde_json::Value::from(text);
    format!(r#"{{"event":"message","channel":"{CHANNEL}","data":{data}}}"#)
}

/// One event in one chunk.
fn event(id: PublicationId, data: &str) -> Vec<u8> {
    let block = format!("id: {id}\ndata: {data}\n\n");
    format!("{:x}\r\n{block}\r\n", block.len()).into()
}
