//! Makes a wire of compressed messages as a client would, and says what is to be seen of it.
//!
//! Input: items until it is used up, each a letter and what it needs.
//!
//! | item | |
//! |---|---|
//! | `T`, `B` | a compressed message: its payload, its blocks, its fragments |
//! | `X` | the same, with a deflated byte spoilt: where (1 byte), the bits |
//! | `U` | a message that is not compressed: its payload |
//! | `I` | a ping |
//! | `C` | a Close frame |
//! | `V` | a reserved bit in the wrong place: which (1 byte) |
//!
//! A payload is a kind (1 byte) and a length (1 byte), and for a kind the bytes. Blocks are a number, and for each
//! of them how it ends. Fragments are a number, `p` for pings between them, and a length each. Any other letter
//! stands for one of these.

use arbitrary::Unstructured;
use fanfare::ws::{
    CloseCode, CloseFrame, Deflate, Error, Inbound, MessageKind, Opcode, Protocol, encode_masked_frame,
};
use flate2::{Compress, Compression, FlushCompress, Status};

use super::driving::message_len_max;
use super::expected::Expected;
use super::input::{byte, pick, up_to};

const LETTERS: &[u8] = b"TBXUICV";

/// What is deflated, all messages together: longer ones say no more.
const PAYLOADS_LEN_MAX: usize = 400_000;

/// RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end".
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Characters of one to four bytes, so that most cuts are inside of one.
const TEXT: &str = "a\u{e9}\u{20ac}\u{1f389}";

/// Around the limits, around what is inflated at once, and around the window.
const EDGE_LENS: [usize; 16] =
    [0, 1, 16, 17, 999, 1000, 1001, 8191, 8192, 8193, 16_384, 32_768, 32_769, 65_536, 65_537, 150_000];

/// What was agreed, and what is taken.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub is_agreed: bool,
    pub takeover: bool,
    pub inbound: Inbound,
}

impl Setting {
    pub fn protocol(self) -> Protocol {
        let protocol = Protocol::new(self.inbound);
        if !self.is_agreed {
            return protocol;
        }
        let agreed = Deflate::negotiate(["permessage-deflate"].into_iter(), self.takeover);
        protocol.with_deflate(agreed.expect("the plainest offer is taken"))
    }

    pub fn message_len_max(self) -> u64 {
        message_len_max(self.inbound)
    }
}

/// A wire, and what is to be seen of it.
pub struct Plan {
    pub wire: Vec<u8>,
    pub expected: Expected<End>,
}

/// What comes of the bytes after the last frame that is in order.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Open,
    Closed,
    /// A fault; at most this many pings come before it is told.
    Failed {
        error: Error,
        pings_max: usize,
    },
    /// A byte was spoilt: nothing is known of what follows.
    Spoilt,
}

pub fn plan(input: &mut Unstructured, mut client: Client, setting: Setting) -> Plan {
    let mut plan = Plan { wire: Vec::new(), expected: Expected::new(End::Open) };
    let mut payloads_len = 0;
    while !input.is_empty() && payloads_len < PAYLOADS_LEN_MAX {
        match letter(byte(input)) {
            b'T' => payloads_len += plan.compressed(MessageKind::Text, input, &mut client, setting, false),
            b'B' => payloads_len += plan.compressed(MessageKind::Binary, input, &mut client, setting, false),
            b'X' => payloads_len += plan.compressed(MessageKind::Text, input, &mut client, setting, true),
            b'U' => payloads_len += plan.uncompressed(input, setting),
            b'I' => plan.ping(b"alone"),
            b'C' => plan.close(),
            b'V' => plan.reserved_bit(byte(input), setting),
            other => unreachable!("{other} is no letter"),
        }
    }
    plan
}

impl Plan {
    /// Says what comes next, if anything that comes is still looked at.
    fn then(&mut self, what: impl FnOnce(&mut Plan)) {
        match self.expected.end {
            End::Open => what(self),
            End::Closed | End::Failed { .. } | End::Spoilt => {}
        }
    }

    fn fail(&mut self, error: Error, pings_max: usize) {
        self.then(|plan| plan.expected.end = End::Failed { error, pings_max });
    }

    fn compressed(
        &mut self,
        kind: MessageKind,
        input: &mut Unstructured,
        client: &mut Client,
        setting: Setting,
        is_spoilt: bool,
    ) -> usize {
        let payload = payload(input);
        let mut deflated = client.deflate(&payload, input);
        if is_spoilt {
            let at = usize::from(byte(input)) % deflated.len();
            deflated[at] ^= byte(input);
        }
        let pings = self.fragments(kind, &deflated, input);
        let fault = if !setting.is_agreed {
            Some((Error::ReservedBits, 0))
        } else if setting.inbound == Inbound::Refuse {
            Some((Error::MessageRefused, 0))
        } else {
            fault(kind, &payload, setting.message_len_max()).map(|error| (error, pings))
        };
        let is_inflated = setting.is_agreed && setting.inbound != Inbound::Refuse;
        self.then(|plan| match fault {
            _ if is_spoilt && is_inflated => plan.expected.end = End::Spoilt,
            Some((error, pings_max)) => plan.expected.end = End::Failed { error, pings_max },
            None => {
                (0..pings).for_each(|_| plan.expected.ping(b"between"));
                plan.expected.message(kind, payload.clone());
            }
        });
        payload.len()
    }

    /// Puts the message into frames, RSV1 on the first (RFC 7692 §6), and says how many pings are between them.
    fn fragments(&mut self, kind: MessageKind, deflated: &[u8], input: &mut Unstructured) -> usize {
        let fragments = usize::from(byte(input)) % 5 + 1;
        let pings = byte(input) == b'p';
        let mut rest = deflated;
        for index in 0..fragments {
            let fin = index + 1 == fragments;
            let len = if fin { rest.len() } else { usize::from(byte(input)).min(rest.len()) };
            let (fragment, after) = rest.split_at(len);
            let opcode = match (index, kind) {
                (0, MessageKind::Text) => Opcode::Text,
                (0, MessageKind::Binary) => Opcode::Binary,
                (_, MessageKind::Text | MessageKind::Binary) => Opcode::Continuation,
            };
            frame(&mut self.wire, fin, index == 0, opcode, fragment);
            if pings && !fin {
                frame(&mut self.wire, true, false, Opcode::Ping, b"between");
            }
            rest = after;
        }
        if pings { fragments - 1 } else { 0 }
    }

    fn uncompressed(&mut self, input: &mut Unstructured, setting: Setting) -> usize {
        let payload = payload(input);
        frame(&mut self.wire, true, false, Opcode::Text, &payload);
        let limit = setting.message_len_max();
        if setting.inbound == Inbound::Refuse {
            self.fail(Error::MessageRefused, 0);
        } else if payload.len() as u64 > limit {
            // Of a frame that is not compressed, the header tells.
            self.fail(Error::TooBig { limit }, 0);
        } else if str::from_utf8(&payload).is_err() {
            self.fail(Error::TextNotUtf8, 0);
        }
        self.then(|plan| plan.expected.message(MessageKind::Text, payload.clone()));
        payload.len()
    }

    fn ping(&mut self, payload: &[u8]) {
        frame(&mut self.wire, true, false, Opcode::Ping, payload);
        self.then(|plan| plan.expected.ping(payload));
    }

    fn close(&mut self) {
        frame(&mut self.wire, true, false, Opcode::Close, b"\x03\xe8bye");
        self.then(|plan| {
            let close = CloseFrame { code: CloseCode::NORMAL, reason: "bye".to_owned() };
            plan.expected.close(Some(close));
            plan.expected.end = End::Closed;
        });
    }

    /// RFC 7692 §6: RSV1 is that of the first frame of a message; RFC 6455 §5.2: RSV2 and RSV3 are nobody's.
    fn reserved_bit(&mut self, which: u8, setting: Setting) {
        let start = self.wire.len();
        match which % 6 {
            0 => frame(&mut self.wire, true, true, Opcode::Ping, b"x"),
            1 => frame(&mut self.wire, true, true, Opcode::Pong, b""),
            2 => frame(&mut self.wire, true, true, Opcode::Close, b""),
            3 => {
                frame(&mut self.wire, false, false, Opcode::Binary, b"");
                frame(&mut self.wire, true, true, Opcode::Continuation, b"\0");
            }
            other => {
                frame(&mut self.wire, true, false, Opcode::Binary, b"");
                self.wire[start] |= if other == 4 { 0x20 } else { 0x10 };
            }
        }
        let is_refused = which % 6 == 3 && setting.inbound == Inbound::Refuse;
        self.fail(if is_refused { Error::MessageRefused } else { Error::ReservedBits }, 0);
    }
}

/// The fault of a compressed message that is told first: at the byte that passes the limit, or at the first that
/// no text has; then at the end.
fn fault(kind: MessageKind, payload: &[u8], limit: u64) -> Option<Error> {
    let within = &payload[..usize::try_from(limit).map_or(payload.len(), |limit| limit.min(payload.len()))];
    let is_over = within.len() < payload.len();
    let is_text = match str::from_utf8(within) {
        Ok(_) => true,
        // Inside a character: what comes may be the rest of it.
        Err(error) => error.error_len().is_none() && is_over,
    };
    if kind == MessageKind::Text && !is_text {
        Some(Error::TextNotUtf8)
    } else {
        is_over.then_some(Error::TooBig { limit })
    }
}

/// What a client deflates with.
pub struct Client {
    compress: Compress,
    takeover: bool,
}

impl Client {
    pub fn new(level: u8, window: u8, takeover: bool) -> Self {
        let level = Compression::new(u32::from(level % 10));
        Client { compress: Compress::new_with_window_bits(level, false, 9 + window % 7), takeover }
    }

    /// RFC 7692 §7.2.1, in one block or several.
    fn deflate(&mut self, payload: &[u8], input: &mut Unstructured) -> Vec<u8> {
        if !self.takeover {
            self.compress.reset();
        }
        let mut deflated = Vec::new();
        let blocks = usize::from(byte(input)) % 4 + 1;
        let mut is_ended = false;
        for block in payload.chunks((payload.len() / blocks).max(1)) {
            let how =
                [FlushCompress::Sync, FlushCompress::Partial, FlushCompress::Full, FlushCompress::Finish];
            let flush = pick(input, &how);
            self.push(block, flush, &mut deflated);
            is_ended = flush == FlushCompress::Finish;
        }
        // RFC 7692 §7.2.3.4: after a block with BFINAL set comes an empty one, of which a byte stays. §7.2.3.6: so
        // it does of an empty message.
        if is_ended || payload.is_empty() {
            deflated.push(0);
            return deflated;
        }
        self.push(b"", FlushCompress::Sync, &mut deflated);
        let len = deflated.strip_suffix(&TAIL).expect("a sync flush ends so").len();
        deflated.truncate(len);
        deflated
    }

    fn push(&mut self, block: &[u8], flush: FlushCompress, deflated: &mut Vec<u8>) {
        let mut rest = block;
        loop {
            deflated.reserve(1024);
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(rest, deflated, flush).expect("deflating cannot fail");
            rest = &rest[(self.compress.total_in() - before) as usize..];
            if status == Status::StreamEnd {
                self.compress.reset();
                return;
            }
            if rest.is_empty() && deflated.len() < deflated.capacity() && flush != FlushCompress::Finish {
                return;
            }
        }
    }
}

fn letter(byte: u8) -> u8 {
    if LETTERS.contains(&byte) { byte } else { LETTERS[usize::from(byte) % LETTERS.len()] }
}

fn payload(input: &mut Unstructured) -> Vec<u8> {
    let kind = byte(input) % 6;
    let len = match byte(input) {
        len @ 0..224 => usize::from(len),
        edge @ 224.. => EDGE_LENS[usize::from(edge) % EDGE_LENS.len()],
    };
    match kind {
        0 => text(len),
        1 => vec![b'0'; len],
        2 => up_to(input, len).to_vec(),
        // What deflates badly, and is no text.
        3 => noise(len).collect(),
        // What deflates badly, and is.
        4 => noise(len).map(|byte| byte & 0x7f).collect(),
        // A text but for one byte.
        _ => {
            let mut payload = text(len.max(1));
            let at = usize::from(u16::from_be_bytes([byte(input), byte(input)])) % payload.len();
            payload[at] = 0xff;
            payload
        }
    }
}

/// So many bytes at least, the last character whole.
fn text(len: usize) -> Vec<u8> {
    TEXT.chars()
        .cycle()
        .scan(0, |said, character| {
            let is_more = *said < len;
            *said += character.len_utf8();
            is_more.then_some(character)
        })
        .collect::<String>()
        .into_bytes()
}

fn noise(len: usize) -> impl Iterator<Item = u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(0x9e37_79b9).rotate_left(at) >> 24) as u8)
}

fn frame(wire: &mut Vec<u8>, fin: bool, is_compressed: bool, opcode: Opcode, payload: &[u8]) {
    // A key that differs from frame to frame.
    let key = (wire.len() as u32).wrapping_mul(0x9e37_79b9).to_be_bytes();
    let mut frame = Vec::new();
    encode_masked_frame(&mut frame, fin, opcode, key, payload);
    // RFC 7692 §6: RSV1.
    frame[0] |= if is_compressed { 0x40 } else { 0 };
    wire.extend(frame);
}
