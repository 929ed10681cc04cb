//! `Protocol` over whole inputs, over any cut of them, stopped and gone on with at any event, and against the decoder
//! of `frames_model`.
//!
//! May be refused: what breaks a rule of RFC 6455 §5 to §8 (1002, 1007), a message over the limit (1009), and
//! a message where none is taken (1008). All of it must be, at the same byte whatever the cut, and answered
//! with one Close frame.
//!
//! Input: how the wire is made (1 byte: even, as it stands; odd, from a plan: see `frames_plan`), which limit
//! (1 byte), when the server closes (1 byte), where to cut (see `input::cuts`), where to stop (the same; see `driving`),
//! then wire or plan.

use arbitrary::Unstructured;
use fanfare::ws::{CloseCode, Error, Inbound, Protocol, REASON_LEN_MAX, State};

use super::driving::{Driven, Seen, limit, message_len_max};
use super::frames_model::{End, expected};
use super::frames_plan::wire;
use super::input::{byte, cuts, pick, pieces, up_to};

/// Longer wires are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

const INBOUNDS: [Inbound; 8] = [
    Inbound::Refuse,
    limit(0),
    limit(16),
    limit(125),
    limit(300),
    limit(65_536),
    limit(1 << 20),
    limit(u64::MAX),
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let planned = byte(&mut input) % 2 == 1;
    let inbound = pick(&mut input, &INBOUNDS);
    let close_at = byte(&mut input);
    let (sizes, pauses) = (cuts(&mut input), cuts(&mut input));
    let wire = if planned { wire(&mut input) } else { up_to(&mut input, usize::MAX).to_vec() };

    check_cuts(inbound, &wire, sizes, pauses);
    check_model(inbound, &wire);
    check_close(inbound, &wire, usize::from(close_at) % (wire.len() + 1), sizes, pauses);
}

fn check_cuts(inbound: Inbound, wire: &[u8], sizes: &[u8], pauses: &[u8]) {
    let whole = see(inbound, &[wire], &[]);
    for pauses in [&[], pauses] {
        assert_eq!(see(inbound, &[wire], pauses), whole, "stopped by {pauses:?}");
        let in_pieces = see(inbound, &pieces(wire, sizes), pauses);
        assert_eq!(in_pieces, whole, "in pieces of {sizes:?}, stopped by {pauses:?}");
        if wire.len() <= BY_BYTE_LEN_MAX {
            let bytes: Vec<_> = wire.chunks(1).collect();
            assert_eq!(see(inbound, &bytes, pauses), whole, "byte by byte, stopped by {pauses:?}");
        }
    }
}

fn check_model(inbound: Inbound, wire: &[u8]) {
    let seen = see(inbound, &[wire], &[]);
    let expected = expected(inbound, wire);
    assert_eq!(seen.events, expected.events);
    let told = seen.outbox.strip_prefix(&expected.outbox[..]).expect("answers to whole frames come first");
    match (expected.end, seen.error) {
        (End::Open, None) => assert_eq!((told, seen.state), (&[][..], State::Open)),
        (End::Closed, None) => assert_eq!((told, seen.state), (&[][..], State::Closed)),
        (End::Failed(code), Some(error)) => {
            assert_eq!(error.close_code().as_u16(), code);
            check_failed(told, error, seen.state);
        }
        (End::Failed(code), None) => panic!("taken, but is to be refused with {code}"),
        (End::Open | End::Closed, Some(error)) => panic!("refused with {error:?}, but breaks no rule"),
    }
}

/// A connection that failed has told its peer why, once, and is closed.
fn check_failed(told: &[u8], error: Error, state: State) {
    const CODES: [CloseCode; 4] = [
        CloseCode::PROTOCOL_ERROR,
        CloseCode::INVALID_PAYLOAD,
        CloseCode::POLICY_VIOLATION,
        CloseCode::MESSAGE_TOO_BIG,
    ];
    assert_eq!(state, State::Closed);
    assert!(CODES.contains(&error.close_code()), "{error:?}");
    let [0x88, len, high, low, reason @ ..] = told else { panic!("no Close frame: {told:02x?}") };
    assert_eq!(usize::from(*len), reason.len() + 2);
    assert_eq!(u16::from_be_bytes([*high, *low]), error.close_code().as_u16());
    assert!(reason.len() <= REASON_LEN_MAX);
    assert_eq!(str::from_utf8(reason), Ok(&error.to_string()[..]));
}

/// The server closes with `at` bytes read: the same in any cut, and nothing is said or taken after it.
fn check_close(inbound: Inbound, wire: &[u8], at: usize, sizes: &[u8], pauses: &[u8]) {
    let (before, after) = wire.split_at(at);
    let whole = see_close(inbound, &[before], &[after], &[]);
    assert_eq!(see_close(inbound, &pieces(before, sizes), &pieces(after, sizes), &[]), whole);
    assert_eq!(see_close(inbound, &pieces(before, sizes), &pieces(after, sizes), pauses), whole);
}

fn see(inbound: Inbound, reads: &[&[u8]], pauses: &[u8]) -> Seen {
    let mut driven = Driven::new(Protocol::new(inbound), message_len_max(inbound), pauses);
    driven.receive(reads, |_| {});
    driven.seen
}

fn see_close(inbound: Inbound, before: &[&[u8]], after: &[&[u8]], pauses: &[u8]) -> Seen {
    let mut driven = Driven::new(Protocol::new(inbound), message_len_max(inbound), pauses);
    driven.receive(before, |_| {});
    driven.protocol.close(CloseCode::GOING_AWAY, "the server stops", &mut driven.seen.outbox);
    let said_len = driven.seen.outbox.len();
    driven.receive(after, |_| {});
    assert_eq!(driven.seen.outbox.len(), said_len, "nothing follows a Close frame");
    driven.seen
}
