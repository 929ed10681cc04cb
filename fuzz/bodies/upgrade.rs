//! `Upgrade::from_request` against the conditions of RFC 6455 §4.2.1, read again from the head as sent.
//!
//! May be refused: a handshake that breaks a condition, with the error of one that it breaks. All of it must
//! be. What the HTTP reader refuses never gets here: that is `request`'s.
//!
//! Input: how the head is made (1 byte: even, as it stands; odd, the valid handshake with changes), then the
//! head, or the changes: method, version, one byte a field of the handshake, then more fields.

use arbitrary::Unstructured;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::http::{Error, Event, Limits, Request, RequestReader, Upgrade, is_upgrade};
use sha1::{Digest, Sha1};

use super::input::{byte, pick, up_to};

/// Behind the head in the same packet: a masked text frame, which must not be lost.
const FIRST_FRAME: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

const FIELDS: [(&str, &str); 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// What the HTTP reader says of a head that it refuses.
const READER_STATUSES: [u16; 5] = [400, 417, 431, 501, 505];

/// Fields that decide, or nearly do.
const OTHER_FIELDS: [(&str, &str); 24] = [
    ("upgrade", "h2c, WebSocket"),
    ("UPGRADE", "websockets"),
    ("Upgrade", "websocket/13"),
    ("connection", "keep-alive, UPGRADE"),
    ("Connection", "close"),
    ("Connection", ",upgrade\t,"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR=="),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSEhIQ=="),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, AQIDBAUGBwgJCgsMDQ4PEA=="),
    ("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC=="),
    ("Sec-WebSocket-Key", "--__IHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "8"),
    ("sec-websocket-version", "13"),
    ("Sec-WebSocket-Version", "13, 8"),
    ("Sec-WebSocket-Version", "013"),
    ("Sec-WebSocket-Protocol", "chat, fanfare.v1.json"),
    ("Sec-WebSocket-Protocol", "Fanfare.v1.json ,, \u{e9}"),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ("Content-Length", "0"),
    ("Content-Length", "5"),
    ("Transfer-Encoding", "chunked"),
    ("Origin", "http://example.com"),
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let changed = byte(&mut input) % 2 == 1;
    let sent = if changed { handshake(&mut input) } else { up_to(&mut input, usize::MAX).to_vec() };
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(&sent);
    reader.receive(FIRST_FRAME);
    match reader.poll() {
        Ok(Some(Event::Head(request))) => {
            let rest = reader.take_rest();
            assert!(rest.ends_with(FIRST_FRAME), "the first frame is kept");
            check(&request, &Asked::of(&[&sent[..], FIRST_FRAME].concat(), rest.len()));
        }
        Ok(Some(Event::Body(body))) => panic!("a body that was not asked for: {body:02x?}"),
        Ok(None) => assert!(!changed, "a handshake is a whole head"),
        Err(error) => assert!(READER_STATUSES.contains(&error.status().code()), "{error:?}"),
    }
}

/// The valid handshake with changes; most bytes change nothing.
fn handshake(input: &mut Unstructured) -> Vec<u8> {
    let method = if byte(input) < 230 { "GET" } else { pick(input, &["POST", "get", "HEAD", "OPTIONS"]) };
    let version = if byte(input) < 230 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut head = format!("{method} /chat {version}\r\n").into_bytes();
    for (name, value) in FIELDS {
        match byte(input) {
            0..200 => put(&mut head, name, value.as_bytes()),
            200..210 => {}
            210..230 => put(&mut head, name, up_to(input, 24)),
            230..240 => put(&mut head, &name.to_uppercase(), value.to_uppercase().as_bytes()),
            240.. => {
                put(&mut head, name, value.as_bytes());
                put(&mut head, &name.to_lowercase(), value.as_bytes());
            }
        }
    }
    while !input.is_empty() {
        let (name, value) = pick(input, &OTHER_FIELDS);
        put(&mut head, name, value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Appends a field; bytes that no value may have become `=`.
fn put(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend(value.iter().map(|&byte| if byte < 0x20 || byte == 0x7f { b'=' } else { byte }));
    head.extend_from_slice(b"\r\n");
}

fn check(request: &Request, asked: &Asked) {
    let broken = asked.broken();
    assert_eq!(is_upgrade(request), !broken.contains(&Error::NotUpgrade));
    match Upgrade::from_request(request) {
        Ok(upgrade) => {
            assert_eq!(broken, [], "taken, but breaks conditions");
            assert_eq!(upgrade.accept(), asked.accept());
            check_response(&upgrade, asked);
        }
        Err(error) => assert!(broken.contains(&error), "refused with {error:?}, but breaks {broken:?}"),
    }
}

/// Only what was offered is chosen, and the 101 says what was agreed and nothing else.
fn check_response(upgrade: &Upgrade, asked: &Asked) {
    let offered = asked.list("sec-websocket-protocol");
    for other in ["fanfare.v1.json", "chat", "", ",", " chat"] {
        assert_eq!(upgrade.offers(other), offered.contains(&other.as_bytes()), "{other:?}");
    }
    let offered = offered.iter().flat_map(|token| str::from_utf8(token));
    for subprotocol in offered.map(Some).chain([None]) {
        let mut out = b"before".to_vec();
        upgrade.encode_response(&mut out, subprotocol, None);
        let line = subprotocol.map(|chosen| format!("Sec-WebSocket-Protocol: {chosen}\r\n"));
        let expected = format!(
            "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{}\r\n",
            asked.accept(),
            line.unwrap_or_default()
        );
        assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }
}

/// The head as sent, in lines and fields.
struct Asked {
    line: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Asked {
    /// The head is what lies before the last `rest_len` bytes.
    fn of(sent: &[u8], rest_len: usize) -> Self {
        let head: Vec<char> = sent[..sent.len() - rest_len].iter().map(|&byte| char::from(byte)).collect();
        let head: String = head.into_iter().collect();
        // One character a byte, so that every head is a string.
        let bytes = |text: &str| text.chars().map(|character| character as u8).collect::<Vec<u8>>();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let line = lines.next().map(bytes).unwrap_or_default();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (bytes(&name.to_ascii_lowercase()), bytes(value.trim_matches([' ', '\t']))));
        Self { line, fields: fields.collect() }
    }

    /// Which conditions are not met: RFC 6455 §4.2.1, and no body.
    fn broken(&self) -> Vec<Error> {
        let keys = self.values("sec-websocket-key");
        let lengths = self.values("content-length").into_iter();
        let is_get = self.line.starts_with(b"GET ");
        let has_body = lengths.into_iter().any(|length| length.iter().any(|&digit| digit != b'0'))
            || !self.values("transfer-encoding").is_empty();
        let conditions = [
            (self.lists("upgrade", "websocket"), Error::NotUpgrade),
            (is_get, Error::UpgradeMethod),
            (self.line.ends_with(b" HTTP/1.1"), Error::UpgradeVersion),
            (!has_body, Error::UpgradeBody),
            (self.lists("connection", "upgrade"), Error::UpgradeConnection),
            (self.values("sec-websocket-version") == [b"13"], Error::WebSocketVersion),
            (!keys.is_empty(), Error::KeyMissing),
            (keys.len() < 2, Error::KeyRepeated),
            (keys.len() != 1 || is_sixteen_bytes(keys[0]), Error::KeyInvalid),
        ];
        conditions.into_iter().filter(|(is_met, _)| !is_met).map(|(_, error)| error).collect()
    }

    /// RFC 6455 §4.2.2, item 5.4.
    fn accept(&self) -> String {
        let key = self.values("sec-websocket-key").concat();
        let hash = Sha1::digest([&key[..], b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
        STANDARD.encode(hash)
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).iter().any(|listed| listed.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn list(&self, name: &str) -> Vec<&[u8]> {
        let values = self.values(name).into_iter();
        let listed = values.flat_map(|value| value.split(|&byte| byte == b','));
        listed.map(<[u8]>::trim_ascii).filter(|listed| !listed.is_empty()).collect()
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(other, _)| other == name.as_bytes());
        named.map(|(_, value)| &value[..]).collect()
    }
}

/// RFC 4648 §4: 22 characters are 16 bytes and 4 bits over, and two `=` stand for the rest of the last group.
fn is_sixteen_bytes(key: &[u8]) -> bool {
    let Some(characters) = key.strip_suffix(b"==") else { return false };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    characters.len() == 22 && characters.iter().all(is_base64)
}
