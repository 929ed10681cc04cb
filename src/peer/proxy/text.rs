//! Version 1 of the PROXY protocol: a line of words.
//!
//! Where the line ends in what is received is not decided here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bad_header::BadHeader;

/// What a line begins with.
pub const PREFIX: &[u8] = b"PROXY ";

/// The longest line, with its end (§2.1 of the protocol): "So a 108-byte buffer is always enough to store all the line and a
/// trailing zero".
pub const LINE_LEN_MAX: usize = 107;

/// What a line ends with.
pub const END: &[u8] = b"\r\n";

/// The client's address according to a line without its end. `None`: the proxy does not say.
///
/// # Errors
/// [`BadHeader::Line`].
pub fn client(line: &[u8]) -> Result<Option<IpAddr>, BadHeader> {
    let words = line.strip_prefix(PREFIX).ok_or(BadHeader::Line)?;
    // §2.1: "the receiver must ignore anything presented before the CRLF is found" after UNKNOWN.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    addresses(words).map(Some).ok_or(BadHeader::Line)
}

/// §2.1: the protocol, the address of the client, that which it connected to, and the ports, "exactly one space" between.
fn addresses(words: &[u8]) -> Option<IpAddr> {
    let words: Vec<&str> = str::from_utf8(words).ok()?.split(' ').collect();
    let &[protocol, client, own, client_port, own_port] = words.as_slice() else { return None };
    let (client, _) = match protocol {
        "TCP4" => (IpAddr::from(client.parse::<Ipv4Addr>().ok()?), own.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => {
            (IpAddr::from(client.parse::<Ipv6Addr>().ok()?), IpAddr::from(own.parse::<Ipv6Addr>().ok()?))
        }
        _ => return None,
    };
    (is_port(client_port) && is_port(own_port)).then_some(client)
}

/// §2.1: "a decimal integer in the range [0..65535] inclusive", without a heading zero.
fn is_port(word: &str) -> bool {
    let is_decimal =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    is_decimal && word.parse::<u16>().is_ok()
}
