//! Version 2 of the PROXY protocol: a signature, 4 bytes, addresses, and more that is passed over.
//!
//! How much of it has been received is not decided here.

use core::net::IpAddr;

use super::bad_header::BadHeader;

/// What a header begins with (§2.2 of the protocol).
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and protocol, and the length of what follows.
pub const FIXED_LEN: usize = 16;

/// The addresses of the longest family whose addresses are read: two of IPv6 with their ports.
pub const READ_LEN_MAX: usize = 36;

/// ```text
///   12                 13                14      16        16 + length
///   | version | command | family | protocol | length | addresses … TLVs |
///     4 bits    4 bits    4 bits   4 bits     2 bytes
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    family: Family,
    /// How many bytes follow.
    pub after_len: usize,
}

/// What is said of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Nothing: the connection is the proxy's own, or the family has no addresses that are limited.
    Unsaid,
    V4,
    V6,
}

impl Fixed {
    /// From the first bytes of a header, whose signature has been checked.
    ///
    /// # Errors
    /// The version, the command or the family do not exist, or what follows is too short for the family.
    pub fn parse(bytes: &[u8; FIXED_LEN]) -> Result<Self, BadHeader> {
        let &[.., version_and_command, family, high, low] = bytes;
        let after_len = usize::from(u16::from_be_bytes([high, low]));
        if version_and_command >> 4 != 2 {
            return Err(BadHeader::Version);
        }
        let is_local = match version_and_command & 0xf {
            0 => true,
            1 => false,
            _ => return Err(BadHeader::Command),
        };
        if is_local {
            // §2.2: "the receiver must accept this connection as valid and must use the real connection endpoints and
            // discard the protocol block including the family which is ignored".
            return Ok(Self { family: Family::Unsaid, after_len });
        }
        // §2.2 of the protocol (the second half byte): unspecified, stream, datagram. A proxy may have got a datagram
        // protocol and pass on a stream.
        let (family, addresses_len) = match family {
            0x00 => (Family::Unsaid, 0),
            0x11 | 0x12 => (Family::V4, 12),
            0x21 | 0x22 => (Family::V6, READ_LEN_MAX),
            0x31 | 0x32 => (Family::Unsaid, 216),
            _ => return Err(BadHeader::Family),
        };
        if after_len < addresses_len { Err(BadHeader::Short) } else { Ok(Self { family, after_len }) }
    }

    /// The client's address, from the bytes that follow, as many as there are up to [`READ_LEN_MAX`]. `None`: the proxy
    /// does not say.
    pub fn client(&self, after: &[u8]) -> Option<IpAddr> {
        match self.family {
            Family::Unsaid => None,
            Family::V4 => after.first_chunk::<4>().map(|&octets| octets.into()),
            Family::V6 => after.first_chunk::<16>().map(|&octets| octets.into()),
        }
    }
}
