//! Makes a wire of frames that are mostly allowed, so that a random input gets past the first header.
//!
//! Input: items until it is used up, each a letter and what it needs.
//!
//! | item | |
//! |---|---|
//! | `T`, `B` | a message: the number of its fragments, `p` for pings between them, a length a fragment |
//! | `I`, `O` | a ping, a pong: its length |
//! | `C` | a Close frame: the code (2 bytes), the length of its reason |
//! | `F` | a frame in any place: FIN and opcode, its length, its payload as it stands |
//! | `X` | spoils what is there so far: where (2 bytes), the bits |
//!
//! Any other byte stands for one of the letters.

use arbitrary::Unstructured;
use fanfare::ws::{MessageKind, Opcode, encode_masked_frame};

use super::input::{byte, pick, up_to};

const LETTERS: &[u8] = b"TBIOCFX";

/// A wire stops growing here: the rules about lengths are all below.
const WIRE_LEN_MAX: usize = 70_000;

/// Characters of one to four bytes, so that most cuts are inside of one.
const TEXT: &str = "a\u{e9}\u{20ac}\u{1f389}";

/// The lengths at which the form of a header changes, and one past the limit of 65,536.
const EDGE_LENS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537];

pub fn wire(input: &mut Unstructured) -> Vec<u8> {
    let mut wire = Vec::new();
    while !input.is_empty() && wire.len() < WIRE_LEN_MAX {
        match letter(byte(input)) {
            b'T' => message(MessageKind::Text, input, &mut wire),
            b'B' => message(MessageKind::Binary, input, &mut wire),
            b'I' => control(Opcode::Ping, input, &mut wire),
            b'O' => control(Opcode::Pong, input, &mut wire),
            b'C' => close(input, &mut wire),
            b'F' => lone(input, &mut wire),
            b'X' => spoil(input, &mut wire),
            other => unreachable!("{other} is no letter"),
        }
    }
    wire
}

fn letter(byte: u8) -> u8 {
    if LETTERS.contains(&byte) { byte } else { LETTERS[usize::from(byte) % LETTERS.len()] }
}

fn message(kind: MessageKind, input: &mut Unstructured, wire: &mut Vec<u8>) {
    let fragments = usize::from(byte(input)) % 5 + 1;
    let pings = byte(input) == b'p';
    let mut said = 0;
    for index in 0..fragments {
        let opcode = match (index, kind) {
            (0, MessageKind::Text) => Opcode::Text,
            (0, MessageKind::Binary) => Opcode::Binary,
            (_, MessageKind::Text | MessageKind::Binary) => Opcode::Continuation,
        };
        let fin = index + 1 == fragments;
        let mut end = said + len(input);
        // The last fragment ends the character that the others cut.
        while kind == MessageKind::Text && fin && !TEXT.is_char_boundary(end % TEXT.len()) {
            end += 1;
        }
        encode_masked_frame(wire, fin, opcode, key(wire), &text(said, end));
        said = end;
        if pings && !fin {
            encode_masked_frame(wire, true, Opcode::Ping, key(wire), b"between");
        }
    }
}

fn control(opcode: Opcode, input: &mut Unstructured, wire: &mut Vec<u8>) {
    encode_masked_frame(wire, true, opcode, key(wire), &text(0, len(input) % 130));
}

fn close(input: &mut Unstructured, wire: &mut Vec<u8>) {
    let code = [byte(input), byte(input)];
    let payload = [&code[..], &text(0, len(input) % 130)].concat();
    encode_masked_frame(wire, true, Opcode::Close, key(wire), &payload);
}

fn lone(input: &mut Unstructured, wire: &mut Vec<u8>) {
    const OPCODES: [Opcode; 6] =
        [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let first = byte(input);
    let opcode = OPCODES[usize::from(first & 0x0f) % OPCODES.len()];
    let payload_len = pick(input, &[0, 1, 2, 3, 4, 8, 125, 126]);
    let payload = up_to(input, payload_len);
    encode_masked_frame(wire, first & 0x80 == 0, opcode, key(wire), payload);
}

fn spoil(input: &mut Unstructured, wire: &mut [u8]) {
    let at = usize::from(u16::from_be_bytes([byte(input), byte(input)]));
    let bits = byte(input);
    if !wire.is_empty() {
        wire[at % wire.len()] ^= bits;
    }
}

/// Bytes `start..end` of the text, said over and over.
fn text(start: usize, end: usize) -> Vec<u8> {
    let (from, len) = (start % TEXT.len(), end - start);
    TEXT.repeat(len / TEXT.len() + 2).as_bytes()[from..from + len].to_vec()
}

fn len(input: &mut Unstructured) -> usize {
    match byte(input) {
        len @ 0..248 => usize::from(len / 2),
        edge @ 248.. => EDGE_LENS[usize::from(edge) % EDGE_LENS.len()],
    }
}

/// A key that differs from frame to frame.
fn key(wire: &[u8]) -> [u8; 4] {
    (wire.len() as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()
}
