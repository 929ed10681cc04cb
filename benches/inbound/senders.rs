//! The clients: each sends a message, waits until it comes back, and compares every byte; or sends a body, and waits for
//! the answer.
//!
//! Who serves them is not known here.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::ws::{Opcode, encode_frame, encode_masked_frame};
use socket2::SockRef;

use crate::support::{orders, say};

/// The role of a process with clients: `senders ADDRESS WORKLOAD SOCKETS LEN`.
pub const ROLE: &str = "senders";

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client that waits longer than this has lost bytes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Room for the longest message in the system: a client writes to all of its sockets before it reads from any, and must
/// not wait for a server that waits for it.
const SEND_BUFFER_LEN: usize = 256 * 1024;

/// More than the head and the body of an answer to a POST have.
const ANSWER_LEN_MAX: usize = 1024;

/// What the server does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// It sends it back.
    Echo,
    /// It publishes it to a channel that has no subscriber but the publisher.
    Publish,
    /// A session of a program publishes it to a channel that it has subscribed to, and nobody else.
    Room,
    /// It comes as the body of a POST on a connection that is kept, and is published to a channel without subscribers.
    Post,
}

/// What a POST begins with, up to the number of its channel.
const POST_START: &str = "POST /channels/inbound-";

/// A number has as many digits, so that all requests have one length.
const NUMBER_LEN: usize = 4;

/// The request of the first client; the others' differ in the number.
pub fn post(payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "{POST_START}{:0NUMBER_LEN$} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n",
        0,
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

impl Workload {
    /// The other way of `Display`.
    pub fn from_word(word: &str) -> Self {
        match word {
            "echo" => Self::Echo,
            "publish" => Self::Publish,
            "room" => Self::Room,
            "post" => Self::Post,
            unknown => unreachable!("the bench names no workload {unknown}"),
        }
    }

    fn path(self, index: usize) -> String {
        match self {
            Self::Echo => "/echo".into(),
            Self::Room => format!("/rooms/inbound-{index}"),
            Self::Publish | Self::Post => format!("/channels/inbound-{index}"),
        }
    }
}

/// One word, in a role and in the table.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Publish => "publish",
            Self::Room => "room",
            Self::Post => "post",
        })
    }
}

/// Connects, says `ready`, and for every order `exchange K` says `done` as soon as every socket has sent K messages and
/// got each back before it sent the next.
pub fn run(address: &str, workload: &str, sockets: &str, len: &str) {
    let workload = Workload::from_word(workload);
    let sockets: usize = sockets.parse().expect("the number of sockets is a number");
    let payload = text(len.parse().expect("a length is a number"));
    let mut clients: Vec<_> = (0..sockets).map(|index| connect(address, workload, index)).collect();
    let mut exchange = Exchange::new(workload, &payload);
    say("ready");
    for (_, turns) in orders() {
        for _ in 0..turns {
            for (index, client) in clients.iter_mut().enumerate() {
                exchange.send(client, index);
            }
            for client in &mut clients {
                exchange.receive(client);
            }
        }
        say("done");
    }
}

/// What a client sends and gets.
struct Exchange {
    workload: Workload,
    sent: Vec<u8>,
    /// A message that comes back; the answer to a POST begins with it.
    expected: Vec<u8>,
    received: Vec<u8>,
}

impl Exchange {
    fn new(workload: Workload, payload: &[u8]) -> Self {
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        match workload {
            Workload::Echo | Workload::Publish | Workload::Room => {
                encode_masked_frame(&mut sent, true, Opcode::Text, KEY, payload);
                encode_frame(&mut expected, Opcode::Text, payload);
            }
            Workload::Post => {
                sent = post(payload);
                expected.extend_from_slice(b"HTTP/1.1 200 ");
            }
        }
        let received = vec![0; expected.len().max(ANSWER_LEN_MAX)];
        Self { workload, sent, expected, received }
    }

    fn send(&mut self, client: &mut TcpStream, index: usize) {
        if self.workload == Workload::Post {
            let number = format!("{index:0NUMBER_LEN$}");
            self.sent[POST_START.len()..][..NUMBER_LEN].copy_from_slice(number.as_bytes());
        }
        client.write_all(&self.sent).expect("the server reads");
    }

    fn receive(&mut self, client: &mut TcpStream) {
        let received = match self.workload {
            Workload::Echo | Workload::Publish | Workload::Room => {
                let received = &mut self.received[..self.expected.len()];
                client.read_exact(received).expect("every message comes back");
                &received[..]
            }
            Workload::Post => read_answer(client, &mut self.received),
        };
        match self.workload {
            Workload::Echo | Workload::Publish | Workload::Room => {
                assert!(received == self.expected, "a message comes back as it was sent");
            }
            Workload::Post => assert!(received.starts_with(&self.expected), "{}", received.escape_ascii()),
        }
    }
}

/// Reads to the end of an answer: that of its line of JSON.
fn read_answer<'a>(client: &mut TcpStream, room: &'a mut [u8]) -> &'a [u8] {
    let mut len = 0;
    while !room[..len].ends_with(b"}\n") {
        let read_len = client.read(&mut room[len..]).expect("every request is answered");
        assert!(read_len > 0, "a connection is kept: {}", room[..len].escape_ascii());
        len += read_len;
    }
    &room[..len]
}

/// ASCII without a period that a power of two divides.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| b'!' + (index % 89) as u8).collect()
}

fn connect(address: &str, workload: Workload, index: usize) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("the server takes this many clients");
    client.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    client.set_nodelay(true).expect("TCP has no delay if told so");
    SockRef::from(&client).set_send_buffer_size(SEND_BUFFER_LEN).expect("the system has room");
    if workload == Workload::Post {
        return client;
    }
    let path = workload.path(index);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(request.as_bytes()).expect("the server reads the request");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).expect("the server answers");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    client
}
