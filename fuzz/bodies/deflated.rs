//! `Protocol` with permessage-deflate: in any cut of a wire, stopped and gone on with at any event, and against what
//! was deflated.
//!
//! May be refused: RSV1 where it means nothing (1002), what is no DEFLATE and a text that is not UTF-8 (1007), a
//! message over the limit (1009), and a message where none is taken (1008). All of it must be, whatever the cut;
//! of a text that is not UTF-8 and over the limit, what its first bad byte is.
//!
//! Input: flags (1 byte: 1, nothing is agreed; 2, the client takes its context over), which limit (1 byte), how
//! the client deflates (2 bytes: level, window), after how many calls the server closes (1 byte), where to cut (see
//! `input::cuts`), where to stop (the same; see `driving`), then a plan: see `deflated_plan`.

use arbitrary::Unstructured;
use fanfare::ws::{Event, Inbound, State, encode_close};

use super::deflated_plan::{Client, End, Plan, Setting, plan};
use super::driving::{Driven, ROOM_LEN_MAX, Seen, limit};
use super::input::{byte, cuts, pick, pieces};

/// Longer wires are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

/// What is held besides the message: what an inflater takes, and the window that messages refer back to.
const HELD_LEN_BESIDES_MAX: usize = (40 + 32) * 1024;

/// Stopped at every event, in one way and the other, with rooms of every length.
const EVERY_EVENT: [u8; 11] = [2, 7, 10, 15, 18, 22, 27, 30, 3, 14, 23];

const INBOUNDS: [Inbound; 8] = [
    Inbound::Refuse,
    limit(0),
    limit(16),
    limit(1000),
    limit(8192),
    limit(65_536),
    limit(1 << 20),
    limit(u64::MAX),
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let flags = byte(&mut input);
    let setting =
        Setting { is_agreed: flags & 1 == 0, takeover: flags & 2 == 2, inbound: pick(&mut input, &INBOUNDS) };
    let client = Client::new(byte(&mut input), byte(&mut input), setting.takeover);
    let close_after = usize::from(byte(&mut input));
    let (sizes, pauses) = (cuts(&mut input), cuts(&mut input));
    let plan = plan(&mut input, client, setting);

    let whole = see(setting, &[&plan.wire], &[]);
    for pauses in [&[], pauses, &EVERY_EVENT] {
        let in_one = see(setting, &[&plan.wire], pauses);
        let in_pieces = see(setting, &pieces(&plan.wire, sizes), pauses);
        assert_eq!(in_one, whole, "stopped by {pauses:?}");
        assert_eq!(in_pieces, whole, "in pieces of {sizes:?}, stopped by {pauses:?}");
        if plan.wire.len() <= BY_BYTE_LEN_MAX {
            let bytes: Vec<_> = plan.wire.chunks(1).collect();
            assert_eq!(see(setting, &bytes, pauses), whole, "byte by byte, stopped by {pauses:?}");
        }
    }
    check_plan(&plan, &whole.0);
    check_close(setting, &plan.wire, close_after, pauses, &whole.0);
}

/// The server closes after this many calls: what came before that is the same, wherever it is stopped.
fn check_close(setting: Setting, wire: &[u8], close_after: usize, pauses: &[u8], whole: &Seen) {
    let close = |pauses| {
        let mut driven =
            Driven::new(setting.protocol(), setting.message_len_max(), pauses).closing_after(close_after);
        driven.receive(&[wire], |_| {});
        driven.seen
    };
    let closed = close(&[]);
    let messages = |seen: &Seen| {
        let messages = seen.events.iter().filter(|event| matches!(event, Event::Message(_)));
        messages.cloned().collect::<Vec<_>>()
    };
    assert!(messages(whole).starts_with(&messages(&closed)));
    assert_eq!(close(pauses), closed);
}

fn check_plan(plan: &Plan, seen: &Seen) {
    let said =
        seen.outbox.strip_prefix(&plan.expected.outbox[..]).expect("answers to what was in order come first");
    let events = seen
        .events
        .strip_prefix(&plan.expected.events[..])
        .expect("what was in order is taken as it was meant");
    match plan.expected.end {
        End::Open => {
            assert_eq!((events, said, seen.error, seen.state), (&[][..], &[][..], None, State::Open));
        }
        End::Closed => {
            assert_eq!((events, said, seen.error, seen.state), (&[][..], &[][..], None, State::Closed));
        }
        End::Failed { error, pings_max } => {
            assert_eq!((seen.error, seen.state), (Some(error), State::Closed));
            assert!(
                events.len() <= pings_max && events.iter().all(|event| *event == Event::Ping),
                "{events:?}"
            );
            let mut close = Vec::new();
            encode_close(&mut close, error.close_code(), &error.to_string());
            assert!(said.ends_with(&close), "the peer is told: {said:02x?}");
        }
        End::Spoilt => {}
    }
}

/// What is seen, and how many bytes were inflated: how many of a message that is refused depends on the cut.
fn see(setting: Setting, reads: &[&[u8]], pauses: &[u8]) -> (Seen, Option<usize>) {
    let len_max = setting.message_len_max();
    let room_len_max = if pauses.is_empty() { 0 } else { ROOM_LEN_MAX as u64 };
    let held_len_max = HELD_LEN_BESIDES_MAX as u64 + len_max.min(u64::MAX / 2).max(room_len_max);
    let mut driven = Driven::new(setting.protocol(), setting.message_len_max(), pauses);
    driven.receive(reads, |protocol| {
        let held_len = protocol.held_len();
        assert!(held_len as u64 <= held_len_max, "{held_len} bytes are held, {held_len_max} at most");
    });
    let inflated_len = driven.seen.error.is_none().then_some(driven.inflated_len);
    (driven.seen, inflated_len)
}
