//! The frame: its header read and written, and whole frames written.
//!
//! One header at a time: what a sequence of frames means, and what is done with a payload, is `protocol` and
//! `message`.

use std::mem;

use super::error::Error;
use super::mask::unmask;

/// The longest header: two bytes, a 64-bit length, a masking key (RFC 6455 §5.2).
pub const HEADER_LEN_MAX: usize = 14;

/// The most bytes that a control frame carries: "MUST have a payload length of 125 bytes or less" (RFC 6455
/// §5.5).
pub const CONTROL_PAYLOAD_LEN_MAX: usize = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0F;
const MASK: u8 = 0x80;
const LEN: u8 = 0x7F;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What a frame is (RFC 6455 §5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next frame of a fragmented message.
    Continuation = 0x0,
    /// The first frame of a message of UTF-8.
    Text = 0x1,
    /// The first frame of a message of any bytes.
    Binary = 0x2,
    /// The last frame that its sender sends.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to a ping, or a sign of life unasked.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of the low four bits of a frame's first byte.
    pub fn from_bits(bits: u8) -> Result<Opcode, Error> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
            // WebSocket Connection_."
            reserved => Err(Error::ReservedOpcode(reserved)),
        }
    }

    /// Whether the frame is about the connection, and no part of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        // RFC 6455 §5.5: "Control frames are identified by opcodes where the most significant bit of the
        // opcode is 1."
        self as u8 & 0x8 != 0
    }
}

/// What gives the reserved bits a meaning on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extensions {
    /// Nothing: they are 0.
    None,
    /// permessage-deflate (RFC 7692): RSV1 marks the first frame of a compressed message.
    Deflate,
}

/// The header of a frame (RFC 6455 §5.2).
///
/// ```text
///   byte 0              byte 1           0, 2 or 8 bytes       0 or 4 bytes
///   | F R R R opcode  | M  length      | length, if the      | masking key, | payload ...
///   | 1 3 bits 4 bits | 1  7 bits      | 7 bits are 126/127  | if M is set  |
///   81                  85                                     37 fa 21 3d    7f 9f 4d 51 58
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// RSV1: whether this is the first frame of a compressed message (RFC 7692 §6).
    pub is_compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key; every frame of a client has one, and none of a server.
    pub mask: Option<[u8; 4]>,
    /// The number of payload bytes after the header.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads a client's header from the front of `bytes`: the header and its length, or `None` if `bytes` end inside
    /// it. A fault is reported at the first byte that shows it, one of the length at its last byte:
    /// it does not depend on the cut.
    pub fn parse(bytes: &[u8], extensions: Extensions) -> Result<Option<(FrameHeader, usize)>, Error> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        check_reserved_bits(first, extensions)?;
        let fin = first & FIN != 0;
        let is_compressed = first & RSV1 != 0;
        let opcode = Opcode::from_bits(first & OPCODE)?;
        // RFC 6455 §5.5: "All control frames [...] MUST NOT be fragmented."
        if opcode.is_control() && !fin {
            return Err(Error::ControlFragmented);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        if second & MASK == 0 {
            return Err(Error::Unmasked);
        }
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
        if opcode.is_control() && usize::from(second & LEN) > CONTROL_PAYLOAD_LEN_MAX {
            return Err(Error::ControlTooLong);
        }

        let Some((payload_len, rest)) = parse_len(second & LEN, &bytes[2..])? else { return Ok(None) };
        let Some(key) = rest.first_chunk() else { return Ok(None) };
        let header_len = bytes.len() - rest.len() + key.len();
        Ok(Some((FrameHeader { fin, is_compressed, opcode, mask: Some(*key), payload_len }, header_len)))
    }

    /// Appends the header, its length in the shortest form (RFC 6455 §5.2).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fin = if self.fin { FIN } else { 0 };
        let mask = if self.mask.is_some() { MASK } else { 0 };
        let rsv1 = if self.is_compressed { RSV1 } else { 0 };
        out.push(fin | rsv1 | self.opcode as u8);
        match self.payload_len {
            len @ 0..=125 => out.push(mask | len as u8),
            len @ 126..=0xFFFF => {
                out.push(mask | LEN_16);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len @ 0x1_0000.. => {
                out.push(mask | LEN_64);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |key| key));
    }
}

/// Appends a frame as a server sends it: unmasked, and the whole message.
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    encode_whole(out, opcode, false, payload);
}

/// Appends a compressed message in one frame; `deflated` is what [`Deflater`](super::Deflater) made of its payload.
pub fn encode_compressed_frame(out: &mut Vec<u8>, opcode: Opcode, deflated: &[u8]) {
    encode_whole(out, opcode, true, deflated);
}

fn encode_whole(out: &mut Vec<u8>, opcode: Opcode, is_compressed: bool, payload: &[u8]) {
    let payload_len = payload.len() as u64;
    FrameHeader { fin: true, is_compressed, opcode, mask: None, payload_len }.encode(out);
    out.extend_from_slice(payload);
}

/// Appends a frame as a client sends it: for tests, benches and fuzzing.
pub fn encode_masked_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, key: [u8; 4], payload: &[u8]) {
    let payload_len = payload.len() as u64;
    FrameHeader { fin, is_compressed: false, opcode, mask: Some(key), payload_len }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], key, 0);
}

/// The beginning of a header that the input cut: kept until the rest is there.
///
/// Invariant: `len < HEADER_LEN_MAX`, since no header that long is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialHeader {
    bytes: [u8; HEADER_LEN_MAX],
    len: u8,
}

impl PartialHeader {
    /// Nothing kept.
    pub(super) const NONE: PartialHeader = PartialHeader { bytes: [0; HEADER_LEN_MAX], len: 0 };

    /// Takes a header off the front of `input`, or all of `input` if it ends inside the header.
    pub(super) fn read(
        &mut self,
        input: &mut &mut [u8],
        extensions: Extensions,
    ) -> Result<Option<FrameHeader>, Error> {
        let kept = usize::from(self.len);
        if kept == 0
            && let Some((header, header_len)) = FrameHeader::parse(input, extensions)?
        {
            take_front(input, header_len);
            return Ok(Some(header));
        }
        let end = HEADER_LEN_MAX.min(kept + input.len());
        self.bytes[kept..end].copy_from_slice(&input[..end - kept]);
        let Some((header, header_len)) = FrameHeader::parse(&self.bytes[..end], extensions)? else {
            debug_assert!(end < HEADER_LEN_MAX, "a header of the longest length is whole");
            take_front(input, end - kept);
            self.len = end as u8;
            return Ok(None);
        };
        take_front(input, header_len - kept);
        self.len = 0;
        Ok(Some(header))
    }
}

/// Splits `len` bytes off the front of `input`.
pub(super) fn take_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

/// The one place that judges RSV1, RSV2 and RSV3.
fn check_reserved_bits(first: u8, extensions: Extensions) -> Result<(), Error> {
    let is_start = [Opcode::Text as u8, Opcode::Binary as u8].contains(&(first & OPCODE));
    let allowed = match extensions {
        // RFC 6455 §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        Extensions::None => 0,
        // RFC 7692 §6.1: RSV1 belongs to the first fragment; "An endpoint MUST NOT set the \"Per-Message
        // Compressed\" bit of control frames and non-first fragments of a data message."
        Extensions::Deflate => {
            if is_start {
                RSV1
            } else {
                0
            }
        }
    };
    if first & RSV & !allowed != 0 { Err(Error::ReservedBits) } else { Ok(()) }
}

/// Reads the length that the seven bits begin, and returns it with the bytes after it.
fn parse_len(seven_bits: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Error> {
    let (len, len_min, rest) = match seven_bits {
        LEN_16 => {
            let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*len)), 126, rest)
        }
        LEN_64 => {
            let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*len), 0x1_0000, rest)
        }
        len => (u64::from(len), 0, bytes),
    };
    // RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
    if len < len_min {
        return Err(Error::LengthNotMinimal);
    }
    // RFC 6455 §5.2: "a 64-bit unsigned integer (the most significant bit MUST be 0)".
    if len > i64::MAX as u64 {
        return Err(Error::LengthTopBit);
    }
    Ok(Some((len, rest)))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
