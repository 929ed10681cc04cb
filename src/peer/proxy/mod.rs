//! The header that a proxy sends ahead of a connection that it passes on: versions 1 and 2 of the PROXY protocol
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>), in any cut.
//!
//! Who may send one is not decided here. Crates that parse whole headers leave the bounds and the cuts to their callers; with
//! those there is little left to parse.

mod bad_header;
mod binary;
mod text;

use core::net::IpAddr;

pub use bad_header::BadHeader;

/// Reads one header from the beginning of a connection.
///
/// ```text
///   1. Hand in what is received, until it gives a `Header` or an error.
///   2. What follows the `used_len` bytes of the last input is the connection's own.
/// ```
///
/// Invariant: it holds at most the 107 bytes of the longest line, whatever is received; what it does not need of a header
/// of version 2, up to 65,535 bytes, is passed over.
#[derive(Debug, Default)]
pub struct HeaderReader {
    held: Vec<u8>,
    /// Bytes of a header of version 2 that are still to come.
    left_len: usize,
    fixed: Option<binary::Fixed>,
}

/// A header that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes of the last input were the header's.
    pub used_len: usize,
    /// The client's address. `None`: the proxy says of itself that the connection is its own, or does not say whose; the peer's
    /// own address is meant then.
    pub client: Option<IpAddr>,
}

impl HeaderReader {
    /// Nothing has been received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Receives bytes. `None`: the header is not complete. Not to be called again after a header or an error.
    ///
    /// # Errors
    /// There is no good header, as soon as that is sure.
    pub fn receive(&mut self, input: &[u8]) -> Result<Option<Header>, BadHeader> {
        let mut at = 0;
        while at < input.len() {
            let client = match self.fixed {
                None => {
                    at += 1;
                    self.take(input[at - 1])?
                }
                Some(fixed) => {
                    let len = self.left_len.min(input.len() - at);
                    let read_len =
                        len.min((binary::FIXED_LEN + binary::READ_LEN_MAX).saturating_sub(self.held.len()));
                    self.held.extend_from_slice(&input[at..at + read_len]);
                    (at, self.left_len) = (at + len, self.left_len - len);
                    self.end_of(fixed)
                }
            };
            if let Some(client) = client {
                debug_assert!(self.held.len() <= text::LINE_LEN_MAX);
                return Ok(Some(Header {
                    used_len: at,
                    client: client.map(|address| address.to_canonical()),
                }));
            }
        }
        Ok(None)
    }

    /// The bytes that it holds on the heap.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.held.capacity()
    }

    /// Takes one byte of a line, or of the fixed part of a header of version 2. `Some`: the header is complete.
    fn take(&mut self, byte: u8) -> Result<Option<Option<IpAddr>>, BadHeader> {
        self.held.push(byte);
        if self.held.starts_with(&text::PREFIX[..self.held.len().min(text::PREFIX.len())]) {
            return match self.held.strip_suffix(text::END) {
                Some(line) => text::client(line).map(Some),
                None if self.held.len() == text::LINE_LEN_MAX => Err(BadHeader::LineTooLong),
                None => Ok(None),
            };
        }
        if !self.held.starts_with(&binary::SIGNATURE[..self.held.len().min(binary::SIGNATURE.len())]) {
            return Err(BadHeader::Missing);
        }
        let Some(bytes) = self.held.first_chunk() else { return Ok(None) };
        let fixed = binary::Fixed::parse(bytes)?;
        (self.fixed, self.left_len) = (Some(fixed), fixed.after_len);
        Ok(self.end_of(fixed))
    }

    fn end_of(&self, fixed: binary::Fixed) -> Option<Option<IpAddr>> {
        (self.left_len == 0).then(|| fixed.client(&self.held[binary::FIXED_LEN..]))
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
