//! The clients: each sends a message, waits until it comes back, and compares every byte.
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

/// What the server does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// It sends it back.
    Echo,
    /// It publishes it to a channel that has no subscriber but the publisher.
    Publish,
}

impl Workload {
    /// The other way of `Display`.
    fn from_word(word: &str) -> Self {
        match word {
            "echo" => Self::Echo,
            "publish" => Self::Publish,
            unknown => unreachable!("the bench names no workload {unknown}"),
        }
    }

    fn path(self, index: usize) -> String {
        match self {
            Self::Echo => "/echo".into(),
            Self::Publish => format!("/channels/inbound-{index}"),
        }
    }
}

/// One word, in a role and in the table.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Publish => "publish",
        })
    }
}

/// Connects, says `ready`, and for every order `exchange K` says `done` as soon as every socket has sent K messages and
/// got each back before it sent the next.
pub fn run(address: &str, workload: &str, sockets: &str, len: &str) {
    let workload = Workload::from_word(workload);
    let sockets: usize = sockets.parse().expect("the number of sockets is a number");
    let payload = text(len.parse().expect("a length is a number"));
    let mut clients: Vec<_> = (0..sockets).map(|index| connect(address, &workload.path(index))).collect();
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    encode_masked_frame(&mut sent, true, Opcode::Text, KEY, &payload);
    encode_frame(&mut expected, Opcode::Text, &payload);
    let mut received = vec![0; expected.len()];
    say("ready");
    for (_, turns) in orders() {
        for _ in 0..turns {
            for client in &mut clients {
                client.write_all(&sent).expect("the server reads");
            }
            for client in &mut clients {
                client.read_exact(&mut received).expect("every message comes back");
                assert!(received == expected, "a message comes back as it was sent");
            }
        }
        say("done");
    }
}

/// ASCII without a period that a power of two divides.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| b'!' + (index % 89) as u8).collect()
}

fn connect(address: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("the server takes this many clients");
    client.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    client.set_nodelay(true).expect("TCP has no delay if told so");
    SockRef::from(&client).set_send_buffer_size(SEND_BUFFER_LEN).expect("the system has room");
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
