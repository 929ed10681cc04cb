//! `Protocol` with permessage-deflate: in any cut of a wire, and against what was deflated.
//!
//! May be refused: RSV1 where it means nothing (1002), what is no DEFLATE and a text that is not UTF-8 (1007), a
//! message over the limit (1009), and a message where none is taken (1008). All of it must be, whatever the cut;
//! of a text that is not UTF-8 and over the limit, what its first bad byte is.
//!
//! Input: flags (1 byte: 1, nothing is agreed; 2, the client takes its context over), which limit (1 byte), how
//! the client deflates (2 bytes: level, window), where to cut (see `input::cuts`), then a plan: see
//! `deflated_plan`.

use arbitrary::Unstructured;
use fanfare::ws::{Deflate, Event, Inbound, Protocol, State, encode_close};

use super::connection::{Seen, limit, message_len_max};
use super::deflated_plan::{Client, End, Plan, plan};
use super::input::{byte, cuts, pick, pieces};

/// Longer wires are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

/// What is held besides the message: what an inflater takes, and the window that messages refer back to.
const HELD_LEN_BESIDES_MAX: usize = (40 + 32) * 1024;

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
    let sizes = cuts(&mut input);
    let plan = plan(&mut input, client, setting);

    let whole = see(setting, &[&plan.wire]);
    assert_eq!(see(setting, &pieces(&plan.wire, sizes)), whole, "in pieces of {sizes:?}");
    if plan.wire.len() <= BY_BYTE_LEN_MAX {
        let bytes: Vec<_> = plan.wire.chunks(1).collect();
        assert_eq!(see(setting, &bytes), whole, "byte by byte");
    }
    check_plan(&plan, &whole);
}

/// What was agreed, and what is taken.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub is_agreed: bool,
    pub takeover: bool,
    pub inbound: Inbound,
}

impl Setting {
    fn protocol(self) -> Protocol {
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

fn check_plan(plan: &Plan, seen: &Seen) {
    let said = seen.outbox.strip_prefix(&plan.outbox[..]).expect("answers to what was in order come first");
    let events =
        seen.events.strip_prefix(&plan.events[..]).expect("what was in order is taken as it was meant");
    match plan.end {
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

fn see(setting: Setting, reads: &[&[u8]]) -> Seen {
    let mut protocol = setting.protocol();
    let mut seen = Seen::new();
    for read in reads {
        seen.receive(&mut protocol, read, setting.message_len_max());
        let held_len_max = HELD_LEN_BESIDES_MAX as u64 + setting.message_len_max().min(u64::MAX / 2);
        let held_len = protocol.held_len();
        assert!(held_len as u64 <= held_len_max, "{held_len} bytes are held, {held_len_max} at most");
    }
    seen.state = protocol.state();
    seen
}
