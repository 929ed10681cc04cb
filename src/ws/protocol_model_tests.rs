//! Any frames in any cuts: what was sent, or what was spoilt, is seen the same.
//!
//! The model writes what a client sends and says what the server must see; the rules one by one are in
//! `protocol_tests`.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::*;
use super::{ACCEPT, Connection, Seen, close, masked_frame, see};

#[derive(Clone, Debug)]
enum Sent {
    Message(MessageKind, Vec<Vec<u8>>, Option<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// Writes what a client would send, and says what the server must see and answer.
fn model(sent: &[Sent]) -> (Vec<u8>, Seen) {
    let mut bytes = Vec::new();
    let mut seen = Seen { events: Vec::new(), error: None, outbox: Vec::new(), state: State::Open };
    for one in sent {
        match one {
            Sent::Message(kind, fragments, ping) => {
                model_message(*kind, fragments, ping.as_deref(), &mut bytes, &mut seen);
            }
            Sent::Ping(payload) => model_ping(payload, &mut bytes, &mut seen),
            Sent::Pong(payload) => {
                bytes.extend(masked_frame(true, Opcode::Pong, payload));
                seen.events.push(Event::Pong);
            }
            Sent::Close(said) => {
                model_close(said.as_ref(), &mut bytes, &mut seen);
                // What follows is written and must not be seen.
                bytes.extend(masked_frame(true, Opcode::Ping, b"late"));
                return (bytes, seen);
            }
        }
    }
    (bytes, seen)
}

fn model_message(
    kind: MessageKind,
    fragments: &[Vec<u8>],
    ping: Option<&[u8]>,
    bytes: &mut Vec<u8>,
    seen: &mut Seen,
) {
    for (i, fragment) in fragments.iter().enumerate() {
        let opcode = match (i, kind) {
            (0, MessageKind::Text) => Opcode::Text,
            (0, MessageKind::Binary) => Opcode::Binary,
            (_, MessageKind::Text | MessageKind::Binary) => Opcode::Continuation,
        };
        if i > 0
            && let Some(payload) = ping
        {
            model_ping(payload, bytes, seen);
        }
        bytes.extend(masked_frame(i + 1 == fragments.len(), opcode, fragment));
    }
    seen.events.push(Event::Message(Message { kind, payload: Cow::Owned(fragments.concat()) }));
}

fn model_ping(payload: &[u8], bytes: &mut Vec<u8>, seen: &mut Seen) {
    bytes.extend(masked_frame(true, Opcode::Ping, payload));
    seen.events.push(Event::Ping);
    encode_frame(&mut seen.outbox, Opcode::Pong, payload);
}

fn model_close(said: Option<&(u16, String)>, bytes: &mut Vec<u8>, seen: &mut Seen) {
    let code = said.map(|(number, _)| number.to_be_bytes().to_vec()).unwrap_or_default();
    let reason = said.map(|(_, reason)| reason.as_bytes()).unwrap_or_default();
    bytes.extend(masked_frame(true, Opcode::Close, &[&code, reason].concat()));
    encode_frame(&mut seen.outbox, Opcode::Close, &code);
    seen.events.push(said.map_or(Event::Close(None), |(number, reason)| close(*number, reason)));
    seen.state = State::Closed;
}

/// Cuts anywhere, inside characters too.
fn cut(bytes: &[u8], lens: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for len in lens.iter().cycle().take(64) {
        let (piece, behind) = rest.split_at(rest.len().min(*len));
        pieces.push(piece.to_vec());
        rest = behind;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces.push(rest.to_vec());
    pieces
}

fn any_lens() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0_usize..8, 0_usize..300], 1..6)
}

fn any_control_payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=125)
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let ping = || prop::option::of(any_control_payload());
    let text = ("\\PC{0,80}", any_lens(), ping())
        .prop_map(|(text, lens, ping)| Sent::Message(MessageKind::Text, cut(text.as_bytes(), &lens), ping));
    let binary = (prop::collection::vec(any::<u8>(), 0..400), any_lens(), ping())
        .prop_map(|(bytes, lens, ping)| Sent::Message(MessageKind::Binary, cut(&bytes, &lens), ping));
    let code = prop_oneof![1000_u16..=1003, 1007_u16..=1014, 3000_u16..=4999];
    prop_oneof![
        4 => text,
        4 => binary,
        2 => any_control_payload().prop_map(Sent::Ping),
        1 => any_control_payload().prop_map(Sent::Pong),
        1 => prop::option::of((code, "\\PC{0,30}")).prop_map(Sent::Close),
    ]
}

fn see_cut(inbound: Inbound, bytes: &[u8], lens: &[usize]) -> Seen {
    let mut connection = Connection::new(inbound);
    let mut rest = bytes;
    let mut lens = lens.iter().cycle();
    while !rest.is_empty() {
        let (read, behind) = rest.split_at(rest.len().min(1 + lens.next().unwrap()));
        connection.read(read);
        rest = behind;
    }
    connection.seen
}

proptest! {
    #[test]
    fn any_allowed_frames_in_any_cut_are_what_was_sent(
        sent in prop::collection::vec(any_sent(), 0..6),
        lens in any_lens(),
    ) {
        let (bytes, expected) = model(&sent);
        prop_assert_eq!(&see(ACCEPT, &[&bytes]), &expected);
        prop_assert_eq!(&see_cut(ACCEPT, &bytes, &lens), &expected);
    }

    #[test]
    fn any_frames_with_a_byte_spoilt_are_the_same_in_any_cut(
        sent in prop::collection::vec(any_sent(), 1..4),
        at: prop::sample::Index,
        flipped in 1_u8..,
        limit in prop_oneof![Just(u64::MAX), 0_u64..300],
        lens in any_lens(),
    ) {
        let (mut bytes, _) = model(&sent);
        let at = at.index(bytes.len());
        bytes[at] ^= flipped;
        let inbound = Inbound::Accept { message_len_max: limit };
        let whole = see(inbound, &[&bytes]);
        prop_assert_eq!(see_cut(inbound, &bytes, &lens), whole);
    }

    #[test]
    fn any_bytes_are_the_same_in_any_cut(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80_u8..0x8b, Just(0)], 0..100),
        lens in any_lens(),
    ) {
        for inbound in [ACCEPT, Inbound::Refuse] {
            prop_assert_eq!(see_cut(inbound, &bytes, &lens), see(inbound, &[&bytes]));
        }
    }
}
