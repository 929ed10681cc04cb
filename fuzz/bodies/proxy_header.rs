//! `HeaderReader` in any cut against a model that has the whole beginning of the connection.
//!
//! May be refused: what the protocol's text forbids, which the model reads again. All of it must be.
//!
//! Input: how the bytes are made (1 byte: even, as they stand; odd, a header with changes), cuts, then the bytes, or the
//! changes.

use std::net::IpAddr;

use arbitrary::Unstructured;
use fanfare::peer::proxy::{Header, HeaderReader};

use super::input::{byte, cuts, pick, pieces, up_to};

/// Longer inputs are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

/// The longest line, with its end.
const LINE_LEN_MAX: usize = 107;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let kind = byte(&mut input);
    let sizes = cuts(&mut input);
    let bytes = match kind % 4 {
        1 => line(&mut input),
        3 => binary(&mut input),
        _ => up_to(&mut input, usize::MAX).to_vec(),
    };
    let whole = see(&[&bytes]);
    assert_eq!(see(&pieces(&bytes, sizes)), whole, "in pieces of {sizes:?}");
    if bytes.len() <= BY_BYTE_LEN_MAX {
        assert_eq!(see(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    }
    assert_eq!(whole, expected(&bytes), "{bytes:02x?}");
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// More bytes are needed.
    Waits,
    Refused,
    /// The length of the header, and the client.
    Said(usize, Option<IpAddr>),
}

fn see(pieces: &[&[u8]]) -> Seen {
    let (mut reader, mut len) = (HeaderReader::new(), 0);
    for piece in pieces {
        match reader.receive(piece) {
            Ok(None) => len += piece.len(),
            Ok(Some(Header { used_len, client })) => {
                assert!(used_len <= piece.len() && used_len > 0);
                return Seen::Said(len + used_len, client);
            }
            Err(_) => return Seen::Refused,
        }
        assert!(reader.held_len() <= 256, "{} held", reader.held_len());
    }
    Seen::Waits
}

fn expected(bytes: &[u8]) -> Seen {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
    if begins(b"PROXY ") {
        let within = &bytes[..bytes.len().min(LINE_LEN_MAX)];
        match (within.windows(2).position(|pair| pair == b"\r\n"), bytes.len()) {
            (Some(len), _) if len >= 6 => match client_of_line(&bytes[6..len]) {
                Some(client) => Seen::Said(len + 2, client),
                None => Seen::Refused,
            },
            (_, LINE_LEN_MAX..) => Seen::Refused,
            _ => Seen::Waits,
        }
    } else if begins(SIGNATURE) {
        if bytes.len() < 16 { Seen::Waits } else { binary_expected(bytes) }
    } else {
        Seen::Refused
    }
}

fn client_of_line(words: &[u8]) -> Option<Option<IpAddr>> {
    let words: Vec<&[u8]> = words.split(|&byte| byte == b' ').collect();
    if words[0] == b"UNKNOWN" {
        return Some(None);
    }
    let is_wide = match words[0] {
        b"TCP4" => false,
        b"TCP6" => true,
        _ => return None,
    };
    if words.len() != 5 {
        return None;
    }
    let address = |word: &[u8]| {
        let address: IpAddr = std::str::from_utf8(word).ok()?.parse().ok()?;
        (address.is_ipv6() == is_wide).then_some(address)
    };
    let port = |word: &[u8]| {
        let port: u16 = std::str::from_utf8(word).ok()?.parse().ok()?;
        // Written back, it is the same: no signs, no heading zeros.
        (port.to_string().as_bytes() == word).then_some(port)
    };
    (address(words[2]).is_some() && port(words[3]).is_some() && port(words[4]).is_some())
        .then(|| address(words[1]).map(|client| Some(client.to_canonical())))?
}

fn binary_expected(bytes: &[u8]) -> Seen {
    let len = usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    let needed = match (bytes[12], bytes[13]) {
        (0x20, _) | (0x21, 0) => 0,
        (0x21, 0x11 | 0x12) => 12,
        (0x21, 0x21 | 0x22) => 36,
        (0x21, 0x31 | 0x32) => 216,
        _ => return Seen::Refused,
    };
    if len < needed {
        return Seen::Refused;
    }
    if bytes.len() < 16 + len {
        return Seen::Waits;
    }
    let client = match needed {
        12 => Some(IpAddr::from(<[u8; 4]>::try_from(&bytes[16..20]).expect("there are 4"))),
        36 => Some(IpAddr::from(<[u8; 16]>::try_from(&bytes[16..32]).expect("there are 16")).to_canonical()),
        _ => None,
    };
    Seen::Said(16 + len, client)
}

const WORDS: [&str; 20] = [
    "TCP4",
    "TCP6",
    "UNKNOWN",
    "1.2.3.4",
    "::1",
    "::ffff:1.2.3.4",
    "443",
    "0",
    "65536",
    "007",
    "+7",
    "",
    "UDP4",
    "1.2.3.256",
    "1.2.3",
    "fe80::1%lo",
    "2001:db8::ffff",
    "65535",
    "\r",
    "\n",
];

/// A line of words; most inputs have a word too many or a wrong one.
fn line(input: &mut Unstructured) -> Vec<u8> {
    let mut line = b"PROXY".to_vec();
    for _ in 0..byte(input) % 8 {
        line.push(if byte(input) < 250 { b' ' } else { b'\t' });
        line.extend_from_slice(pick(input, &WORDS).as_bytes());
    }
    line.extend_from_slice(pick(input, &[b"\r\n".as_slice(), b"\n", b"\r", b""]));
    line.extend_from_slice(up_to(input, usize::MAX));
    line
}

fn binary(input: &mut Unstructured) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    if byte(input) > 250 {
        let at = usize::from(byte(input)) % header.len();
        header[at] = byte(input);
    }
    header.push(pick(input, &[0x21, 0x21, 0x21, 0x20, 0x22, 0x11, 0x2f, 0x01]));
    header.push(pick(input, &[0x11, 0x21, 0x12, 0x22, 0x31, 0x32, 0x00, 0x10, 0x01, 0x13, 0x41, 0xff]));
    let len = u16::from(byte(input)) + 256 * u16::from(byte(input) / 128) * u16::from(byte(input));
    header.extend_from_slice(&len.to_be_bytes());
    let given = up_to(input, usize::MAX);
    header.extend_from_slice(given);
    // As many as announced, and more, or cut.
    let missing = usize::from(len).saturating_sub(given.len());
    header.resize(header.len() + if len % 7 == 0 { missing / 2 } else { missing }, 0x5a);
    header
}
