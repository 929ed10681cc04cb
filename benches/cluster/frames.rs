//! WebSocket clients, blocking: the handshake, and frames in and out.
//!
//! What is in the frames is not known here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::ws::{Opcode, encode_masked_frame};

/// A client that waits longer than this has lost bytes.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A TCP connection of a client.
pub fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server takes this many clients");
    socket.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    socket.set_nodelay(true).expect("TCP has this option");
    socket
}

/// A WebSocket at a path; of envelopes if asked.
pub fn upgrade(address: &str, path: &str, protocol: Option<&str>) -> TcpStream {
    let mut socket = connect(address);
    let protocol = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    );
    socket.write_all(request.as_bytes()).expect("the server reads the request");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).expect("the server answers");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    socket
}

/// A text as a client sends it.
pub fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked_frame(&mut out, true, Opcode::Text, KEY, text.as_bytes());
    out
}

/// What has come of a socket, and what of it was taken.
pub struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0 }
    }

    /// The next message.
    pub fn next(&mut self, socket: &mut TcpStream) -> &[u8] {
        let (begin, end) = loop {
            match frame(&self.bytes[self.taken..]) {
                Some((begin, end)) => break (self.taken + begin, self.taken + end),
                None => self.read(socket),
            }
        };
        self.taken = end;
        &self.bytes[begin..end]
    }

    fn read(&mut self, socket: &mut TcpStream) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let mut piece = [0; 64 * 1024];
        let len = socket.read(&mut piece).expect("the server sends what it owes");
        assert!(len > 0, "the server closed the connection");
        self.bytes.extend_from_slice(&piece[..len]);
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
