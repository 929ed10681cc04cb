//! The opening handshake, server side: RFC 6455 §4.2.
//!
//! Who may connect (Origin, keys) and what is spoken afterwards is not decided here. Nor are extensions: they
//! are `ws`'s to negotiate.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

use super::error::Error;
use super::line::{line, status_line};
use super::request::Request;
use super::status::Status;

/// RFC 6455 §4.1, item 9: "The value of this header field MUST be 13."
pub(super) const WEBSOCKET_VERSION: &str = "13";

/// RFC 6455 §1.3: what a server that does not know WebSocket would not append to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 6455 §4.2.1, item 5: "a base64-encoded … value that, when decoded, is 16 bytes in length".
const KEY_LEN: usize = 16;

/// Sixteen bytes fill 22 characters and leave 4 bits over. Clients that make up 22 characters leave them
/// set, and RFC 4648 §3.5 lets a decoder pass over that: the 16 bytes are the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Whether the client wants WebSocket: its Upgrade fields name `websocket`. Whether it asks correctly is
/// [`Upgrade::from_request`].
pub fn is_upgrade(request: &Request) -> bool {
    request.has_token("upgrade", "websocket")
}

/// A handshake that broke no rule, not yet answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    subprotocols: Vec<String>,
}

impl Upgrade {
    /// Checks every condition of RFC 6455 §4.2.1. The target (item 1) and Host (item 2) were checked when
    /// the head was read.
    pub fn from_request(request: &Request) -> Result<Self, Error> {
        // Item 3: "An |Upgrade| header field containing the value "websocket", treated as an ASCII
        // case-insensitive value."
        if !is_upgrade(request) {
            return Err(Error::NotUpgrade);
        }
        // Item 1: "An HTTP/1.1 or higher GET request".
        if request.method() != "GET" {
            return Err(Error::UpgradeMethod);
        }
        if request.minor_version() < 1 {
            return Err(Error::UpgradeVersion);
        }
        // RFC 9110 §7.8 would have the body read before the frames; a GET has no use for one.
        if request.has_body() {
            return Err(Error::UpgradeBody);
        }
        // Item 4: "A |Connection| header field that includes the token "Upgrade", treated as an ASCII
        // case-insensitive value."
        if !request.has_token("connection", "upgrade") {
            return Err(Error::UpgradeConnection);
        }
        check_version(request)?;
        let subprotocols = request
            .tokens("sec-websocket-protocol")
            .filter_map(|token| str::from_utf8(token).ok().map(str::to_owned))
            .collect();
        Ok(Self { accept: accept(key(request)?), subprotocols })
    }

    /// Whether the client asked for this subprotocol, in this case of letters: RFC 6455 §4.2.1, item 8.
    pub fn offers(&self, subprotocol: &str) -> bool {
        self.subprotocols.iter().any(|offered| offered == subprotocol)
    }

    /// The value of Sec-WebSocket-Accept.
    pub fn accept(&self) -> &str {
        &self.accept
    }

    /// Appends the 101 of RFC 6455 §4.2.2, item 5, to `out`.
    ///
    /// # Panics
    ///
    /// If the client did not offer the subprotocol: "The value chosen MUST be derived from the client's
    /// handshake" (item 4).
    pub fn encode_response(&self, out: &mut Vec<u8>, subprotocol: Option<&str>, extensions: Option<&str>) {
        self.encode_response_with(out, subprotocol, extensions, &[]);
    }

    /// The same with these header fields more.
    ///
    /// # Panics
    ///
    /// Also if a value holds CR, LF or NUL: RFC 9110 §5.5.
    pub fn encode_response_with(
        &self,
        out: &mut Vec<u8>,
        subprotocol: Option<&str>,
        extensions: Option<&str>,
        headers: &[(&'static str, String)],
    ) {
        status_line(out, Status::SWITCHING_PROTOCOLS);
        line(out, &["Upgrade: websocket"]);
        line(out, &["Connection: Upgrade"]);
        line(out, &["Sec-WebSocket-Accept: ", &self.accept]);
        if let Some(subprotocol) = subprotocol {
            assert!(self.offers(subprotocol), "the client did not offer the subprotocol {subprotocol}");
            line(out, &["Sec-WebSocket-Protocol: ", subprotocol]);
        }
        if let Some(extensions) = extensions {
            line(out, &["Sec-WebSocket-Extensions: ", extensions]);
        }
        for (name, value) in headers {
            assert!(
                !value.contains(['\r', '\n', '\0']),
                "the value of {name} would split the response: {value:?}"
            );
            line(out, &[name, ": ", value]);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Item 6: "A |Sec-WebSocket-Version| header field, with a value of 13", and RFC 6455 §4.4 for 426;
/// §11.3.5: it "MUST NOT appear more than once in an HTTP request".
fn check_version(request: &Request) -> Result<(), Error> {
    let mut versions = request.headers("sec-websocket-version");
    match (versions.next(), versions.next()) {
        (Some(version), None) if version == WEBSOCKET_VERSION.as_bytes() => Ok(()),
        _ => Err(Error::WebSocketVersion),
    }
}

/// Item 5; RFC 6455 §11.3.1: the key "MUST NOT appear more than once in an HTTP request".
fn key(request: &Request) -> Result<&[u8], Error> {
    let mut keys = request.headers("sec-websocket-key");
    let key = keys.next().ok_or(Error::KeyMissing)?;
    if keys.next().is_some() {
        return Err(Error::KeyRepeated);
    }
    match BASE64.decode(key) {
        Ok(bytes) if bytes.len() == KEY_LEN => Ok(key),
        Ok(_) | Err(_) => Err(Error::KeyInvalid),
    }
}

/// RFC 6455 §4.2.2, item 5.4: the SHA-1 of the key and the GUID, in base64; the key as sent, not as decoded.
fn accept(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
