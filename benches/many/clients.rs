//! Clients of `/channels`: they join channels by commands, and check every message of each.
//!
//! When they are told to do what is decided in `main`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::ws::{Opcode, encode_masked_frame};

use crate::support::{Payload, orders, say};

/// The role of a process with these clients: `many ADDRESS COUNT CHANNELS PAYLOAD`.
pub const ROLE: &str = "many";

/// The order to publish messages, the first to the first channel and so on, as far as there are channels, then from the
/// first again.
pub const SPREAD: &str = "spread";

/// The most channels of a client, and the most that a command lists.
pub const CHANNELS_MAX: usize = 100;

/// A client that waits longer than this has lost bytes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Masks what clients send.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How a client joins channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// By one command, and leaves by another.
    AtOnce,
    /// By a command for each.
    OneByOne,
}

impl Joining {
    /// The order to join channels and to leave them.
    pub fn order(self) -> &'static str {
        match self {
            Self::AtOnce => "join-at-once",
            Self::OneByOne => "join-one-by-one",
        }
    }

    /// What a client sends to join channels, or to leave them: the event, and how a channel is listed in it.
    fn commands(self, event: &str, channels: usize, item: fn(&str) -> String) -> Vec<u8> {
        let names: Vec<_> = (0..channels).map(|channel| item(&name(channel))).collect();
        let part = match self {
            Self::AtOnce => channels.max(1),
            Self::OneByOne => 1,
        };
        let mut out = Vec::new();
        for names in names.chunks(part) {
            let text = format!(r#"{{"event":"fanfare:{event}","data":[{}]}}"#, names.join(","));
            encode_masked_frame(&mut out, true, Opcode::Text, KEY, text.as_bytes());
        }
        out
    }
}

/// Connects, joins, says `ready`, and obeys orders. Each is answered with `done`.
pub fn run(address: &str, count: &str, channels: &str, payload: &str) {
    let Ok(payload) = payload.parse();
    let count: usize = count.parse().expect("the number of clients is a number");
    let channels: usize = channels.parse().expect("the number of channels is a number");
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(address)).collect();
    let mut publisher = Publisher::connect(address);
    for client in &mut clients {
        client.join(Joining::AtOnce, channels);
        client.hear_each("subscribed", channels);
    }
    say("ready");
    for (order, number) in orders() {
        match order.as_str() {
            SPREAD => spread(&mut publisher, &mut clients, channels, &texts(payload, number)),
            order => {
                let joinings = [Joining::AtOnce, Joining::OneByOne];
                let joining = joinings.into_iter().find(|joining| joining.order() == order);
                come_and_go(&mut clients, joining.expect("the bench gives no other order"), number);
            }
        }
        say("done");
    }
}

fn texts(payload: Payload, count: usize) -> Vec<String> {
    (0..count).map(|index| String::from_utf8(payload.bytes(index)).expect("JSON is text")).collect()
}

/// Publishes all at once, and has every client read all of it.
fn spread(publisher: &mut Publisher, clients: &mut [Client], channels: usize, payloads: &[String]) {
    publisher.publish(channels, payloads);
    // This process sleeps until the one that is written to last has everything: it takes no core from the server.
    for client in clients.iter_mut().rev() {
        let mut counts = vec![0; channels];
        for _ in payloads {
            let text = client.next_text();
            let (channel, payload) = parts(&text);
            assert_eq!(
                payload,
                payloads[counts[channel] * channels + channel],
                "each channel in order: {text}"
            );
            counts[channel] += 1;
        }
    }
}

/// Has every client join channels, and then leave them.
fn come_and_go(clients: &mut [Client], joining: Joining, channels: usize) {
    clients.iter_mut().for_each(|client| client.join(joining, channels));
    clients.iter_mut().rev().for_each(|client| client.hear_each("subscribed", channels));
    clients.iter_mut().for_each(|client| client.leave(joining, channels));
    clients.iter_mut().rev().for_each(|client| client.hear_each("unsubscribed", channels));
}

/// The name of a channel. All are of one length.
fn name(channel: usize) -> String {
    format!("c{channel:02}")
}

/// The number of the channel of an envelope, and its payload.
fn parts(envelope: &str) -> (usize, &str) {
    let parts = envelope.strip_prefix("{\"channel\":\"c").and_then(|rest| {
        let (channel, rest) = rest.split_once("\",\"id\":\"")?;
        let (_, payload) = rest.split_once("\",\"data\":")?;
        Some((channel.parse().ok()?, payload.strip_suffix('}')?))
    });
    parts.unwrap_or_else(|| panic!("an envelope names channel, id and data: {envelope}"))
}

/// A connection that publishes batches: the server reads one whole before it publishes any of it, so that all of it leaves in
/// the same turn.
struct Publisher {
    socket: TcpStream,
}

impl Publisher {
    fn connect(address: &str) -> Self {
        Self { socket: connect(address) }
    }

    fn publish(&mut self, channels: usize, payloads: &[String]) {
        let items = payloads.iter().enumerate().map(|(index, payload)| {
            format!(r#"{{"channel":"{}","data":{payload}}}"#, name(index % channels))
        });
        let body = format!("[{}]", items.collect::<Vec<_>>().join(","));
        let head = "POST /channels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.socket.write_all(request.as_bytes()).expect("the server reads its publisher");
        let mut answer = Vec::new();
        let mut piece = [0; 16 * 1024];
        while !answer.ends_with(b"]}\n") {
            let len = self.socket.read(&mut piece).expect("the server answers");
            assert!(len > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..len]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server takes this many clients");
    socket.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    socket.set_nodelay(true).expect("TCP has this option");
    socket
}

/// A client's socket, and what has come of the messages that are not whole yet.
struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let mut socket = connect(address);
        let request = format!(
            "GET /channels HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).expect("the server reads the request");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).expect("the server answers");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self { socket, bytes: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads its clients");
    }

    fn join(&mut self, joining: Joining, channels: usize) {
        self.send(&joining.commands("subscribe", channels, |name| format!(r#"{{"channel":"{name}"}}"#)));
    }

    fn leave(&mut self, joining: Joining, channels: usize) {
        self.send(&joining.commands("unsubscribe", channels, |name| format!("\"{name}\"")));
    }

    /// Reads an answer for each channel, in their order.
    fn hear_each(&mut self, event: &str, channels: usize) {
        for channel in 0..channels {
            let text = self.next_text();
            let begin = format!(r#"{{"event":"fanfare:{event}","channel":"{}""#, name(channel));
            assert!(text.starts_with(&begin), "{text}");
        }
    }

    /// The next message.
    fn next_text(&mut self) -> String {
        loop {
            if let Some((payload, end)) = frame(&self.bytes) {
                let text = String::from_utf8(self.bytes[payload..end].to_vec()).expect("texts are UTF-8");
                self.bytes.drain(..end);
                return text;
            }
            let mut piece = [0; 32 * 1024];
            let len = self.socket.read(&mut piece).expect("the server sends what it owes");
            assert!(len > 0, "the server closed the connection");
            self.bytes.extend_from_slice(&piece[..len]);
        }
    }
}

/// Where the payload of the first frame begins and ends, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&[first, len], rest) = bytes.split_first_chunk()?;
    assert_eq!(first, 0x81, "a whole text");
    let (begin, len) = match len {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        len => (2, usize::from(len)),
    };
    assert!(len < 127 || begin == 4, "no message is that long");
    (begin + len <= bytes.len()).then_some((begin, begin + len))
}
